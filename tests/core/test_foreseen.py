"""A run that would take more memory than is free is refused before it begins, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ldm_core import LdmError, Pipeline
from ldm_core.composition import limits
from ldm_core.run.memory.foreseen import foreseen
from ldm_core.run.memory.plan import Planner


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Any:
    def has(size: int) -> None:
        monkeypatch.setattr(limits, "available_bytes", lambda: size)

    return has


def walked(pipe: Pipeline, images: int, side: int) -> int:
    """What a batch takes beside weights, walked as large as it is and not drawn on a line."""
    planner = Planner.of(pipe.composition)
    walk = planner.walked(planner.example(images, {"height": side, "width": side}))
    return max(peak.live for peaks in (walk.before, walk.decoding[""]) for peak in peaks.values())


@pytest.mark.parametrize(("images", "side"), [(1, 128), (3, 64)])
def test_what_is_refused_is_what_a_walk_at_full_size_says_does_not_fit(
    images: int, side: int, pipe: Pipeline, free: Any
) -> None:
    needed = walked(pipe, images, side)
    call = {"seed": 1, "num_images_per_prompt": images, "width": side, "height": side}
    free(needed)
    pipe.batches("a star", **call)
    free(int(needed * 0.8))
    with pytest.raises(LdmError, match=r"(?s)beside the weights.*what could fit"):
        pipe.batches("a star", **call)


def test_what_could_fit_fits(pipe: Pipeline, free: Any) -> None:
    free(walked(pipe, 3, 64))
    with pytest.raises(LdmError, match="a batch_size of 3") as refused:
        pipe.batches("a star", seed=1, num_images_per_prompt=8, width=64, height=64)
    assert "8 images at once of 64x64" in str(refused.value)
    assert (
        sum(1 for _ in pipe.batches("a star", seed=1, num_images_per_prompt=8, batch_size=3)) == 3
    )


def test_a_run_that_is_far_from_what_is_free_is_not_walked(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Planner, "walked", lambda *_: pytest.fail("it was walked"))
    pipe.batches("a star", seed=1)


def test_a_recipe_that_says_how_much_there_is_is_planned_instead(folder: Path, free: Any) -> None:
    pipe = Pipeline.from_pretrained(folder, memory="4GiB")
    free(2**22)
    plans = [Planner.of(pipe.composition).example(64)]
    assert foreseen(pipe.composition, plans) is plans


def test_the_command_refuses_it(ldm: Any, folder: Path, free: Any) -> None:
    free(2**24)
    run = ("generate", "a star", "--model", folder, "--size", "512x512", "--out", "a")
    code, _, err = ldm(*run)
    assert code == 2
    assert "512x512 would take at least" in err
    assert not Path("a").exists()
