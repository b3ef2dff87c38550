"""Stable Diffusion 1.x and 2.x."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, Model, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.models import check_weights, read_json
from ldm_core.point import Point
from ldm_plugins.families.scheduler_config import (
    read_defaults,
    read_prediction_type,
    read_schedule,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CLASSES = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
}

# StableDiffusionPipeline overrules these two in every scheduler config, as errors of old folders.
OVERRULED = {"steps_offset": 1, "clip_sample": False}


class StableDiffusion:
    """Text-to-image with a UNet in the latent space of a KL-autoencoder (Rombach et al. 2022,
    arXiv:2112.10752): folders whose model_index.json says StableDiffusionPipeline."""

    def matches(self, index: Mapping[str, Any]) -> bool:
        return index.get("_class_name") == "StableDiffusionPipeline"

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        for component, expected in CLASSES.items():
            entry = index.get(component)
            found = entry[1] if isinstance(entry, list) and len(entry) == 2 else entry
            if found not in (expected, f"{expected}Fast"):
                raise LdmError(
                    f"'{source}': {component} should be a {expected} in model_index.json, "
                    f"not {found}."
                )
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
        check_weights(folder, ("unet", "vae", "text_encoder"))
        factor = 2 ** (len(vae.get("block_out_channels", [64])) - 1)
        sample = unet.get("sample_size") or 64
        height, width = sample if isinstance(sample, list) else (sample, sample)
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

    def load(self, info: ModelInfo, device: torch.device, dtype: torch.dtype) -> Model:
        import torch
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizerFast

        def read(cls: Any, component: str, **options: Any) -> Any:
            part = info.folder / component
            if not any(part.glob("*model.safetensors*")) and any(part.glob("*.fp16.safetensors*")):
                options["variant"] = "fp16"
            options |= {"use_safetensors": True, "local_files_only": True}
            return cls.from_pretrained(part, **options).to(device).eval().requires_grad_(False)

        unet = read(UNet2DConditionModel, "unet", torch_dtype=dtype)
        vae = read(AutoencoderKL, "vae", torch_dtype=dtype)
        text_encoder = read(CLIPTextModel, "text_encoder", dtype=dtype)
        tokenizer = CLIPTokenizerFast.from_pretrained(
            info.folder / "tokenizer", local_files_only=True
        )

        def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
            t = torch.full((len(x),), point.t, device=x.device)
            states = condition["text"]
            output: Tensor = unet(x.to(dtype), t, states, return_dict=False)[0]
            return output.float()

        return Model(
            info=info,
            network=network,
            abilities={"text": ClipText(text_encoder, tokenizer)},
            components={
                "unet": unet,
                "vae": vae,
                "text_encoder": text_encoder,
                "tokenizer": tokenizer,
            },
            device=device,
        )


class ClipText:
    """CLIP's last hidden states as the network's condition, key ``text``."""

    def __init__(self, text_encoder: Any, tokenizer: Any) -> None:
        self._encoder = text_encoder
        self._tokenizer = tokenizer
        self._uses_mask = bool(getattr(text_encoder.config, "use_attention_mask", False))

    def encode(self, texts: Sequence[str]) -> Condition:
        """(texts, window, width) hidden states."""
        tokens = self._tokenizer(
            list(texts),
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
