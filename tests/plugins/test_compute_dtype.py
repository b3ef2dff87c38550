"""Weights kept in half precision, on every family: the pictures are those of float32 arithmetic."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Step
from ldm_core.media.manifest import recipe_of
from ldm_core.model import place as placement
from ldm_core.plugins.registry import installed
from ldm_core.run.weights import Weights
from peers import apart, distance_to_peer, rounded
from tiny.covering import each_on_each

CALL: dict[str, Any] = {"seed": 3, "num_inference_steps": 3, "output_type": "latent"}


def modules(pipe: Pipeline) -> list[torch.nn.Module]:
    parts = [part.module for part in pipe.model.parts.values()]
    return [module for module in parts if isinstance(module, torch.nn.Module)]


def kept_bytes(pipe: Pipeline) -> int:
    weights = {w for part in modules(pipe) for w in part.parameters()}
    stored = [getattr(weight, "stored", weight) for weight in weights]
    return sum(tensor.numel() * tensor.itemsize for tensor in stored)


@pytest.mark.parametrize(("dtype", "kind"), each_on_each(["bfloat16", "float16"]))
def test_each_family_draws_as_in_float32_on_the_same_weights(
    tmp_path: Path, kind: str, dtype: str
) -> None:
    folder = tiny.FOLDERS[kind].write(tmp_path / "model")
    inputs = tiny.FOLDERS[kind].inputs_in(tmp_path)
    kept = Pipeline.from_pretrained(folder, dtype=dtype)
    exact = rounded(folder, dtype)
    found, expected = (pipe(**inputs, **CALL).images for pipe in (kept, exact))
    assert apart(found, expected) < 1e-5
    assert apart(kept.decode(found), exact.decode(found)) < 1e-5
    assert kept_bytes(kept) < 0.55 * kept_bytes(exact)


def test_what_diffusers_draws_with_these_weights_in_float32(folder: Path) -> None:
    kept = Pipeline.from_pretrained(folder, dtype="bfloat16")
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.bfloat16)
    assert distance_to_peer(kept, theirs.to(torch.float32)) < 1e-5


@pytest.mark.parametrize("compute_dtype", ["auto", "bfloat16"])
def test_latents_are_float32_whatever_the_network_computes_in(
    folder: Path, compute_dtype: str
) -> None:
    half = Pipeline.from_pretrained(folder, dtype="bfloat16", compute_dtype=compute_dtype)
    steps: list[Step] = []
    half("a red star", on_step=steps.append, **CALL)
    assert {s.x.dtype for s in steps} | {s.x0.dtype for s in steps} == {torch.float32}
    expected = torch.float32 if compute_dtype == "auto" else torch.bfloat16
    assert {part.dtype for part in modules(half)} == {expected}


def test_elsewhere_than_on_a_cpu_auto_is_the_type_of_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placement, "_device", torch.device)
    found = {
        device: placement.resolve({"device": device, "dtype": "bfloat16"}).compute_dtype
        for device in ("cpu", "cuda", "mps")
    }
    assert found == {"cpu": torch.float32, "cuda": torch.bfloat16, "mps": torch.bfloat16}


def test_a_manifest_says_what_auto_came_to(folder: Path, pipe: Pipeline) -> None:
    half = Pipeline.from_pretrained(folder, dtype="bfloat16")
    assert half("a red star", seed=1).manifests[0]["recipe"]["compute_dtype"] == "float32"
    on_a_gpu = replace(half.model, place=replace(half.model.place, compute_dtype=torch.bfloat16))
    weights = Weights.of(on_a_gpu)
    (manifest,) = replace(half, weights=weights)("a red star", seed=1).manifests
    again = Pipeline.from_pretrained(recipe=recipe_of(manifest))
    assert again.model.place.compute_dtype == torch.bfloat16
    assert "compute_dtype" not in pipe("a red star", seed=1).manifests[0]["recipe"]


def test_two_threads_share_the_weights(folder: Path) -> None:
    pipe = Pipeline.from_pretrained(folder, dtype="bfloat16")
    expected = [pipe("a red star", **{**CALL, "seed": seed}).images for seed in (1, 2)]
    turn = threading.Barrier(2, timeout=300)

    def wait(step: Step) -> None:
        turn.wait()

    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(pipe, "a red star", on_step=wait, **{**CALL, "seed": seed})
            for seed in (1, 2)
        ]
        found = [run.result().images for run in runs]
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"compute_dtype": "float12"}, "no compute_dtype named 'float12'.*auto, float32"),
        (
            {"dtype": "float32", "compute_dtype": "bfloat16"},
            "kept in float32 cannot be computed with in bfloat16",
        ),
        (
            {"dtype": "bfloat16", "compute_dtype": "float16"},
            "the compute_dtype is bfloat16 or float32, or auto",
        ),
    ],
)
def test_types_that_do_not_go_together_are_refused_before_weights_are_read(
    folder: Path, choices: dict[str, str], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder), **choices}, installed())


def test_the_models_own_dtype_counts_as_much_as_a_chosen_one(copied: Path) -> None:
    (copied / "ldm.toml").write_text('dtype = "bfloat16"\n')
    half = Pipeline.from_pretrained(copied, compute_dtype="bfloat16")
    assert {part.dtype for part in modules(half)} == {torch.bfloat16}
    with pytest.raises(LdmError, match="belongs to the weights"):
        half.replace(compute_dtype="float32")


def test_the_converter_may_be_named_where_it_acts_by_itself(folder: Path) -> None:
    once = Pipeline.from_pretrained(folder, dtype="bfloat16")
    twice = Pipeline.from_pretrained(folder, dtype="bfloat16", converters=["stored_weights"])
    assert torch.equal(twice("a red star", **CALL).images, once("a red star", **CALL).images)
    plain = Pipeline.from_pretrained(folder, converters=["stored_weights"])
    assert plain.model is plain.unconverted.model
    with pytest.raises(LdmError, match="computes in float32, and the compute_dtype is bfloat16"):
        compose(
            {
                "model": str(folder),
                "dtype": "bfloat16",
                "compute_dtype": "bfloat16",
                "converters": ["stored_weights"],
            },
            installed(),
        )


def test_it_leaves_a_model_that_computes_in_the_type_of_its_weights(folder: Path) -> None:
    """As ``auto`` does elsewhere than on a CPU, which only shows once the device is known."""
    low = Pipeline.from_pretrained(folder, dtype="bfloat16", compute_dtype="bfloat16").model
    converter = installed().find("converter", "stored_weights").loaded()
    assert converter.convert(low) is low
    kept = replace(low.place, compute_dtype=torch.float32)
    other = converter.convert(replace(low, place=kept))
    assert other.parts["unet"].dtype == torch.float32
    assert len(other.place.later) == 1


def test_the_model_as_it_was_read_is_left_as_it_was(folder: Path) -> None:
    """Parts, weights and types: another pipeline may be made of it."""
    half = Pipeline.from_pretrained(folder, dtype="bfloat16")
    for name, part in half.unconverted.model.parts.items():
        if isinstance(part.module, torch.nn.Module):
            assert {p.dtype for p in part.module.parameters()} == {torch.bfloat16}, name
            assert (part.dtype, half.model.parts[name].dtype) == (torch.bfloat16, torch.float32)
            own, shared = part.module.state_dict(), half.model.parts[name].module.state_dict()
            for key, weight in own.items():
                if weight.ndim > 1 and weight.is_floating_point():
                    stored = getattr(shared[key], "stored", None)
                    assert stored is not None, key
                    assert stored.data_ptr() == weight.data_ptr(), key
        else:
            assert half.model.parts[name] is part
