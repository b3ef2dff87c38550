"""An encoder or decoder that is for another kind of model is refused where its latents would be
used: before weights are read, where a folder says of which class its autoencoder is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from ldm_plugins.autoencoders import autoencoder_dc, autoencoder_kl_flux2, vq
from tiny.covering import one_of_each

PIXELS = torch.zeros(1, 3, 16, 16)
CODECS = [plugin.name for plugin in installed().of_kind("decoder")]
READS = {
    "autoencoder_dc": {"Sana"},
    "autoencoder_tiny": set[str](),  # of folders that have one in place of another
    "autoencoder_kl_flux2": {"FLUX.2 dev", "FLUX.2 klein"},
    "autoencoder_kl_frame": {
        *("Qwen-Image", "Qwen-Image-Edit", "Qwen-Image-Edit Plus", "Krea 2", "Krea 2 Turbo"),
    },
    "autoencoder_kl_by_frame": {"AnimateDiff", "Stable Video Diffusion"},
    "autoencoder_kl_video": {
        *("Wan 2.1", "Wan 2.1 from a frame", "Wan 2.2", "Wan 2.2 from a frame", "Wan 2.2 5B"),
        *(
            "CogVideoX",
            "CogVideoX from a frame",
            "CogVideoX 1.5",
            "HunyuanVideo",
            "LTX-Video",
            "LTX-Video from a frame",
        ),
    },
    "ltx_2": {"LTX-2"},
    "mel": {"AudioLDM 2"},
    "oobleck": {"Stable Audio", "ACE-Step"},
    "paella": {"Stable Cascade"},
    "pixels": {"DDPM"},
    "same": {"Stable Audio 3"},
    "super_resolution": {"unCLIP", "unCLIP of a picture"},
    "vq": {"LDM"},
}
"""The kinds of folder that each reads; ``autoencoder_kl`` reads all others."""
KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}


def test_every_one_is_here() -> None:
    assert {*CODECS} == {*READS, "autoencoder_kl"}
    assert {plugin.name for plugin in installed().of_kind("encoder")} == {*CODECS}


@pytest.mark.parametrize(
    "kind",
    [*one_of_each(), "FLUX.2 klein", "Qwen-Image", "Wan 2.1", "AnimateDiff", "LTX-2", "Sana"],
)
def test_those_of_other_autoencoders_are_refused_before_weights_are_read(
    kind: str, tmp_path: Path
) -> None:
    refuses(kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", tiny.MORE_FOLDERS)
def test_so_they_are_of_all_further_kinds(kind: str, tmp_path: Path) -> None:
    refuses(kind, tmp_path)


def refuses(kind: str, tmp_path: Path) -> None:
    folder = KINDS[kind].write(tmp_path / "model")
    for file in folder.rglob("*.safetensors"):  # which none of these looks into
        data = bytearray(file.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        data[start:] = b"\xff" * (len(data) - start)
        file.write_bytes(data)
    own = {name for name, kinds in READS.items() if kind in kinds} or {"autoencoder_kl"}
    taken, reasons = [], []
    for name in CODECS:
        for half in ("encoder", "decoder"):
            try:
                compose({"model": str(folder), half: name}, installed())
            except LdmError as refusal:
                reasons.append(refusal.message)
            else:
                taken.append((name, half))
    assert all(re.search("'.*' is (not )?for |has no autoencoder", why) for why in reasons)
    assert {name for name, _ in taken} == own
    assert len(taken) == 2 * len(own)


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


@pytest.mark.parametrize("codec", [vq, autoencoder_dc, autoencoder_kl_flux2])
def test_a_model_that_says_nothing_of_its_parts_is_looked_at_when_it_is_used(
    pipe: Pipeline, codec: Any
) -> None:
    model = dataclasses.replace(pipe.model, info=dataclasses.replace(pipe.model.info, parts=()))
    with pytest.raises(LdmError, match=f"'{codec.NAME}' is not for .* the class AutoencoderKL"):
        codec.decode(model, torch.zeros(1, 4, 8, 8))


def test_a_kl_encoder_is_not_for_codes(tmp_path: Path) -> None:
    folder = tiny.write_latent_diffusion(tmp_path / "model")
    with pytest.raises(LdmError, match="'autoencoder_kl' is not for an autoencoder of the class"):
        Pipeline.from_pretrained(folder, encoder="autoencoder_kl")
