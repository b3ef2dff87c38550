"""Tensors as a person gives them: in Python, or in a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts.files import to_read
from ldm_core.errors import LdmError
from ldm_core.media.arrays import is_array
from ldm_core.model.loading import reading
from ldm_core.values import brief

if TYPE_CHECKING:
    from torch import Tensor


def read_tensor(name: str, value: Any) -> Tensor:
    """One tensor, float32, with finite numbers.

    Args:
        name: of the input, for messages.
        value: a tensor, an array, or a safetensors file that holds one.
    Raises:
        LdmError: it is something else.
    """
    tensors = read_tensors(name, value)
    if len(tensors) != 1:
        raise LdmError(
            f"the {name} should be one tensor, and {brief(value)} holds {len(tensors)}: "
            f"{', '.join(tensors)}."
        )
    (tensor,) = tensors.values()
    return tensor


def read_tensors(name: str, value: Any) -> dict[str, Tensor]:
    """Tensors by name, float32 but for whole numbers, with finite numbers; a single one that has no
    name has the empty one.

    Args:
        value: as of `read_tensor`, or a table of them.
    """
    import torch

    if isinstance(value, str | Path):
        value = _of_file(name, value)
    if is_array(value):
        value = {"": value}
    if not isinstance(value, Mapping) or not all(is_array(one) for one in value.values()):
        tables = isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value)
        raise LdmError(
            f"the {name} should be a tensor, or a .safetensors file that holds one, not "
            f"{brief(value)}.",
            "tables of several images are files, one for each." if tables else "",
        )
    tensors = {str(key): torch.as_tensor(one).detach() for key, one in value.items()}
    for key, tensor in tensors.items():
        if tensor.is_meta or tensor.is_complex() or tensor.layout != torch.strided:
            raise LdmError(f"the {name} is of a kind of tensor that holds no plain numbers.")
        if not tensor.isfinite().all():
            raise LdmError(f"the {name} holds numbers that are not finite (NaN or infinite).")
        if tensor.is_floating_point():
            tensors[key] = tensor.float()
    return tensors


def _of_file(name: str, path: str | Path) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    file = to_read(path, f"the {name}")
    if file.suffix != ".safetensors" or not file.is_file():
        raise LdmError(f"the {name} should name a .safetensors file, and '{path}' is none.")
    with reading(f"the {name} '{path}'"):
        tensors: Mapping[str, Any] = load_file(file)
    return tensors


def one_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor of one image, seen to be of this shape; a batch of one before it is left out.

    Raises:
        LdmError: it is of another.
    """
    one = tensor[0] if tensor.ndim == len(shape) + 1 and len(tensor) == 1 else tensor
    if tuple(one.shape) != shape:
        raise LdmError(
            f"the {name} of one image should have the shape {shape}, not {tuple(tensor.shape)}; "
            "give those of several images as a list."
        )
    return one
