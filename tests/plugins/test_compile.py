"""The converter compile: the same latents, one program for a size, undone afterwards."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from counting import NAME, called, counted
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmWarning
from ldm_core.model.modules import shallow_copy
from ldm_core.plugins.registry import installed
from peers import apart
from tiny.covering import some_of

CALL: dict[str, Any] = {"seed": [3, 4], "num_inference_steps": 2, "output_type": "latent"}
TEXT: dict[str, Any] = {"prompt": ["a red star", "a blue circle"]}
COUNTED = {"name": "compile", "backend": NAME}


def latents(pipe: Pipeline, **call: Any) -> Tensor:
    images: Tensor = pipe(**{**CALL, **call}).images
    return images


@pytest.mark.parametrize("name", some_of(tiny.FOLDERS, 2, 6))
def test_every_family_draws_the_same_and_is_left_as_it_was(name: str, tmp_path: Path) -> None:
    kind = tiny.FOLDERS[name]
    pipe = Pipeline.from_pretrained(kind.write(tmp_path / "model"))
    inputs = kind.inputs_in(tmp_path / "model")
    before = latents(pipe, **inputs)
    module: Any = pipe.model.part("network").module  # type: ignore[union-attr]
    classes = [type(own) for own in module.modules()]
    with counted() as graphs:
        compiled = pipe.replace(converters=[COUNTED])
        assert apart(latents(compiled, **inputs), before) < 1e-6
        assert graphs
    assert [type(own) for own in module.modules()] == classes
    own: Any = compiled.model.part("network").module  # type: ignore[union-attr]
    assert all(a is b for a, b in zip(own.parameters(), module.parameters(), strict=True))
    assert latents(compiled.replace(converters=[]), **inputs).equal(before)


@pytest.mark.parametrize("regional", [True, False])
def test_nothing_is_compiled_again_where_a_run_changes(pipe: Pipeline, regional: bool) -> None:
    with counted() as graphs:
        compiled = pipe.replace(converters=[{**COUNTED, "regional": regional}])
        latents(compiled, **TEXT)
        first = len(graphs)
        assert first == 1 or regional
        for scheduler in ("euler", "unipc", "heun", "ddpm"):
            for steps, scale in ((3, 2.0), (5, 7.5)):
                other = compiled.replace(scheduler=scheduler, guidance={"scale": scale})
                latents(other, prompt=["a dog", ""], num_inference_steps=steps)
        assert len(graphs) == first


def test_sizes_are_programs_of_their_own_but_on_request(pipe: Pipeline) -> None:
    """Of the network's blocks; of equal sides torch makes another program than of others."""
    sizes = ((16, 16), (32, 16), (32, 48))
    counts: dict[bool, list[int]] = {}
    for dynamic in (False, True):
        with counted() as graphs:
            compiled = pipe.replace(converters=[{**COUNTED, "dynamic": dynamic}])
            counts[dynamic] = []
            for width, height in sizes:
                size = {"width": width, "height": height}
                assert (
                    apart(latents(compiled, **size, **TEXT), latents(pipe, **size, **TEXT)) < 1e-6
                )
                counts[dynamic].append(len(graphs))
    assert counts[False] == [counts[False][0] * n for n in (1, 2, 3)]
    assert counts[True][1] == counts[True][-1]


def test_the_kernel_in_force_is_in_the_program(pipe: Pipeline) -> None:
    """Pipelines that share compiled weights and differ in their kernel get each their own."""

    def zero(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        return torch.zeros_like(q)

    def double(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        return 2 * torch.nn.functional.softmax(q @ k.mT * scale, dim=-1) @ v

    with counted() as graphs:
        compiled = pipe.replace(converters=[COUNTED])
        for kernel in ("native", zero, double, "chunked", zero, "native"):
            there = compiled.replace(attention=kernel)
            assert there.model is compiled.model
            expected = latents(pipe.replace(attention=kernel), **TEXT)
            assert apart(latents(there, **TEXT), expected) < 1e-6
        own = [called(graph) for graph in graphs]
    assert any("scaled_dot_product_attention" in names for names in own)
    assert any("zeros_like" in names for names in own)
    assert any("softmax" in names and "zeros_like" not in names for names in own)


def test_two_threads_draw_what_one_does(pipe: Pipeline) -> None:
    compiled = pipe.replace(converters=[COUNTED])
    calls = [{"prompt": "a red star", "seed": 1}, {"prompt": "a dog", "seed": 2}] * 2
    with counted(), ThreadPoolExecutor(2) as threads:
        drawn = list(threads.map(lambda call: latents(compiled, **call), calls))
    for call, images in zip(calls, drawn, strict=True):
        assert apart(images, latents(pipe, **call)) < 1e-6


@pytest.mark.parametrize("other", ["vae_slicing", "whole"])
def test_it_stands_beside_others(pipe: Pipeline, other: str) -> None:
    with counted() as graphs:
        both = pipe.replace(converters=[other, COUNTED])
        assert apart(latents(both, **TEXT), latents(pipe, **TEXT)) < 1e-6
        assert graphs


def test_a_copy_is_compiled_but_where_guidance_altered_its_layers(pipe: Pipeline) -> None:
    with counted() as graphs:
        compiled = pipe.replace(converters=[COUNTED])
        latents(compiled, **TEXT)
        whole = len(graphs)
        module: Any = compiled.model.part("network")
        module = shallow_copy(module.module)
        assert [type(own) for own in module.modules()] == [
            type(own)
            for own in compiled.model.part("network").module.modules()  # type: ignore[union-attr]
        ]
        guided = compiled.replace(guidance="perturbed_attention")
        expected = latents(pipe.replace(guidance="perturbed_attention"), **TEXT)
        with pytest.warns(LdmWarning, match="runs as it is, not compiled"):
            assert apart(latents(guided, **TEXT), expected) < 1e-6
        assert len(graphs) >= whole > 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"backend": "inductr"}, "no backend 'inductr'.*inductor"),
        ({"backend": "eager", "mode": "max-autotune"}, "a mode is one of inductor"),
    ],
)
def test_what_is_wrong_is_refused_before_weights(
    folder: Path, options: dict[str, Any], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ldm_plugins.families.stable_diffusion.StableDiffusion.load", None)
    with pytest.raises(LdmError, match=match):
        Pipeline.from_pretrained(folder, converters=[{"name": "compile", **options}])


def test_without_a_compiler_it_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    composition = compose(
        {"model": str(folder), "converters": ["compile"], "device": "cpu"}, installed()
    )
    with pytest.raises(LdmError, match="finds no compiler"):
        composition.converters[0].prepare(composition.info)


def test_a_network_without_repeated_blocks_has_no_regions(tmp_path: Path) -> None:
    folder = tiny.FOLDERS["DDPM"].write(tmp_path / "model")
    with pytest.raises(LdmError, match="no repeated blocks"):
        Pipeline.from_pretrained(folder, converters=[{**COUNTED, "regional": True}])


def test_offloading_the_network_contradicts_it(folder: Path) -> None:
    with pytest.raises(LdmError, match="keeps the network's weights where they compute"):
        compose({"model": str(folder), "converters": ["compile", "model_offload"]}, installed())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_inductor_draws_the_same(pipe: Pipeline) -> None:
    compiled = pipe.replace(converters=["compile"])
    assert apart(latents(compiled, **TEXT), latents(pipe, **TEXT)) < 1e-5
