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
    sees_latent,
)
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.euler import euler
from ldm_plugins.spacings.karras import karras


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


def test_a_length_by_its_name_and_in_the_extent_is_one_key(pipe: Pipeline) -> None:
    """The last choice holds; both in one are refused."""
    wide, narrow = {"extent": {"width": 32}}, {"width": 16}
    assert pipe.replace(**narrow).replace(**wide).composition.extent()["width"] == 32
    assert pipe.replace(**wide).replace(**narrow).composition.extent()["width"] == 16
    with pytest.raises(LdmError, match="'width' is given twice"):
        pipe.replace(**narrow, **wide)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a scheduler of two": (
        {"scheduler": lambda d, p: d},
        r"Scheduler .* \(x, grid, denoise, noise\)",
    ),
    "a spacing as a scheduler": ({"scheduler": karras}, r"a Scheduler .* takes \(schedule"),
    "a scheduler as a spacing": ({"spacing": lambda x, grid, denoise, noise: x}, "a Spacing"),
    "a spacing of three": (
        {"spacing": lambda s, steps, latent: []},
        r"Spacing .*\(schedule, steps\)",
    ),
    "a kernel of one": ({"attention": lambda q: q}, r"a Kernel .* \(q, k, v, mask, scale\)"),
    "an encoder of one": ({"encoder": lambda data: data}, r"an? Encoder .* \(model, data, noise\)"),
    "a decoder of three": ({"decoder": lambda m, x0, more: x0}, r"Decoder .* \(model, x0\)"),
    "a wrapper of two": ({"denoisers": [lambda denoise, more: denoise]}, "a Wrapper"),
    "an observer of two": ({"observers": [lambda grid, more: grid]}, "Observer"),
    "a record of no function": ({"scheduler": {"name": "euler", "start": 3}}, "no option 'start'"),
    "a function as a guidance": (
        {"guidance": lambda d, p: d},
        "a guidance is an object of a class",
    ),
    "a function as a conditioning": (
        {"conditioning": [lambda d: d]},
        "a conditioning is an object",
    ),
    "a function as a converter": (
        {"converters": [lambda model: model]},
        "a converter is an object",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_could_only_fail_in_a_run_is_refused_when_composed(pipe: Pipeline, name: str) -> None:
    choice, message = WRONG[name]
    with pytest.raises(LdmError, match=message):
        pipe.replace(**choice)


def test_a_record_is_made_of_a_function_that_fits() -> None:
    wrong: Any = 3
    with pytest.raises(LdmError, match="'walk' of Scheduler should be a function, not 3"):
        Scheduler(wrong)
    narrow: Any = lambda x: x  # noqa: E731
    with pytest.raises(LdmError, match="a Kernel is made of a function"):
        Kernel(narrow)
    assert as_scheduler(lambda *arguments: arguments[0])
    assert as_scheduler(lambda x, grid, denoise, noise, more=1, *, eta: x)
    assert sees_latent(lambda schedule, steps, latent: []).sees_latent


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"scheduler": lambda x, grid, denoise, noise: None}, "the scheduler gave None for an x"),
        ({"scheduler": lambda x, grid, denoise, noise: x[:, :1]}, "the scheduler gave a tensor of"),
        ({"spacing": lambda schedule, steps: [1, 2]}, "should give points"),
        ({"spacing": lambda schedule, steps: None}, "should give points"),
        ({"denoisers": [lambda denoise: None]}, "gave None, no denoiser"),
        ({"observers": [lambda grid: None]}, "should give a context manager"),
    ],
)
def test_a_part_that_gives_something_else_is_told(
    pipe: Pipeline, choice: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipe.replace(**choice)("a", seed=1)
