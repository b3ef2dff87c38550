"""Parts of the time that are made anew, and the latents that they cover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ldm_core.contracts import Axis, Input
from ldm_core.errors import LdmError
from ldm_core.values import brief

if TYPE_CHECKING:
    from torch import Tensor

Span = tuple[float, float]
"""Begin and end, in seconds."""
REPAINT = Input(
    str | None,
    None,
    help="the times in seconds that are made anew, as 0.5-1.5,2-3; all of it where left out",
)
"""The input ``repaint`` of all that start from what has time."""


def read_spans(text: str, length: float) -> list[Span]:
    """The spans in a text such as ``0.5-1.5,2-3``.

    Args:
        length: of all that is made, in seconds.
    Raises:
        LdmError: it has another form, or a span lies beyond what is made.
    """
    spans = []
    for part in text.split(","):
        begin, _, end = part.strip().partition("-")
        try:
            span = float(begin), float(end)
        except ValueError:
            span = math.nan, math.nan
        if not 0 <= span[0] < span[1] < math.inf:
            raise LdmError(
                f"'repaint' says times in seconds, as 0.5-1.5,2-3, and not {brief(text)}."
            )
        if span[0] >= length:
            raise LdmError(
                f"'repaint' says {part.strip()}, and what is made is {length:.4g} seconds long."
            )
        spans.append(span)
    return spans


def share_along(spans: Sequence[Span], axis: Axis, length: int, rate: float) -> list[float]:
    """How much of each place of a latent is made anew: the share of the frames or samples that it
    stands for whose middle lies in a span. Places ahead of the first are as that one.

    Args:
        length: in frames or samples.
        rate: of these, a second.
    """
    inside = [any(b <= (i + 0.5) / rate < e for b, e in spans) for i in range(length)]
    first = 1 if axis.causal else axis.stride
    edges = [0, *range(first, length, axis.stride), length]
    shares = [sum(inside[b:e]) / (e - b) for b, e in pairwise(edges)]
    return [*shares[:1] * axis.ahead, *shares]


def places_within(spans: Sequence[Span], axis: Axis, places: int, rate: float) -> list[float]:
    """1 for each place of a latent that is made anew as a whole, 0 for the others: both ends of a
    span are rounded down to places, as Diffusers does.

    Args:
        places: of the latent.
        rate: frames or samples a second.
    Raises:
        LdmError: a span covers none.
    """
    anew = [0.0] * places
    for begin, end in spans:
        first, last = (int(min(time * rate / axis.stride, places)) for time in (begin, end))
        if first == last:
            raise LdmError(
                f"'repaint' says {begin:g}-{end:g}, which is less than one place of this model's "
                f"latents, {axis.stride / rate:.3g} seconds."
            )
        anew[first:last] = [1.0] * (last - first)
    return anew


def spread(shares: Sequence[Sequence[float]], at: int, like: Tensor) -> Tensor:
    """Shares along an axis of latents, of each entry of a batch, as a tensor of their shape.

    Args:
        at: the axis among those behind the channels, from 0.
        like: latents (batch, channels, ...).
    """
    import torch

    shape = [1] * like.ndim
    shape[0], shape[2 + at] = len(shares), len(shares[0])
    return torch.tensor(shares, dtype=like.dtype, device=like.device).reshape(shape)
