"""What every reading of a component goes through: whatever a library raises becomes one message,
no config makes more of a network than its weights are, and no weight is a number that is none."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError, said
from ldm_core.model.safetensors_header import Header

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO)
"""What the machine lacks, whatever the files say."""
PANIC = "PanicException"
"""What a library written in Rust raises where it did not expect something; no `Exception`."""


@contextmanager
def reading(what: str, hint: str = "", wrong: str = "cannot be read") -> Iterator[None]:
    """See that whatever a library raises while it reads files is an `LdmError`.

    Args:
        what: the part and its file or folder, for the message.
        hint: what is the reason most often.
        wrong: what is the matter with it.
    Raises:
        LdmError: for all but what is of the machine, such as too little memory, or the person.
    """
    try:
        yield
    except LdmError:
        raise
    except Exception as error:
        if out_of_memory(error) or (isinstance(error, OSError) and error.errno in MACHINE):
            raise
        why = "" if isinstance(error, ImportError) else hint
        raise LdmError(f"{what}{wrong and ' ' + wrong}: {in_short(error)}", why) from error
    except BaseException as error:
        if type(error).__name__ != PANIC:
            raise
        raise LdmError(f"{what}{wrong and ' ' + wrong}: {in_short(error)}", hint) from error


def in_short(error: BaseException) -> str:
    """What an error says, in one line; its name where it says nothing."""
    return said(error) or type(error).__name__


def out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, here or on a device."""
    # the allocator of the CPU has no error of its own; that of a device is a RuntimeError too
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("can't allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError")
    )


@dataclass
class Size:
    """How large a network may be whose weights lie in files.

    Attributes:
        tensors: so many parameters; a library may make some that lie in no file.
        numbers: in one of them, or in all where they take memory.
        modules: so many parts, most of which have a parameter.
    """

    tensors: int
    numbers: int
    modules: int

    @classmethod
    def of(cls, headers: Mapping[str, Header]) -> Size:
        """That of the weights in some files, four times over; two numbers may share a byte."""
        shapes = [shape for header in headers.values() for shape in header.shapes.values()]
        numbers = sum(_product(shape) for shape in shapes)
        return cls(4 * len(shapes) + 200, 4 * numbers + 2**16, 40 * len(shapes) + 2000)


@contextmanager
def no_larger(what: str, size: Size) -> Iterator[None]:
    """See, while a network is built, that its config makes no more of it than its weights are.

    Raises:
        LdmError: it does. Nothing has been allocated then but what the weights would fill.
    """
    import torch

    from ldm_core.model.own_thread import registering
    from ldm_core.model.shapes_alone import MADE_ALONE, of_shapes_alone

    damaged = "it is of another model, or damaged."
    makers = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)

    class Sized(torch.overrides.TorchFunctionMode):
        """Sees how much is to be allocated, of this thread alone, before it is."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            options = kwargs or {}
            shape = options.get("size", args)
            if func in makers and _numbers(shape) > size.numbers:
                raise LdmError(
                    f"{what} has a config.json by which it would have {_numbers(shape)} numbers in "
                    f"one tensor, which is more than all its weights.",
                    damaged,
                )
            made = of_shapes_alone(func, args, options) if func in MADE_ALONE else None
            return func(*args, **options) if made is None else made

    left = [size.tensors, size.modules]

    def spend(which: int) -> None:
        left[which] -= 1
        if left[which] < 0:
            raise LdmError(
                f"{what} has a config.json that makes far more of it than its weights are.",
                damaged,
            )

    def module(parent: nn.Module, name: str, child: nn.Module | None) -> None:
        spend(1)

    def parameter(parent: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            spend(0)

    with registering(module, parameter), Sized():
        yield


def check_finite(what: str, tensors: Mapping[str, Tensor]) -> None:
    """See that every weight is a finite number.

    Reads each once, which takes 15 ms of a processor for 400 MB that are in memory.

    Raises:
        LdmError: one is none; a network that has it draws nothing but black.
    """
    import torch

    every = {key: part for name, t in tensors.items() for key, part in unpacked(name, t).items()}
    floats = {name: t for name, t in every.items() if _can_be_not_finite(t)}
    if not floats:
        return
    ends = [_ends(tensor) for tensor in floats.values()]
    finite = torch.stack([end.to(ends[0].device) for end in ends]).isfinite().all(dim=1).tolist()
    for (name, tensor), fine in zip(floats.items(), finite, strict=True):
        if not fine:
            kind = str(tensor.dtype).removeprefix("torch.")
            count = int((~tensor.float().isfinite()).sum())
            raise LdmError(
                f"{what}: {count} of the {tensor.numel()} numbers of {name} are not finite as "
                f"{kind}.",
                "the file is damaged, or its training failed"
                + ("." if kind == "float32" else "; or the numbers are too large for the dtype."),
            )


def check_finite_as_read(what: str, tensors: Mapping[str, Tensor], files: Iterable[Path]) -> None:
    """`check_finite` of weights that have just been read from safetensors files.

    Those that are kept in the main memory as they lie in the files are looked at there, so that
    those parts of a file which nothing else asks for, such as an encoder where pictures are only
    decoded, are not mapped for good.
    """
    from safetensors import safe_open

    left = dict(tensors)
    for file in files:
        with reading(what), safe_open(file, "pt") as stream:
            as_they_lie = {
                name: tensor
                for name in stream.keys() & left.keys()
                if _can_be_not_finite(left[name])
                and left[name].device.type == "cpu"
                and (tensor := stream.get_tensor(name)).dtype is left[name].dtype
                and tensor.shape == left[name].shape
            }
        check_finite(what, as_they_lie)
        for name in as_they_lie:
            del left[name]
    check_finite(what, left)


def unpacked(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """The plain tensors that a quantised weight is made of, such as its scales, by name; a plain
    one is made of itself."""
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    if not is_traceable_wrapper_subclass(tensor):
        return {name: tensor}
    inner, _ = tensor.__tensor_flatten__()
    named = ((f"{name} ({part})", value) for part, value in vars(tensor).items() if part in inner)
    return {key: plain for part, value in named for key, plain in unpacked(part, value).items()}


def _can_be_not_finite(tensor: Any) -> bool:
    import torch

    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)  # no quantiser's own
    return plain and tensor.is_floating_point() and not tensor.is_meta and tensor.numel() > 0


def _ends(tensor: Tensor) -> Tensor:
    """The least and the greatest number, not finite where any is not; one pass and no copy."""
    import torch

    values = tensor.detach()
    if values.itemsize < 2:  # of eight bits, which torch does not compare
        values = values.float()
    return torch.stack(tuple(values.aminmax())).double()


def _numbers(shape: Any) -> int:
    """How many a tensor has whose shape a function is told, as a list or one by one."""
    count = 1
    for side in shape if isinstance(shape, list | tuple) else [shape]:
        count *= _numbers(side) if isinstance(side, list | tuple) else 1
        count *= side if isinstance(side, int) else 1
    return count


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
