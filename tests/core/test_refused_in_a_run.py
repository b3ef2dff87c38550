"""What parts give that does not go with the run: refused, or said, and never drawn in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.contracts import (
    Attention,
    Bound,
    Conditioning,
    Decoder,
    Evaluation,
    Guidance,
    Kernel,
    Medium,
    Run,
    Scheduler,
    Unequal,
    as_scheduler,
)
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.euler import euler


@pytest.mark.parametrize(
    "condition",
    [
        Unequal(({"more": torch.zeros(1, 2)},)),
        Unequal(({"more": torch.zeros(2, 2)}, {"more": torch.zeros(1, 2)})),
        {"more": torch.zeros(1, 2)},
        {"more": torch.zeros(3, 2)},
    ],
    ids=["too few", "two of one", "one row", "three rows"],
)
def test_a_condition_has_one_row_an_image(pipe: Pipeline, condition: Any) -> None:
    class More(Conditioning):
        def encode(self, run: Run, branches: Any) -> Any:
            return dict.fromkeys(branches, condition)

    with pytest.raises(LdmError, match=r"the conditioning More gave .* for a run of 2 images"):
        pipe.replace(conditioning=["text", More()])(["a", "b"], seed=1)


def test_a_branch_that_nothing_describes_is_refused(pipe: Pipeline) -> None:
    class Misspelt(Guidance):
        def bind(self, run: Run) -> Bound:
            def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
                return outputs["positive"] - outputs["negatve"]

            def branches(point: Point) -> tuple[str, ...]:
                return ("positive", "negatve")

            return Bound(branches, combine)

    with pytest.raises(LdmError, match="asks for a branch 'negatve'"):
        pipe.replace(guidance=Misspelt())("a", seed=1)


@pytest.mark.parametrize(("start", "stop"), [(0, -1), (9, None), (3, 1), (0, 99), (-1, 2)])
def test_a_walk_stays_on_its_grid(pipe: Pipeline, start: int, stop: int | None) -> None:
    run = pipe.start(pipe.composition.plan({"prompt": ["a"]}, [1]))
    with pytest.raises(LdmError, match="a walk of 5 points goes from one of 0 to 4"):
        run.walk(run.x, start, stop)


def test_a_record_of_a_record_is_refused() -> None:
    def kernel(query: Any, key: Any, value: Any, mask: Any, scale: Any) -> Any:
        return value

    attention: Attention = kernel
    with pytest.raises(LdmError, match="a Scheduler made of a Scheduler would lose the traits"):
        Scheduler(Scheduler(euler))
    other: Any = Kernel(attention)
    with pytest.raises(LdmError, match="a Scheduler made of a Kernel would lose the traits"):
        as_scheduler(other)


def test_a_decoder_that_gives_another_number_is_refused(pipe: Pipeline) -> None:
    def three(model: Any, x0: Tensor) -> Medium:
        return Medium("image", torch.zeros(3, 3, 16, 16))

    with pytest.raises(LdmError, match="for each of 3 images, and 2 were asked for"):
        pipe.replace(decoder=Decoder(three))(["a", "b"], seed=1)


def test_a_decoder_gives_what_it_says(pipe: Pipeline) -> None:
    def sound(model: Any, x0: Tensor) -> Medium:
        return Medium("sound", torch.zeros(1, 1, 16), rate=8)

    with pytest.raises(LdmError, match="said to give 'image' gave 'sound'"):
        pipe.replace(decoder=Decoder(sound))("a", seed=1)


def test_latents_that_are_not_finite_are_said(pipe: Pipeline) -> None:
    def overflows(x: Tensor, grid: Any, denoise: Any, noise: Any) -> Tensor:
        return denoise(x, grid[0]) * torch.inf

    with pytest.warns(LdmWarning, match="not finite"):
        pipe.replace(scheduler=overflows)("a", seed=1)


def test_a_length_by_its_name_and_in_the_extent_is_one_key(pipe: Pipeline) -> None:
    """The last choice holds; both in one are refused."""
    wide, narrow = {"extent": {"width": 32}}, {"width": 16}
    assert pipe.replace(**narrow).replace(**wide).composition.extent()["width"] == 32
    assert pipe.replace(**wide).replace(**narrow).composition.extent()["width"] == 16
    with pytest.raises(LdmError, match="'width' is given twice"):
        pipe.replace(**narrow, **wide)
