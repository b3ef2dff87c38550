"""A plan for the memory of a run, made before any weight is read."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.memory_size import size_in_bytes
from ldm_core.plugins.registry import installed
from ldm_core.run.memory import shape_walk
from ldm_core.run.memory.live_bytes import Allocator, LiveBytes
from ldm_core.run.memory.placements import Candidate
from ldm_core.run.memory.plan import MemoryPlan, Planner
from tiny.covering import one_of_each, quick_among
from tiny.folders import FOLDERS, MORE_FOLDERS

KIB = 2**10


def planner(folder: Path, memory: str = "1GiB", device: str = "cpu", **choices: Any) -> Planner:
    """A planner; of another device than the processor as if that were there."""
    chosen = {"model": folder, "memory": memory, "num_inference_steps": 4, "device": "cpu"}
    own = Planner.of(compose({**chosen, **choices}, installed()))
    return replace(own, place=replace(own.place, device=torch.device(device)))


def ways(own: Planner, images: int = 1) -> list[Candidate]:
    plan = own.example(images)
    return own.ways(own.walked(plan), plan)


def made(own: Planner, images: int = 1) -> MemoryPlan:
    return own.made(own.example(images))


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GiB", 8 * 2**30), ("6000 MiB", 6000 * 2**20), ("1.5GB", 1_500_000_000), ("auto", None)],
)
def test_sizes_are_read(text: str, size: int | None) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["8", "8G", "GiB", "0GiB", "-1GiB", "8GiB!", "much"])
def test_what_is_no_size_is_refused(text: str, folder: Path) -> None:
    with pytest.raises(LdmError, match="8GiB, 6000MiB or auto"):
        compose({"model": folder, "memory": text}, installed())


def test_what_lives_is_counted() -> None:
    """Four numbers by hand: 4 KiB each, of which three are alive at once at the most."""
    live = LiveBytes({}, Allocator())
    with live:
        a = torch.empty(1024, device="meta")
        b = a + 1
        c = a[:512]  # a view takes nothing
        del a
        b = b + 1
        assert live.live == 3 * 4 * KIB - 4 * KIB
        del b, c
    assert live.live == 0
    assert live.peaks[""].live == 3 * 4 * KIB


COUNTING = ("Chroma", "HiDream", "Lumina 2", "Z-Image")
"""Those whose networks or encoders look at numbers to know how much to compute."""
UNFORESEEN = "ACE-Step"
"""The one that sorts what it computes by numbers."""


def test_what_is_computed_by_numbers_is_refused(tmp_path: Path) -> None:
    own = planner(MORE_FOLDERS[UNFORESEEN].write(tmp_path / "model"))
    with pytest.raises(LdmError, match=r"the memory of this run cannot be foreseen: .*bincount"):
        own.walked(own.example(1))


STARTS = (
    ("Stable Diffusion", "image_latents"),
    ("LTX-Video", "image_latents"),
    ("LTX-Video", "video"),
    ("Stable Audio", "audio"),
)


@pytest.mark.parametrize(("name", "start"), STARTS)
def test_what_a_run_starts_from_is_foreseen(name: str, start: str, tmp_path: Path) -> None:
    """A clip, a sound and latents are no picture of the size that is made."""
    kind = {**FOLDERS, **MORE_FOLDERS}[name]
    folder = kind.write(tmp_path / "model")
    plain = planner(folder)
    own = planner(folder, conditioning=[*plain.composition.recipe["conditioning"], start])
    plan = own.example(1, kind.size)
    assert own.walked(plan).weights == plain.walked(plain.example(1, kind.size)).weights


@pytest.mark.parametrize(
    "name", [*one_of_each(), *quick_among([n for n in MORE_FOLDERS if n != UNFORESEEN], COUNTING)]
)
def test_every_family_is_walked(name: str, tmp_path: Path) -> None:
    """No plan expects less than its weights, whose sizes are those of the files and of the buffers
    that lie in none."""
    kind = {**FOLDERS, **MORE_FOLDERS}[name]
    folder = kind.write(tmp_path / "model")
    own = planner(folder)
    plan = own.example(1, kind.size)
    walk = own.walked(plan)
    loaded = Pipeline.from_pretrained(folder).model.components
    heads = 60 * KIB  # of files, and layers that another file adds
    for part, size in walk.weights.items():
        files = sum(file.stat().st_size for file in (folder / part).glob("*.safetensors"))
        computed = dict(loaded[part].named_buffers()).keys() - loaded[part].state_dict().keys()
        buffers = sum(loaded[part].get_buffer(name).nbytes for name in computed)
        assert abs(files + buffers - size) < heads, part
    assert sum(walk.weights.values()) > 0
    for way in own.ways(walk, plan):
        stay = [part for part, kind in way.placements.items() if kind == "whole"]
        assert way.peak > sum(walk.weights[part] for part in stay)


@pytest.mark.parametrize("kind", ["Stable Diffusion", "Flux dev"])
def test_tiles_of_one_shape_are_walked_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what they take is, to the byte, what walking every one of them finds."""
    own = planner(FOLDERS[kind].write(tmp_path / "model"))
    plan = own.example(1, {"height": 64, "width": 64})
    walked: list[int] = []
    forward = diffusers.models.autoencoders.vae.Decoder.forward

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        walked.append(len(args))
        return forward(self, *args, **options)

    monkeypatch.setattr(diffusers.models.autoencoders.vae.Decoder, "forward", counted)
    quick, few = own.walked(plan), len(walked)
    monkeypatch.setattr(shape_walk, "walked_once", lambda modules, live: nullcontext())
    each, every = own.walked(plan), len(walked) - few
    assert quick.decoding == each.decoding
    assert few * 3 < every


def test_tiles_that_do_not_fit_the_model_are_no_way_of_decoding(tmp_path: Path) -> None:
    """A quarter of two latents is no whole number of them."""
    own = planner(MORE_FOLDERS["Lumina 2"].write(tmp_path / "model"))
    assert {way.decoding for way in ways(own, 2)} == {"", "vae_slicing"}
    assert made(own).chosen.lossless


def test_a_larger_budget_is_never_slower(folder: Path) -> None:
    own = planner(folder, device="cuda")
    batch = own.example(2)
    walk = own.walked(batch)
    all_ways = own.ways(walk, batch)
    sizes = sorted({way.peak for way in all_ways})
    plans = [
        replace_memory(own, size).made(batch, walk=walk) for size in sizes[:: len(sizes) // 12]
    ]
    costs = [(not plan.chosen.lossless, plan.chosen.cost) for plan in plans]
    assert costs == sorted(costs, reverse=True)
    assert len({*costs}) > 3
    for plan in plans:
        assert plan.chosen.peak <= plan.budget
    kinds = {kind for way in all_ways for kind in way.placements.values()}
    assert kinds == {"whole", "model_offload", "group_offload", "sequential_offload"}


def replace_memory(own: Planner, size: int) -> Planner:
    composition = own.composition
    recipe = {**composition.recipe, "memory": f"{size}B"}
    return replace(own, composition=replace(composition, recipe=recipe))


def test_pictures_change_only_where_nothing_lossless_fits(folder: Path) -> None:
    lossless = [way for way in ways(planner(folder), 2) if way.lossless]
    least = min(way.peak for way in lossless)
    assert made(planner(folder, f"{least}B"), 2).chosen.lossless


@pytest.mark.parametrize("images", [1, 6])
def test_what_a_refusal_names_fits(folder: Path, images: int) -> None:
    own = planner(folder)
    least = min(way.peak for way in ways(own, images))
    with pytest.raises(LdmError) as refused:
        made(planner(folder, f"{least - 1}B"), images)
    hint = refused.value.hint
    budget = hint.partition("--memory ")[2].partition(" ")[0]
    assert made(planner(folder, budget), images).budget >= least
    batch = int(hint.partition("a batch_size of ")[2].partition(";")[0] or 0)
    assert (batch > 0) == (images > 1)
    if batch:
        made(planner(folder, f"{least - 1}B"), batch)


def test_nothing_of_the_weights_is_read(folder: Path, tmp_path: Path) -> None:
    """Numbers that no reader would take make no difference to a plan."""
    spoilt = Path(shutil.copytree(folder, tmp_path / "model"))
    for file in spoilt.rglob("*.safetensors"):
        data = bytearray(file.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        data[start:] = b"\xff" * (len(data) - start)  # not finite
        file.write_bytes(data)
    sound, other = made(planner(folder)), made(planner(spoilt))
    assert (other.chosen, other.walk.weights) == (sound.chosen, sound.walk.weights)
    with pytest.raises(LdmError, match="not finite"):
        Pipeline.from_pretrained(spoilt, memory="1GiB", device="cpu")


def test_pictures_are_the_same_and_their_manifest_says_nothing_of_this_machine(
    folder: Path, pipe: Pipeline
) -> None:
    own = planner(folder)
    least = min(way.peak for way in ways(own) if way.lossless)
    small = Pipeline.from_pretrained(
        folder, num_inference_steps=4, memory=f"{least}B", device="cpu"
    )
    assert small.fitting is not None
    assert small.fitting.plan is not None
    assert "disk" in small.fitting.plan.chosen.words
    out, plain = small("a star", seed=3), pipe("a star", seed=3)
    assert np.array_equal(np.asarray(out.images[0]), np.asarray(plain.images[0]))
    assert out.manifests[0]["recipe"].keys() == {*plain.manifests[0]["recipe"], "device"}
    with pytest.raises(LdmError, match=r"8 images at once .* would take at least"):
        small(["a star"] * 8, seed=3)


def test_weights_are_placed_anew_for_a_larger_call(folder: Path, pipe: Pipeline) -> None:
    """By a plan that fits all calls until then."""
    own = planner(folder)
    single, pair = (
        {way.words: way.peak for way in ways(own, images) if way.lossless} for images in (1, 2)
    )
    budget = max(single["whole"], min(pair.values()))
    assert budget < pair["whole"]
    small = Pipeline.from_pretrained(
        folder, num_inference_steps=4, memory=f"{budget}B", device="cpu"
    )
    other = small.replace(scheduler="euler")
    assert small.fitting is not None
    placements, models = [], []
    for images in (1, 2, 1):
        out, plain = (p(["a star"] * images, seed=3) for p in (small, pipe))
        for image, expected in zip(out.images, plain.images, strict=True):
            assert np.array_equal(np.asarray(image), np.asarray(expected))
        assert small.fitting.plan is not None
        placements.append(small.fitting.plan.chosen.words)
        models.append(small.model)
    assert placements[0] == "whole"
    assert "disk" in placements[1]
    assert placements[2] == placements[1]
    assert models[1] is models[2] is other.model is not models[0]


def test_a_placement_beside_a_plan_is_refused(folder: Path) -> None:
    with pytest.raises(LdmError, match="leave one of them out"):
        compose({"model": folder, "memory": "auto", "converters": ["whole"]}, installed())


def test_memory_belongs_to_weights(folder: Path) -> None:
    pipe = Pipeline.from_pretrained(folder, memory="1GiB", device="cpu")
    with pytest.raises(LdmError, match="'memory' belongs to the weights"):
        pipe.replace(memory="2GiB")


def test_explain_prints_the_plan(ldm: Any, folder: Path) -> None:
    code, out, _ = ldm("explain", "--model", folder, "--memory", "1GiB", "--device", "cpu")
    assert code == 0
    assert "expected peak" in out
    assert "chosen" in out
    code, out, _ = ldm(
        "explain", "--model", folder, "--memory", "auto", "--device", "cpu", "--json",
        "--batch-size", "2",
    )  # fmt: skip
    report = json.loads(out)["memory"]
    assert (code, report["free_on_device"], report["images"]) == (0, True, 2)
    assert report["expected_peak"] > sum(report["weights"].values())
    code, _, err = ldm("explain", "--model", folder, "--memory", "1KiB", "--device", "cpu")
    assert code == 2
    assert "what would fit: " in err
