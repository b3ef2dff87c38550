"""The latent-diffusion family with text: Diffusers' own pictures from the same folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LDMTextToImagePipeline

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from peers import Decoded, apart

PROMPTS = ["a red star", "a blue circle"]


@pytest.mark.parametrize("autoencoder", ["AutoencoderKL", "VQModel"])
def test_nothing_chosen_gives_what_diffusers_gives(tmp_path: Path, autoencoder: str) -> None:
    folder = tiny.write_latent_diffusion_text(tmp_path, autoencoder)
    theirs = LDMTextToImagePipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    ours = Pipeline.from_pretrained(folder)
    decoded = Decoded(theirs.vqvae)
    call: dict[str, Any] = {"num_inference_steps": 5, "output_type": "np"}
    for more in ({}, {"guidance_scale": 6.0}, {"width": 48, "height": 32}):
        generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
        expected = theirs(PROMPTS, generator=generators, **call, **more).images
        assert apart(ours(PROMPTS, seed=3, **call, **more).images, expected) < 1e-5
        latents = ours(PROMPTS, seed=3, **{**call, "output_type": "latent"}, **more).images
        assert apart(latents, decoded.pop()) < 1e-5


def test_the_codecs_are_diffusers_own(tmp_path: Path) -> None:
    ours = Pipeline.from_pretrained(tiny.write_latent_diffusion_text(tmp_path))
    vae = ours.model.parts["vqvae"].module
    latents = torch.randn(2, 4, 4, 4)
    torch.testing.assert_close(
        ours.decode(latents), vae.decode(latents / vae.config.scaling_factor).sample
    )


def test_words_beyond_the_window_are_said(tmp_path: Path) -> None:
    ours = Pipeline.from_pretrained(tiny.write_latent_diffusion_text(tmp_path))
    words = " ".join(["red"] * 75)
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 1, "output_type": "latent"}
    with pytest.warns(LdmWarning, match="'star blue' is left out"):
        longer = ours(f"{words} star blue", **call).images
    assert torch.equal(ours(words, **call).images, longer)


@pytest.mark.parametrize(
    ("component", "key", "message"),
    [("bert", "d_model", "text encoder gives 99"), ("vqvae", "latent_channels", "gives 99")],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, component: str, key: str, message: str
) -> None:
    folder = tiny.write_latent_diffusion_text(tmp_path)
    config = folder / component / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), key: 99}))
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())
