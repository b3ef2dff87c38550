"""A job for which the recipe says how much memory there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.jobs.events import Failed, Made
from ldm_core.jobs.job import Job
from ldm_core.jobs.making import Making
from ldm_core.media.png import read_png
from ldm_core.plugins.registry import installed
from ldm_core.run.memory.plan import Planner
from ldm_core.run.weights import Weights

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
