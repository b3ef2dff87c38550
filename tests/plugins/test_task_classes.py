"""Folders saved from a class of another task, and guidance scales below 1, as in Diffusers."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import tiny
from ldm_core import Pipeline
from ldm_core.errors import LdmWarning
from ldm_plugins.families.flux import SCALES as FLUX
from ldm_plugins.families.stable_diffusion import STEPS_AND_SCALE
from ldm_plugins.families.stable_diffusion_3 import STEPS
from ldm_plugins.families.stable_diffusion_xl import SCALES
from peers import apart

DEFAULTS: dict[str, dict[str, float]] = {
    **{n: {"num_inference_steps": s, "guidance_scale": g} for n, (s, g) in STEPS_AND_SCALE.items()},
    **{name: {"num_inference_steps": steps} for name, steps in STEPS.items()},
    **{name: {"guidance_scale": scale} for name, scale in {**SCALES, **FLUX}.items()},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_each_class_has_the_defaults_that_diffusers_gives_it(name: str) -> None:
    call = inspect.signature(getattr(diffusers, name).__call__).parameters
    assert {key: call[key].default for key in DEFAULTS[name]} == DEFAULTS[name]


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_a_scale_below_one_is_none(scale: float, folder: Path) -> None:
    theirs: Any = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}
    draws = [torch.Generator().manual_seed(1)]
    expected = theirs("a red star", generator=draws, guidance_scale=scale, **call).images
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        pipe = Pipeline.from_pretrained(folder)
        found = pipe("a red star", seed=1, guidance_scale=scale, **call).images
    assert apart(found, expected) < 1e-5
    said = [w for w in heard if issubclass(w.category, LdmWarning) and "below 1" in str(w.message)]
    assert bool(said) is (scale == 0.5)


@pytest.mark.parametrize("name", ["cfg_zero_star", "adaptive_projected", "classifier_free"])
def test_so_it_is_in_every_guidance_by_a_negative_branch(name: str, pipe: Pipeline) -> None:
    options = {"name": name, **({"zero_init_steps": 0} if name == "cfg_zero_star" else {})}
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent"}
    nought, plain = (
        pipe.replace(guidance=guidance)("a red star", **call).images
        for guidance in ({**options, "scale": 0}, "none")
    )
    assert torch.equal(nought, plain)


def test_a_model_without_guidance_takes_the_scale_that_its_card_says(tmp_path: Path) -> None:
    pipe = Pipeline.from_pretrained(tiny.write_flux(tmp_path, guided=False))
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 1, "output_type": "latent"}
    call |= {"width": 64, "height": 64}
    found = pipe("a red star", guidance_scale=0.0, **call).images
    assert torch.equal(found, pipe("a red star", **call).images)
    with pytest.raises(ValueError, match="has no strength"):
        pipe("a red star", guidance_scale=3.5, **call)
