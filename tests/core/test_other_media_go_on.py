"""Videos and sounds: memory that does not suffice, and numbers that are not finite, lose none."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core import Output, Pipeline
from ldm_core.contracts import Denoise, Medium, Model
from ldm_core.errors import LdmWarning, NotFiniteError
from ldm_core.numerics.point import Point
from tiny.covering import quick_among
from tiny.folders import FOLDERS, MORE_FOLDERS

KINDS = {**FOLDERS, **MORE_FOLDERS}
OTHERS = (
    *("AnimateDiff", "HunyuanVideo", "LTX-2", "Stable Video Diffusion", "Wan 2.1", "Wan 2.2"),
    *("ACE-Step", "AudioLDM 2", "Stable Audio"),
)
ROUNDING = 1e-4
"""Of what is drawn in another batch, to its largest number."""
LOST = 1


@pytest.fixture(scope="module")
def pipes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Pipeline, Any]]:
    """A pipeline of each kind, with a call of it for two videos or sounds."""
    made: dict[str, tuple[Pipeline, Any]] = {}

    def of(name: str) -> tuple[Pipeline, Any]:
        if name not in made:
            kind, place = KINDS[name], tmp_path_factory.mktemp("model")
            folder = kind.write(place / "model")
            pipe = Pipeline.from_pretrained(folder, num_inference_steps=2, device="cpu")
            made[name] = pipe, {**kind.inputs_in(place), "seed": [3, 4], "output_type": "pt"}
        return made[name]

    return of


def one_at_most(denoise: Denoise) -> Denoise:
    def small(x: Tensor, point: Point) -> Tensor:
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return denoise(x, point)

    return small


def poisoned(denoise: Denoise) -> Denoise:
    def poison(x: Tensor, point: Point) -> Tensor:
        x0 = denoise(x, point).clone()
        if len(x0) > LOST:
            x0[(LOST, *(0 for _ in x0.shape[1:]))] = torch.nan
        return x0

    return poison


def close(output: Output, expected: Output) -> bool:
    pairs = zip(output.images, expected.images, strict=True)
    return all(float((a - b).abs().max()) <= ROUNDING * float(b.abs().max()) for a, b in pairs)


@pytest.mark.parametrize("kind", quick_among(OTHERS, ("AnimateDiff", "Stable Audio")))
def test_a_batch_is_halved_and_decoded_one_by_one(pipes: Any, kind: str) -> None:
    pipe, call = pipes(kind)
    own = pipe.composition.decoder

    def decode(model: Model, x0: Tensor) -> Medium:
        if len(x0) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return own.medium(model, x0)

    expected = pipe(**call)
    for changes in (
        {"denoisers": [one_at_most]},
        {"decoder": replace(own, decode=decode)},
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LdmWarning)
            output = pipe.replace(**changes)(**call)
        said = [str(w.message) for w in caught if "does not suffice" in str(w.message)]
        assert len(said) == 1, said
        assert output.seeds == expected.seeds
        assert close(output, expected), (kind, list(changes))
    assert said[0].endswith("one by one.")


@pytest.mark.parametrize("kind", quick_among(OTHERS, ("AnimateDiff", "Stable Audio")))
def test_what_is_not_finite_is_named_and_the_other_is_kept(pipes: Any, kind: str) -> None:
    pipe, call = pipes(kind)
    expected = pipe(**call)
    with pytest.raises(NotFiniteError, match="not finite") as caught:
        pipe.replace(denoisers=[poisoned])(**call)
    assert [failure.index for failure in caught.value.failures] == [LOST]
    output = caught.value.output
    assert output is not None
    assert output.seeds == expected.seeds[:1]
    assert len(output.images) == 1
    assert float((output.images[0] - expected.images[0]).abs().max()) <= ROUNDING


@pytest.mark.parametrize("kind", ["AnimateDiff", "Stable Audio"])
def test_a_job_goes_on_without_it(pipes: Any, kind: str, tmp_path: Path) -> None:
    from ldm_core.jobs.events import Failed, Made
    from ldm_core.jobs.job import Job

    pipe, call = pipes(kind)
    size = {name: value for name, value in call.items() if type(value) is int}
    lines = tmp_path / "lines.txt"
    lines.write_text("a\nb\nc\n")
    bad = pipe.replace(denoisers=[poisoned])
    choices = {**bad.composition.chosen, **({"extent": size} if size else {})}
    job = Job.open(lines, tmp_path / "out", choices=choices, seed=3, base=bad.composition, pipe=bad)
    events = list(job.run())
    assert [event.index for event in events if isinstance(event, Failed)] == [LOST]
    made = {event.index: event.path for event in events if isinstance(event, Made)}
    assert sorted(made) == [0, 2]
    assert all(path.stat().st_size for path in made.values())
    assert not [*(tmp_path / "out").glob(f"0000{LOST}*")]
