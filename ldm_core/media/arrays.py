"""Arrays and tensors as pictures: which values, types and shapes say what is meant."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError, LdmWarning
from ldm_core.values import brief

if TYPE_CHECKING:
    from torch import Tensor

HAIR = 1e-3
"""So far may floating-point values lie outside [0, 1], by rounding."""


def is_array(value: Any) -> bool:
    """Whether a value is an array of NumPy or a tensor."""
    import numpy as np
    import torch

    return isinstance(value, np.ndarray | torch.Tensor)


def read_array(name: str, value: Any, channels: int, mask: bool = False) -> Tensor:
    """An array or tensor as pixels in [0, 1], (batch, channels, height, width) float32.

    An array has its channels last, (height, width, channels), and a tensor first, (channels,
    height, width); both may have a batch before, and pictures of one channel need not have it.
    Floating-point values are in [0, 1], those of uint8 in 0 to 255, and True is white.

    Args:
        name: what to call it in an error.
        channels: of the pictures that are wanted.
        mask: it says where something holds.
    Raises:
        LdmError: it is of another shape or type, or holds other values.
    """
    import numpy as np
    import torch

    last = isinstance(value, np.ndarray)
    plain = _of_numpy(name, value) if last else _of_torch(name, value)
    plain = _with_batch(name, plain, channels, last)
    if plain.dtype == torch.bool:
        return plain.float()
    if plain.dtype == torch.uint8:
        _note_ones(name, plain, mask)
        return plain.float() / 255
    if not plain.is_floating_point():
        raise LdmError(
            f"the {name} holds whole numbers of the type {_dtype(plain)}, which do not say what is "
            "white; give uint8 from 0 to 255, or floating-point numbers in [0, 1]."
        )
    pixels = plain.float()
    _check_range(name, pixels)
    return pixels


def _of_numpy(name: str, value: Any) -> Tensor:
    import numpy as np
    import torch

    if isinstance(value, np.ma.MaskedArray):
        raise LdmError(f"the {name} is a masked array; fill what is masked: x.filled(0).")
    if value.dtype.kind not in "buif":
        raise LdmError(
            f"the {name} is an array of {value.dtype}, and a picture is of uint8 from 0 to 255, or "
            "floating-point numbers in [0, 1]."
        )
    native = value.astype(value.dtype.newbyteorder("="))  # a copy, without negative strides
    if native.dtype.kind == "f" and native.dtype.itemsize > 8:
        native = native.astype(np.float64)
    if native.dtype.kind == "u" and native.dtype.itemsize > 1:
        native = native.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(native))


def _of_torch(name: str, value: Tensor) -> Tensor:
    import torch

    if value.layout != torch.strided:
        raise LdmError(f"the {name} is a sparse tensor; give x.to_dense().")
    if value.is_meta or value.is_quantized or value.is_complex():
        kind = "meta" if value.is_meta else "quantized" if value.is_quantized else "complex"
        raise LdmError(f"the {name} is a {kind} tensor, which holds no pixels.")
    return value.detach()


def _with_batch(name: str, value: Tensor, channels: int, last: bool) -> Tensor:
    """The pixels as (batch, channels, height, width)."""
    shape = tuple(value.shape)
    if channels == 1 and value.ndim == 2:
        value = value[None]
    elif value.ndim in (3, 4) and last:
        value = value.movedim(-1, -3)
    if value.ndim == 3:
        value = value[None]
    if value.ndim == 4 and value.shape[1] == channels and all(value.shape):
        return value
    kind = "an array" if last else "a tensor"
    form = f"(height, width, {channels})" if last else f"({channels}, height, width)"
    raise LdmError(
        f"the {name} should be {kind} {form} in [0, 1], not of shape {shape}.",
        _shape_hint(shape, channels, last),
    )


def _shape_hint(shape: tuple[int, ...], channels: int, last: bool) -> str:
    if len(shape) not in (3, 4):
        return ""
    own, other = (shape[-1], shape[-3]) if last else (shape[-3], shape[-1])
    if other == channels:
        axes = tuple(range(len(shape)))
        order = (
            *axes[:-3],
            *((axes[-2], axes[-1], axes[-3]) if last else (axes[-1], *axes[-3:-1])),
        )
        how = f"x.transpose{order}" if last else f"x.permute{order}"
        where = "last in an array" if last else "first in a tensor"
        return f"channels come {where}: {how} is the picture."
    if own == 4 and channels == 3:
        return "its fourth channel is transparency; lay it on a background first."
    if own == 1 and channels == 3:
        how = "x.repeat(3, -1)" if last else "x.expand(3, -1, -1)"
        return f"grey is given as three equal channels: {how}."
    return ""


def _check_range(name: str, pixels: Tensor) -> None:
    if not pixels.isfinite().all():
        raise LdmError(f"the {name} holds numbers that are not finite (NaN or infinite).")
    low, high = float(pixels.min()), float(pixels.max())
    if low >= -HAIR and high <= 1 + HAIR:
        return
    hint = ""
    if low >= -1 - HAIR and high <= 1 + HAIR:
        hint = "of pixels in [-1, 1], x / 2 + 0.5 is the picture."
    elif low >= -HAIR and high <= 255:
        hint = "of pixels from 0 to 255, x / 255 is the picture."
    raise LdmError(
        f"the {name} holds numbers from {low:g} to {high:g}, and those of a picture are in [0, 1].",
        hint,
    )


def _note_ones(name: str, values: Tensor, mask: bool) -> None:
    """Say of 0 and 1 alone, where 255 is white, that they are black."""
    if int(values.max()) != 1:
        return
    words = f"the {name} holds 0 and 1 alone, of type uint8, whose white is 255"
    if mask:
        raise LdmError(f"{words}; give it as bool, or times 255.")
    warnings.warn(f"{words}: it is as good as black", LdmWarning, stacklevel=4)


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def check_latents(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """See that a tensor can be latents.

    Args:
        shape: of one image's, whose lengths along the axes may be others.
    Raises:
        LdmError: it is none, or of other channels or axes, or no floating-point numbers.
    """
    import torch

    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        raise LdmError(
            f"the {name} should be a tensor of floating-point numbers, not {brief(value)}."
        )
    if value.layout != torch.strided or value.is_meta:
        raise LdmError(
            f"the {name} should be a dense tensor that holds numbers; give x.to_dense()."
        )
    if value.ndim != len(shape) + 1 or value.shape[1] != shape[0] or not all(value.shape):
        axes = ", ".join(["batch", str(shape[0]), *("length" for _ in shape[1:])])
        raise LdmError(f"the {name} should be of shape ({axes}), not {tuple(value.shape)}.")
