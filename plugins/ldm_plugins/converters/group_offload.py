"""Layers on the device one after the other, the next coming while one computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from ldm_core.contracts import Converter, Model, ModelInfo, Part, PlaceNames
from ldm_core.contracts.files import FileName, to_read
from ldm_core.errors import LdmError
from ldm_core.model import place as places
from ldm_plugins.converters.shared.offload_folder import OffloadFolder
from ldm_plugins.converters.shared.placement import (
    READ_WHOLE,
    Place,
    Placement,
    one_at_a_time,
    pieces,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

PLAIN = 'compute_dtype = dtype keeps them plain; to = "memory" takes them as they are.'


def group_offload(
    *,
    to: Literal["memory", "disk"] = "memory",
    folder: FileName | None = None,
    pinned: bool = True,
    parts: list[str] | None = None,
) -> Converter:
    """Bring a layer's weights to the device when it computes, and away after; on CUDA the next
    layer's come meanwhile.

    By Diffusers' group offloading. Weights wait in memory or, where there is too little of it, in
    files, which also saves memory where the processor itself computes.

    Args:
        to: where weights wait.
        folder: with disk, where a folder of the pipeline's own is made for them, which goes with
            the pipeline; the system's folder for temporary files where left out.
        pinned: on CUDA, keep a second copy of the weights in page-locked memory, from which they
            come faster; without, each is copied there when it is needed.
        parts: names of the model's components, or roles: network, autoencoder, text, side; all
            where left out.
    """
    if folder is not None and to != "disk":
        raise LdmError(
            "the placement 'group_offload' is given a folder, and keeps weights in memory.",
            'say to = "disk", or leave the folder out.',
        )
    return GroupOffload(
        to=to,
        folder=folder,
        pinned=pinned,
        chosen=None if parts is None else tuple(parts),
    )


@dataclass(frozen=True, kw_only=True)
class GroupOffload(Placement):
    """Layers of its parts come to the device one after the other, ahead of time where it can copy
    and compute at once.

    Attributes:
        to, folder, pinned: see `group_offload`.
    """

    name: ClassVar[str] = "group_offload"
    to: Literal["memory", "disk"] = "memory"
    folder: str | None = None
    pinned: bool = True

    @property
    def saves_on_a_processor(self) -> bool:
        return self.to == "disk"

    def fit(self, info: ModelInfo, place: PlaceNames) -> Self:
        if self.folder is not None and not to_read(self.folder, "the folder").is_dir():
            raise LdmError(f"there is no folder '{self.folder}' in which weights could wait.")
        return super().fit(info, place)

    def beside(self, others: Sequence[Converter]) -> None:
        super().beside(others)
        for other in others:
            if self.to == "disk" and not other.plain:
                raise LdmError(
                    f"the converter {type(other).__name__} keeps weights in a form that cannot be "
                    "written to the files of 'group_offload'.",
                    'say to = "memory".',
                )

    def prepare(self, info: ModelInfo) -> None:
        if self.to == "disk" and self.names is not None:
            where = places.resolve(asdict(self.names))
            if where.dtype != where.compute_dtype:
                kinds = (str(t).removeprefix("torch.") for t in (where.dtype, where.compute_dtype))
                raise LdmError(
                    "weights that are kept in {} and computed with in {} cannot wait in files, "
                    "which 'group_offload' is to write.".format(*kinds),
                    PLAIN,
                )

    def begin(self, model: Model) -> Place:
        folder = None
        if self.to == "disk":
            folder = OffloadFolder(None if self.folder is None else Path(self.folder))

        def place(part: Part) -> Part:
            _untie(part.module)
            if folder is not None:
                _check_plain(part.module)
            path = None if folder is None else folder.of(part.module)
            for number, piece in enumerate(pieces(part.module, part.device, READ_WHOLE)):
                self._offload(piece, part, None if path is None else path / str(number))
            return one_at_a_time(part)

        return place

    def _offload(self, module: nn.Module, part: Part, path: Path | None) -> None:
        import torch
        from diffusers.hooks import apply_group_offloading

        with nullcontext() if path is None else _without_room(_nothing):
            apply_group_offloading(
                module,
                onload_device=part.device,
                offload_device=torch.device("cpu"),
                offload_type="leaf_level",
                use_stream=part.device.type == "cuda",
                low_cpu_mem_usage=not self.pinned,
                offload_to_disk_path=None if path is None else str(path),
            )
        if path is not None:
            for group in _groups(module):
                _leave_nothing(group)


def _check_plain(module: nn.Module) -> None:
    """See that weights can be written to a file.

    Raises:
        LdmError: some are of a kind that cannot, such as quantised ones.
    """
    import torch

    kinds = {type(tensor.data) for tensor in chain(module.parameters(), module.buffers())}
    for kind in kinds - {torch.Tensor}:
        raise LdmError(
            f"weights of the kind {kind.__name__} cannot wait in files, which 'group_offload' is "
            "to write.",
            'say to = "memory".',
        )


def _untie(module: nn.Module) -> None:
    """Give each module parameters of its own, in the memory of those that it had: of one that two
    have, Diffusers would write to the second one's file what it left of it for the first."""
    from torch import nn

    seen: set[Tensor] = set()
    for inner in module.modules():
        for name, tensor in [*inner.named_parameters(recurse=False, remove_duplicate=False)]:
            if tensor in seen:
                setattr(inner, name, nn.Parameter(tensor.detach(), requires_grad=False))
            seen.add(tensor)


def _groups(module: nn.Module) -> list[Any]:
    """What Diffusers brings and takes away together."""
    from diffusers.hooks import HookRegistry

    groups = []
    for inner in module.modules():
        hook = HookRegistry.check_if_exists_or_initialize(inner).get_hook("group_offloading")
        if hook is not None and hook.group.offload_to_disk_path is not None:
            groups.append(hook.group)
    return groups


def _leave_nothing(group: Any) -> None:
    """See that weights that wait in a file are not numbers in the meantime, and take no memory.

    Diffusers leaves memory that nobody wrote: whoever computed with it, as with a layer's weight
    that is read without calling the layer, would get numbers that look right.
    """
    away = group.offload_
    nothing = {_kind(tensor): _nothing(tensor) for tensor in group.tensor_to_key}

    def offload() -> None:
        with _without_room(lambda like: nothing[_kind(like)]):
            away()

    group.offload_ = offload


@contextmanager
def _without_room(instead: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Have Diffusers leave something else where it would leave as much memory as weights took.

    Of all layers at once that is a heap as large as the model, over whose pages spreads what is
    computed later. So does what is made anew for each layer that goes, however small: it stays
    between what is computed, and keeps its memory from being one piece again.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Instead(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.empty_like:
                return instead(args[0])
            return func(*args, **(kwargs or {}))

    with Instead():
        yield


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype


def _nothing(like: Tensor) -> Tensor:
    """A tensor of a shape and type that takes no memory, and is no number."""
    import torch

    kind = like.dtype
    value = torch.nan if kind.is_floating_point else kind == torch.bool or torch.iinfo(kind).min
    return torch.full((), value, dtype=kind).expand(like.shape)
