"""Sums of tensors times numbers, in as few operations as torch has for them.

An operation on a latent of 1x4x64x64 takes 2 to 4 µs, most of it spent on the way there, so that
what a step costs beside its network is how many it makes. The functions take linear forms too,
where coefficients alone are asked for, and whatever else knows sums, and products with numbers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from ldm_core.numerics.linear_form import Linear

if TYPE_CHECKING:
    from torch import Tensor


def weighted_sum(*terms: tuple[float, Tensor]) -> Tensor:
    """The sum of tensors of one shape, each times its number, as a tensor of its own.

    It takes an operation a term, and one fewer where the first number is 1: the first product is
    made, and the others are added to it in place.

    Args:
        terms: at least one; numbers are Python's, from float64.
    """
    number, first = terms[0]
    if isinstance(first, Linear):  # which is asked where torch is not there
        return cast("Tensor", _plain_sum(terms))
    import torch

    if not isinstance(first, torch.Tensor):
        return cast("Tensor", _plain_sum(terms))
    rest = terms[1:]
    if number == 1.0 and rest:
        number, second = terms[1]
        total, rest = first.add(second, alpha=number), terms[2:]
    elif first.dtype is torch.float32 and type(first) is torch.Tensor:
        total = first * _float32(number)
    else:
        total = first * number
    for number, term in rest:
        total.add_(term, alpha=number)
    return total


def lerp(start: Tensor, end: Tensor, weight: float) -> Tensor:
    """start + weight·(end - start), in one operation; weights may lie beyond 0 and 1."""
    if isinstance(start, Linear):
        return start + weight * (end - start)
    import torch

    if not isinstance(start, torch.Tensor):
        return start + weight * (end - start)
    return start.lerp(end, weight)


def _plain_sum(terms: tuple[tuple[float, Any], ...]) -> Any:
    """Of whatever knows sums, and products with numbers."""
    total = terms[0][0] * terms[0][1]
    for number, term in terms[1:]:
        total = total + number * term
    return total


@lru_cache(maxsize=2**13)
def _float32(number: float) -> Any:
    """A number as a tensor of no dimension, which is kept.

    Torch makes such a tensor of a Python number in each product, and casts it: 2 of its 4 µs. The
    result is the same bit for bit.
    """
    import torch

    with torch.inference_mode(False):
        return torch.tensor(number, dtype=torch.float32, device="cpu")
