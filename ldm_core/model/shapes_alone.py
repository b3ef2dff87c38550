"""What libraries do with tensors of the device ``meta``, which have shapes and no numbers, while
they build a network: done as torch does it, without its compiler, which torch imports for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

DRAWING = frozenset(f for name, f in vars(torch.nn.init).items() if name[-1] == "_" != name[0])
"""The functions that draw first numbers into a tensor."""
MADE_ALONE = DRAWING | {torch.arange, torch.empty_like}
"""Those that `of_shapes_alone` knows."""


def of_shapes_alone(func: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Tensor | None:
    """What a function of torch gives where it is one of those that libraries call with shapes
    alone; None where it is not."""
    options = {name: value for name, value in options.items() if value is not None}
    if func in DRAWING:  # into what has no numbers
        tensor: Tensor = args[0] if args else options["tensor"]
        return tensor if tensor.is_meta else None
    if func is torch.arange:  # of as many as one whole number says
        counts = [type(arg) for arg in args] == [int] and args[0] >= 0
        if counts and options.keys() == {"device"} and str(options["device"]) == "meta":
            return torch.empty(args[0], dtype=torch.int64, device="meta")
    if func is torch.empty_like and len(args) == 1 and options.keys() <= {"device", "dtype"}:
        like: Tensor = args[0]
        if type(like) is torch.Tensor and like.is_meta and like.is_contiguous():
            return torch.empty(like.shape, **{"dtype": like.dtype, "device": "meta", **options})
    return None
