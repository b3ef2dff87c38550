"""Stable Diffusion 1.x and 2.x."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Condition, Model, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.models import read_json
from ldm_core.point import Point
from ldm_plugins.families.diffusers_folder import (
    DiffusersFolder,
    autoencoder_factor,
    latent_size,
)
from ldm_plugins.families.scheduler_config import (
    read_defaults,
    read_prediction_type,
    read_schedule,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# StableDiffusionPipeline overrules these two in every scheduler config, as errors of old folders.
OVERRULED = {"steps_offset": 1, "clip_sample": False}


class StableDiffusion(DiffusersFolder):
    """Text-to-image with a UNet in the latent space of a KL-autoencoder (Rombach et al. 2022,
    arXiv:2112.10752): folders whose model_index.json says StableDiffusionPipeline."""

    pipelines = ("StableDiffusionPipeline",)
    components: ClassVar = {
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("CLIPTextModel",),
        "tokenizer": ("CLIPTokenizer",),
    }

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        unet = read_json(folder / "unet" / "config.json")
        vae = read_json(folder / "vae" / "config.json")
        text_encoder = read_json(folder / "text_encoder" / "config.json")
        read_json(folder / "tokenizer" / "tokenizer_config.json")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        channels = unet.get("in_channels", 4)
        if channels != vae.get("latent_channels", 4):
            raise LdmError(
                f"'{source}': the network takes {channels} channels and the autoencoder gives "
                f"{vae.get('latent_channels', 4)}; only plain text-to-image models are known."
            )
        width, hidden = unet.get("cross_attention_dim", 1280), text_encoder.get("hidden_size", 512)
        if width != hidden:
            raise LdmError(
                f"'{source}': the network takes text states of width {width}, and the text "
                f"encoder gives {hidden}."
            )
        self.check(source, folder, index)
        factor = autoencoder_factor(vae)
        width, height = latent_size(unet, 64)
        return ModelInfo(
            family="stable_diffusion",
            source=source,
            folder=folder,
            noise_schedule=read_schedule(scheduler),
            prediction_type=read_prediction_type(scheduler),
            latent_channels=channels,
            scale_factor=factor,
            default_size=(width * factor, height * factor),
            abilities=frozenset({"text"}),
            defaults={
                "num_inference_steps": 50,
                "guidance": {"name": "classifier_free", "scale": 7.5},
                "conditioning": ["text"],
                "attention": "native",
                "encoder": "autoencoder_kl",
                "decoder": "autoencoder_kl",
                **read_defaults({**scheduler, **OVERRULED}),
            },
        )

    def build(
        self,
        info: ModelInfo,
        components: Mapping[str, Any],
        device: torch.device,
        dtype: torch.dtype,
    ) -> Model:
        import torch

        unet = components["unet"]

        def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
            t = torch.full((len(x),), point.t, device=x.device)
            states = condition["text"].to(dtype)
            output: Tensor = unet(x.to(dtype), t, states, return_dict=False)[0]
            return output.float()

        text = ClipText(components["text_encoder"], components["tokenizer"])
        return Model(info, network, {"text": text}, components, device)


class ClipText:
    """CLIP's last hidden states as the network's condition, key ``text``."""

    def __init__(self, text_encoder: Any, tokenizer: Any) -> None:
        self._encoder = text_encoder
        self._tokenizer = tokenizer
        self._uses_mask = bool(getattr(text_encoder.config, "use_attention_mask", False))

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) hidden states."""
        tokens = self._tokenizer(
            [text or "" for text in texts],
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).to(self._encoder.device)
        mask = tokens.attention_mask if self._uses_mask else None
        return {"text": self._encoder(tokens.input_ids, attention_mask=mask)[0]}

    def overflow(self, text: str) -> str:
        tokens = self._tokenizer(text, truncation=False, verbose=False, return_offsets_mapping=True)
        window = self._tokenizer.model_max_length
        if len(tokens.input_ids) <= window:
            return ""
        # The window's last place is for the end token. A word that is cut is lost as a whole.
        start = tokens.offset_mapping[window - 1][0]
        return text[text.rfind(" ", 0, start + 1) + 1 :]
