"""What the JSON files of LTX-2's folders say of the latents, the text and the guidance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.contracts.latents import Axis
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.ltx_latents import ratios
from ldm_plugins.shared.video_and_sound import VideoAndSound

RATE = 24.0  # frames a second; the folder does not say it
SHRINKS = 4  # the autoencoder of sound, along time and along the spectrum
PERTURBED = 28
"""The block in which Diffusers' pipelines perturb self-attention where nothing is chosen."""


def video_and_sound(folder: Folder, transformer: Mapping[str, Any]) -> VideoAndSound:
    """The latents of a video, with those of its sound beside them."""
    frames, side = ratios(folder.autoencoder, levels=(True, True, True, True))
    sound = folder.config("audio_vae")
    hop = sound.get("mel_hop_length", 160) * SHRINKS
    return VideoAndSound(
        transformer.get("in_channels", 128),
        (Axis("frames", frames, causal=True), Axis("height", side), Axis("width", side)),
        sound_channels=sound.get("latent_channels", 8),
        sound_bins=(sound.get("mel_bins") or 64) // SHRINKS,
        rate=RATE,
        sound_rate=sound.get("sample_rate", 16000) / hop,
    )


def check_sound(folder: Folder, transformer: Mapping[str, Any], space: VideoAndSound) -> None:
    """See that network, autoencoder and vocoder of the sound fit each other, and that a token is
    one place.

    Raises:
        LdmError: they do not, or it is not.
    """
    sound, vocoder = folder.config("audio_vae"), folder.config("vocoder")
    width = space.sound_channels * space.sound_bins
    takes = transformer.get("audio_in_channels", 128)
    if takes != width or sound.get("base_channels", 128) != width:
        raise folder.error(
            f"the network takes {takes} numbers a place of the sound, whose autoencoder gives "
            f"{space.sound_channels} channels of {space.sound_bins} bins, {width}, and normalises "
            f"{sound.get('base_channels', 128)}."
        )
    for key, own in (("in_channels", "out_channels"), ("audio_in_channels", "audio_out_channels")):
        ins, outs = transformer.get(key, 128), transformer.get(own, 128)
        if outs not in (None, ins):
            raise folder.error(f"the network's {key} is {ins}, and its {own} {outs}.")
    for key in ("patch_size", "patch_size_t", "audio_patch_size", "audio_patch_size_t"):
        if transformer.get(key, 1) != 1:
            raise folder.error(
                f"the network's {key} is {transformer[key]}; only networks with a token for each "
                "place of the latents, a patch of 1, are known."
            )
    bins = sound.get("output_channels", 2) * (sound.get("mel_bins") or 64)
    if vocoder.get("in_channels", 128) != bins:
        raise folder.error(
            f"the vocoder takes {vocoder.get('in_channels', 128)} numbers at a time, and the "
            f"autoencoder of sound gives {bins}."
        )


def check_text(folder: Folder, transformer: Mapping[str, Any]) -> None:
    """See that text encoder, connectors and network fit each other.

    Raises:
        LdmError: they do not.
    """
    connectors, config = folder.config("connectors"), folder.config("text_encoder")
    text = config.get("text_config") or {}
    takes = connectors.get("caption_channels", 3840)
    gives = text.get("hidden_size", 2304)
    layers = connectors.get("text_proj_in_factor", 49)
    if takes != gives or layers != text.get("num_hidden_layers", 26) + 1:
        raise folder.error(
            f"the connectors take {layers} states of width {takes}, and Gemma gives "
            f"{text.get('num_hidden_layers', 26) + 1} of width {gives}."
        )
    if transformer.get("use_prompt_embeddings", True) is False:
        return
    if transformer.get("caption_channels", 3840) != takes:
        raise folder.error(
            f"the network takes text states of width {transformer.get('caption_channels', 3840)}, "
            f"and the connectors give {takes}."
        )


def guidance_of(transformer: Mapping[str, Any]) -> dict[str, Any]:
    """The guidance of Diffusers' pipelines where nothing is chosen: its perturbed branch counts in
    networks alone that can perturb their self-attention and have the block."""
    perturbs = transformer.get("perturbed_attn", False)
    has_it = transformer.get("num_layers", 48) > PERTURBED
    return {
        "name": "multimodal",
        "scale": 3.0,
        "audio_scale": 7.0,
        "modality_scale": 3.0,
        "rescale": 0.7,
        **({"layers": [PERTURBED], "stg_scale": 1.0} if perturbs and has_it else {}),
    }
