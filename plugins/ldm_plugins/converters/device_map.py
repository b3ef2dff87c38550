"""A network spread over several devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ldm_core.contracts import Converter, Model, ModelInfo, Part, PlaceNames
from ldm_core.errors import LdmError
from ldm_core.model.place import names_device
from ldm_plugins.converters.shared.placement import READ_WHOLE, Place, Placement
from ldm_plugins.shared.quiet import quiet

ONE = "on one device, model_offload and group_offload take less of its memory."
MUCH = 2**50


def device_map(*, devices: list[str] | None = None, parts: list[str] | None = None) -> Converter:
    """Spread a network over several devices, each of which computes the layers that it has.

    By Accelerate's hooks, about the same number of bytes for each device. They compute one after
    the other: it is for networks that do not fit on one of them, and no faster.

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
    """For each block of a module, by its name, on which of so many devices it lies; about the same
    number of bytes on each.

    Raises:
        LdmError: the module does not say which of its blocks are to stay whole.
    """
    from accelerate.utils import get_balanced_memory, infer_auto_device_map

    try:
        whole = module._no_split_modules or ()
    except AttributeError:
        raise LdmError(
            f"the placement 'device_map' spreads networks of Diffusers, which say which of their "
            f"blocks stay whole, and a {type(module).__name__} does not.",
            ONE,
        ) from None
    options: dict[str, Any] = {
        "max_memory": dict.fromkeys(range(count), MUCH),
        "no_split_module_classes": [*whole, *READ_WHOLE],
    }
    # devices by number, of which the first is the first of those named, wherever that is
    options["max_memory"] = get_balanced_memory(module, **options)
    spread: dict[str, int] = infer_auto_device_map(module, **options)
    return spread
