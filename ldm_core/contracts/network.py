"""The network: one call, which knows whose rows it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor

Condition = Mapping[str, "Tensor"]
"""What a network takes beside x and t, by the family's own keys; rows first in each tensor.

A row's part never depends on who else is in the batch. Where the images of a run have conditions of
different shapes, such as captions of different length, a conditioning gives an `Unequal`."""


POSITIVE = "positive"
"""The branch of what a person asks for."""
NEGATIVE = "negative"
"""The branch of what a person says that guidance is to lead away from, in inputs whose names begin
with ``negative_``; where they say nothing, it is the unconditional one."""
UNCONDITIONAL = "unconditional"
"""The branch under which nothing is said: the negative one without what a person says of it, such
as the empty prompt, or no class; the network as it is, of a model without conditions."""
BRANCHES = (POSITIVE, NEGATIVE, UNCONDITIONAL)
"""The branches that every family has. A guidance names others with inputs of their own, see
`ldm_core.contracts.Bound.inputs`."""
LED_FROM = (NEGATIVE, UNCONDITIONAL)
"""Those that say nothing of what the picture is to show."""


class Row(NamedTuple):
    """Whose row it is.

    Attributes:
        image: its place in the batch that the run makes.
        branch: under which condition it is asked: one of `BRANCHES`, or a guidance's own.
        point: where its x lies; the rows of a call may lie at different points.
        step, steps: the interval of its run's grid, from 0, and how many there are.
    """

    image: int
    branch: str
    point: Point
    step: int
    steps: int


class Call(NamedTuple):
    """What a network is asked.

    Attributes:
        x: (rows, channels, ...) float32.
        t: (rows,) float32, on x's device: each row's training timestep, as its point says.
        condition: rows first in each tensor.
        rows: whose they are; none in a program that is one for all steps, where t alone says where
            they lie.
    """

    x: Tensor
    t: Tensor
    condition: Condition
    rows: tuple[Row, ...]


Network = Callable[[Call], "Tensor"]
"""``network(call) -> output``, (rows, ...) float32, of the family's prediction type.

A network that also predicts a variance (`ModelInfo.learned_variance`) returns twice x's channels,
the second half being the variance."""


class Unequal(NamedTuple):
    """The conditions of images that differ in shape, one for each; each tensor has a single row."""

    each: tuple[Condition, ...]


def take(condition: Condition, rows: Sequence[int]) -> dict[str, Tensor]:
    """Some rows of a condition, in this order."""
    return {key: value[rows] for key, value in condition.items()}


def concatenate(conditions: Sequence[Condition]) -> dict[str, Tensor]:
    """Conditions of the same keys and shapes, one's rows after the other's."""
    import torch

    return {key: torch.cat([c[key] for c in conditions]) for key in conditions[0]}
