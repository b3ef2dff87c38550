"""The latent-diffusion family without text: Diffusers' own pictures from the same folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LDMPipeline

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import Decoded, apart


@pytest.fixture(scope="module")
def ldm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_latent_diffusion(tmp_path_factory.mktemp("models") / "ldm")


@pytest.mark.parametrize("scheduler", [{}, {"_class_name": "EulerDiscreteScheduler"}])
def test_nothing_chosen_gives_what_diffusers_gives(
    tmp_path: Path, scheduler: dict[str, Any]
) -> None:
    folder = tiny.write_latent_diffusion(tmp_path, scheduler)
    theirs = LDMPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    decoded = Decoded(theirs.vqvae)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    expected = theirs(2, generators, num_inference_steps=7, output_type="np").images
    ours = Pipeline.from_pretrained(folder)
    found = ours(seed=[3, 4], num_inference_steps=7, output_type="np").images
    assert apart(found, expected) < 1e-5
    latents = ours(seed=[3, 4], num_inference_steps=7, output_type="latent").images
    assert apart(latents, decoded.pop()) < 1e-5


def test_pictures_are_decoded_from_codes_of_the_codebook(ldm: Path) -> None:
    ours = Pipeline.from_pretrained(ldm)
    vq = ours.model.parts["vqvae"].module
    codes = vq.quantize.embedding.weight[torch.randint(32, (2, 4, 4))].permute(0, 3, 1, 2)
    exact = codes * vq.config.scaling_factor
    near = exact + 1e-3 * torch.randn_like(exact)
    torch.testing.assert_close(ours.decode(near), ours.decode(exact))
    expected = vq.decoder(vq.post_quant_conv(codes))
    torch.testing.assert_close(ours.decode(exact), expected)


def test_the_encoder_leaves_latents_between_the_codes(ldm: Path) -> None:
    ours = Pipeline.from_pretrained(ldm)
    vq = ours.model.parts["vqvae"].module
    pixels = torch.rand(2, 3, 16, 16)
    expected = vq.encode(pixels * 2 - 1).latents * vq.config.scaling_factor
    torch.testing.assert_close(ours.encode(pixels, seed=3), expected)


def test_a_class_is_told_to_the_network(tmp_path: Path) -> None:
    ours = Pipeline.from_pretrained(tiny.write_latent_diffusion(tmp_path, num_class_embeds=4))
    call: dict[str, Any] = {"seed": 3, "num_inference_steps": 2, "output_type": "latent"}
    first, second = (ours(class_label=n, **call).images for n in (0, 1))
    assert (first - second).norm() > 1e-3 * first.norm()
    both = ours(class_label=[0, 1], **{**call, "seed": [3, 3]}).images
    assert (both - torch.cat([first, second])).norm() < 1e-5 * both.norm()


def test_an_autoencoder_of_other_latents_is_refused(tmp_path: Path) -> None:
    folder = tiny.write_latent_diffusion(tmp_path)
    config = folder / "vqvae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "vq_embed_dim": 5}))
    with pytest.raises(LdmError, match="autoencoder's codes have 5"):
        compose({"model": str(folder)}, installed())
