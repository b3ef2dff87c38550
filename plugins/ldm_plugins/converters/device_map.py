"""A network spread over several devices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Self

from ldm_core.contracts import Converter, Model, ModelInfo, Part, PlaceNames
from ldm_core.errors import LdmError
from ldm_core.model.place import names_device
from ldm_plugins.converters.shared.placement import READ_WHOLE, Place, Placement
from ldm_plugins.shared.quiet import quiet

ONE = "on one device, model_offload and group_offload take less of its memory."


def device_map(*, devices: list[str] | None = None, parts: list[str] | None = None) -> Converter:
    """Spread a network over several devices, each of which computes the layers that it has.

    By Accelerate's hooks, each device with the blocks that follow those of the one before it, so
    that the fullest holds as few bytes as whole blocks allow. They compute one after the other: it
    is for networks that do not fit on one of them, and no faster.

    Args:
        devices: names of two or more, such as cuda:0 and cuda:1, the first of which takes the first
            layers; all of CUDA where left out.
        parts: names of the model's components, or roles: network, autoencoder, text, side; the
            network where left out.
    """
    return DeviceMap(
        devices=None if devices is None else tuple(devices),
        chosen=None if parts is None else tuple(parts),
    )


@dataclass(frozen=True, kw_only=True)
class DeviceMap(Placement):
    """Its parts lie on several devices.

    Attributes:
        devices: see `device_map`.
    """

    name: ClassVar[str] = "device_map"
    usual: ClassVar[tuple[str, ...]] = ("network",)
    saves_on_a_processor: ClassVar[bool] = True
    devices: tuple[str, ...] | None = None

    def fit(self, info: ModelInfo, place: PlaceNames) -> Self:
        if self.devices is None and place.device.partition(":")[0] not in ("auto", "cuda"):
            raise LdmError(
                f"the placement 'device_map' spreads a network over the devices of CUDA, and the "
                f"device is {place.device}.",
                'name them: devices = ["cuda:0", "cuda:1"].',
            )
        for name in self.devices or ():
            names_device(name)
        if self.devices is not None and len(set(self.devices)) < max(2, len(self.devices)):
            raise LdmError(
                "the placement 'device_map' needs two or more different devices, not "
                f"{', '.join(self.devices) or 'none'}.",
                ONE,
            )
        return super().fit(info, place)

    def prepare(self, info: ModelInfo) -> None:
        import torch

        if self.devices is None and (count := torch.cuda.device_count()) < 2:
            raise LdmError(
                f"the placement 'device_map' needs two or more devices of CUDA, and here "
                f"{'is one' if count else 'are none'}.",
                ONE,
            )
        for name in self.devices or ():
            try:
                torch.empty(1, device=name)
            except (RuntimeError, AssertionError, NotImplementedError) as error:
                raise LdmError(
                    f"the device '{name}' is not available here: {str(error).splitlines()[0]}"
                ) from None

    def begin(self, model: Model) -> Place:
        import torch

        count = torch.cuda.device_count()
        names = self.devices or tuple(f"cuda:{number}" for number in range(count))
        # the processor is one device, by whatever number
        devices = [torch.device("cpu" if n.startswith("cpu") else n) for n in names]

        def place(part: Part) -> Part:
            from accelerate import dispatch_model

            with quiet(f"a part spread over {' and '.join(names)}"):
                spread = split(part.module, len(devices))
                dispatch_model(
                    part.module,
                    {name: devices[number] for name, number in spread.items()},
                    main_device=devices[0],
                    force_hooks=True,
                )
            return part

        return place


def split(module: Any, count: int) -> dict[str, int]:
    """For each block of a module, by its name, on which of so many devices it lies: in their order,
    the largest number of bytes on one as small as blocks that stay whole allow, within 1/500.

    Raises:
        LdmError: the module does not say which of its blocks are to stay whole, or has too few of
            them for so many devices.
    """
    from torch import nn

    try:
        named = module._no_split_modules
    except AttributeError:
        raise LdmError(
            f"the placement 'device_map' spreads networks of Diffusers, which say which of their "
            f"blocks stay whole, and a {type(module).__name__} does not.",
            ONE,
        ) from None
    if named is None:  # then what follows one another in a list is what adds to its own input
        lists = (one for one in module.modules() if isinstance(one, nn.ModuleList))
        named = [type(block).__name__ for blocks in lists for block in blocks]
    whole = {*named, *READ_WHOLE}
    # Accelerate forgets the buffers of a module that it takes apart
    inner = (one for one in module.modules() if one is not module)
    whole |= {type(one).__name__ for one in inner if any(True for _ in one.buffers(recurse=False))}
    total = sum(t.nbytes for t in chain(module.parameters(), module.buffers()))
    too_little, enough = total // count - 1, 2 * total
    spread = _filled(module, count, enough, whole) or dict.fromkeys([""], 0)
    while enough - too_little > max(total // 500, 1):
        limit = (too_little + enough) // 2
        if (found := _filled(module, count, limit, whole)) is None:
            too_little = limit
        else:
            enough, spread = limit, found
    if (used := len(set(spread.values()))) < count:
        raise LdmError(
            f"the placement 'device_map' cannot spread this {type(module).__name__} over {count} "
            f"devices: by the blocks that stay whole it fills {used}.",
            f"name {used} of them by 'devices'." if used > 1 else ONE,
        )
    return spread


def _filled(module: Any, count: int, limit: int, whole: Iterable[str]) -> dict[str, int] | None:
    """The devices filled one after the other with so many bytes; None where that is too little."""
    from accelerate.utils import infer_auto_device_map

    # by number, the first of those named being 1: what comes first for Accelerate is not filled,
    # but keeps room for the largest block
    room = {0: 0, **dict.fromkeys(range(1, count + 1), limit)}
    found = infer_auto_device_map(module, room, [*whole], offload_buffers=True)
    return None if "disk" in found.values() else {name: on - 1 for name, on in found.items()}
