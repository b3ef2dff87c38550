"""An encoder that is for another kind of model is refused where its latents would be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny
from ldm_core import LdmError, Pipeline

PIXELS = torch.zeros(1, 3, 16, 16)


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        (
            lambda model, data, noise: data,
            r"gave \(1, 3, 16, 16\) .* latents should be of \(1, 4, 8, 8\)",
        ),
        ("pixels", "'pixels' is for models that work on pixels, and .* has an autoencoder"),
        ("vq", "'vq' is not for an autoencoder of the class AutoencoderKL"),
        (lambda model, data, noise: None, r"gave None for data of \(1, 3, 16, 16\)"),
    ],
)
def test_it_is_refused_by_what_it_gives(pipe: Pipeline, encoder: object, reason: str) -> None:
    with pytest.raises(LdmError, match=reason):
        pipe.replace(encoder=encoder).encode(PIXELS)


def test_so_is_one_in_a_run(tmp_path: Path) -> None:
    kind = tiny.FOLDERS["SD inpainting"]
    painting = Pipeline.from_pretrained(kind.write(tmp_path / "model"), encoder="pixels")
    inputs = {**kind.inputs_in(tmp_path), "prompt": "a red star"}
    with pytest.raises(LdmError, match="'pixels' is for models that work on pixels"):
        painting(**inputs, seed=1, num_inference_steps=1)


def test_so_is_the_decoder(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="'pixels' is for models that work on pixels"):
        pipe.replace(decoder="pixels")("a red star", seed=1, num_inference_steps=1)


def test_a_kl_encoder_is_not_for_codes(tmp_path: Path) -> None:
    pipe = Pipeline.from_pretrained(
        tiny.write_latent_diffusion(tmp_path / "model"), encoder="autoencoder_kl"
    )
    with pytest.raises(LdmError, match="'autoencoder_kl' is not for an autoencoder of the class"):
        pipe.encode(PIXELS)
