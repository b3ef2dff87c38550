"""Latent diffusion from text, before Stable Diffusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.scheduler_config import read_scheduler
from ldm_plugins.families.shared.tokens import overflow, spans, tokenize

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class LatentDiffusionText(DiffusersFolder):
    """Text-to-image with a UNet and a text encoder trained along with it (Rombach et al. 2022,
    arXiv:2112.10752, Section 4.3.1): folders whose model_index.json says LDMTextToImagePipeline."""

    pipelines = ("LDMTextToImagePipeline",)
    components: ClassVar = {
        "unet": Component(("UNet2DConditionModel",), "network"),
        "vqvae": Component(("VQModel", "AutoencoderKL"), "autoencoder"),
        "bert": Component(("LDMBertModel",), "text"),
        "tokenizer": Component(("BertTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        unet = folder.config("unet")
        channels = unet.get("in_channels", 4)
        folder.check_channels(channels)
        folder.check_width(
            unet.get("cross_attention_dim", 1280), folder.config("bert").get("d_model", 1280)
        )
        return folder.info(
            "latent_diffusion_text",
            read_scheduler(folder.scheduler),
            channels=channels,
            sample=sample_size(unet, 32),
            steps=50,
            guidance={"name": "classifier_free", "scale": 1.0},
            abilities=["text"],
            needs=frozenset({"text"}),
            conditioning=["text"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        unet = parts["unet"]
        device, dtype = unet.device, unet.dtype

        def network(call: Call) -> Tensor:
            states = call.condition["text"].to(device, dtype)
            output: Tensor = unet.module(
                call.x.to(device, dtype), call.t.to(device), states, return_dict=False
            )[0]
            return output.to(call.x.device, torch.float32)

        text = BertText(parts["bert"], parts["tokenizer"].module, device)
        return Model(info, network, {"text": text}, parts, place)


class BertText(TextAbility):
    """The text encoder's states as the network's condition, key ``text``; padding is read too.

    Args:
        device: where the condition goes.
    """

    joins_windows = True
    any_length = frozenset({"text"})

    def __init__(self, encoder: Part, tokenizer: Any, device: torch.device) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._window: int = encoder.module.config.max_position_embeddings
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) hidden states."""
        tokens = tokenize(self._tokenizer, texts, self._window, self._encoder.device)
        states = self._encoder.module(tokens.input_ids, return_dict=False)[0]
        return {"text": states.to(self._device)}

    def overflow(self, text: str) -> str:
        return overflow(self._tokenizer, text, self._window)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        return {"text": spans(self._tokenizer, text, self._window)}
