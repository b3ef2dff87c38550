"""Inputs that only Python can give, as a manifest names them: by type, and by a hash of what they
hold, so that two pictures can be seen to be of the same ones."""

from __future__ import annotations

import hashlib
from typing import Any


def python_input(value: Any) -> dict[str, Any]:
    """``{"python": its type}``; of a tensor, an array or a picture the shape, the type of its
    numbers and the SHA-256 of these in their order too."""
    import numpy
    import torch
    from PIL import Image

    entry = {"python": f"{type(value).__module__}.{type(value).__qualname__}"}
    if isinstance(value, Image.Image):
        return {**entry, **_held((value.height, value.width), value.mode, value.tobytes())}
    if isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta:
        plain = value.detach().cpu().contiguous()
        words = plain.reshape(-1).view(torch.uint8).numpy()
        return {**entry, **_held(plain.shape, str(plain.dtype).removeprefix("torch."), words)}
    if isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
        rows = numpy.ascontiguousarray(value)
        return {**entry, **_held(value.shape, str(value.dtype), rows.tobytes())}
    return entry


def _held(shape: Any, dtype: str, numbers: Any) -> dict[str, Any]:
    digest = hashlib.sha256(numbers).hexdigest()
    return {"shape": [int(side) for side in shape], "dtype": dtype, "sha256": digest}
