"""A job for which the recipe says how much memory there is, and one that has not enough."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Denoise
from ldm_core.errors import LdmWarning, MachineError
from ldm_core.jobs.events import Event, Failed, Made
from ldm_core.jobs.job import Job
from ldm_core.jobs.making import Making
from ldm_core.media.png import read_png
from ldm_core.numerics.point import Point
from ldm_core.plugins.registry import installed
from ldm_core.run.memory.plan import Planner
from ldm_core.run.weights import Weights
from tiny.folders import FOLDERS, MORE_FOLDERS

LINES: list[dict[str, Any]] = [
    {"prompt": "a star", "seed": 3},
    {"prompt": "a moon", "seed": 4, "width": 32, "height": 32},
]


class SeenLater(Making):
    """One of which nothing is known before it is made."""

    def plan(self, *_: Any) -> None:
        return None


@pytest.mark.parametrize(("making", "reads"), [(Making(), 1), (SeenLater(), 2)])
def test_weights_are_placed_for_the_largest_line(
    making: Making, reads: int, folder: Path, pipe: Pipeline, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """From the beginning where that can be known, or anew when its turn comes."""
    choices = {"model": str(folder), "num_inference_steps": 2, "device": "cpu"}
    own = Planner.of(compose({**choices, "memory": "1GiB"}, installed()))
    peaks = []
    for side in (16, 32):
        plan = own.example(1, {"width": side, "height": side})
        peaks.append({way.words: way.peak for way in own.ways(own.walked(plan), plan)})
    budget = max(peaks[0]["whole"], peaks[1]["group_offload to disk"])
    assert budget < peaks[1]["whole"]
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    placed = []
    let_go = Weights.let_go
    monkeypatch.setattr(Weights, "let_go", lambda self: placed.append(self) or let_go(self))
    job = Job.open(
        lines, tmp_path / "out", choices={**choices, "memory": f"{budget}B"}, seed=1, making=making
    )
    events = list(job.run())
    assert not [event for event in events if isinstance(event, Failed)]
    assert bool(placed) == (reads > 1)
    made = [event for event in events if isinstance(event, Made)]
    assert len(made) == len(LINES)
    for event, line in zip(made, LINES, strict=True):
        prompt, call = line["prompt"], {key: line[key] for key in line if key != "prompt"}
        plain = pipe(prompt, num_inference_steps=2, **call)
        image, manifest = read_png(event.path)
        assert np.array_equal(np.asarray(image), np.asarray(plain.images[0]))
        assert "memory" not in manifest["recipe"]


class Scarce:
    """Memory that does not suffice for so many rows of so many numbers, or more."""

    def __init__(self, rows: int, numbers: int = 0) -> None:
        self.rows, self.numbers = rows, numbers

    def __call__(self, denoise: Denoise) -> Denoise:
        def scarce(x: Tensor, point: Point) -> Tensor:
            if len(x) >= self.rows and x[0].numel() >= self.numbers:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return denoise(x, point)

        return scarce


def job_of(pipe: Pipeline, lines: Path, out: Path, **terms: Any) -> Job:
    choices = {**pipe.composition.chosen, **terms.pop("choices", {})}
    return Job.open(lines, out, choices=choices, seed=3, base=pipe.composition, pipe=pipe, **terms)


@pytest.mark.parametrize("kind", ["Stable Diffusion", "AnimateDiff", "Stable Audio"])
def test_a_batch_that_does_not_fit_is_halved_and_its_files_are_the_same(
    kind: str, tmp_path: Path
) -> None:
    """Bit for bit those of a job that makes each by itself."""
    model = {**FOLDERS, **MORE_FOLDERS}[kind]
    folder = model.write(tmp_path / "model")
    pipe = Pipeline.from_pretrained(folder, num_inference_steps=2, device="cpu")
    call = model.inputs_in(tmp_path)
    size = {name: value for name, value in call.items() if type(value) is int}
    lines = tmp_path / "lines.txt"
    lines.write_text("a\nb\nc\n")
    made = {}
    for name, own, count in (
        ("whole", pipe.replace(denoisers=[Scarce(9)]), 1),
        ("halved", pipe.replace(denoisers=[Scarce(2)]), 3),
    ):
        choices = {"extent": size} if size else {}
        job = job_of(own, lines, tmp_path / name, choices=choices, batch_size=count)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            events = list(job.run())
        assert [event.index for event in events if isinstance(event, Made)] == [0, 1, 2]
        files = [event.path for event in events if isinstance(event, Made)]
        made[name] = {path.name: path.read_bytes() for path in files}
        said = [str(w.message) for w in caught if issubclass(w.category, LdmWarning)]
        assert [t for t in said if t.startswith("the memory does not suffice")] == said, said
        assert bool(said) == (count > 1)
    assert made["halved"] == made["whole"]


def test_a_line_that_does_not_fit_by_itself_holds_no_other_up(
    pipe: Pipeline, tmp_path: Path
) -> None:
    """A process that has the memory makes it meanwhile, or the same command later."""
    lines = tmp_path / "a.jsonl"
    sizes = [16, 32, 16, 32, 24, 16]
    rows = [{"prompt": f"star {i}", "width": side, "height": side} for i, side in enumerate(sizes)]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plenty = pipe.replace(denoisers=[Scarce(9)], num_inference_steps=2)
    largest = plenty("a", width=32, height=32, output_type="latent").images[0].numel()
    scarce = plenty.replace(denoisers=[Scarce(1, largest)])
    events: list[Event] = []
    with pytest.raises(MachineError, match=r"^lines 2, 4: the memory does not suffice for a "):
        events.extend(job_of(scarce, lines, tmp_path / "out", batch_size=1).run())
    assert not [event for event in events if isinstance(event, Failed)]
    assert sorted(e.index for e in events if isinstance(e, Made)) == [0, 2, 4, 5]
    events = list(job_of(plenty, lines, tmp_path / "out", batch_size=1).run())
    assert sorted(e.index for e in events if isinstance(e, Made)) == [1, 3]
    both = job_of(scarce, lines, tmp_path / "both", batch_size=1).run()
    began = [next(both) for _ in range(2)]
    other = list(job_of(plenty, lines, tmp_path / "both", batch_size=1).run())
    made = [event for event in (*began, *other, *both) if isinstance(event, Made)]
    assert sorted(event.index for event in made) == [*range(6)]


def test_where_nothing_fits_a_job_ends(pipe: Pipeline, tmp_path: Path) -> None:
    """Before it has tried each line of many that are alike."""
    scarce = Scarce(1)
    tries: list[int] = []

    def counted(denoise: Denoise) -> Denoise:
        tries.append(1)
        return scarce(denoise)

    lines = tmp_path / "a.txt"
    lines.write_text("star\n" * 40)
    job = job_of(pipe.replace(denoisers=[counted]), lines, tmp_path / "out", batch_size=1)
    with pytest.raises(MachineError, match=r"1, 2, .*, 20 and 20 more: the memory does not suf"):
        list(job.run())
    assert 0 < len(tries) < 12
