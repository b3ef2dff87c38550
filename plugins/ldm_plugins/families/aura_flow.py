"""AuraFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import TextAbility
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.t5_text import T5Text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SIZE = 1024  # of a square picture of the trained size; the folder does not say it
WINDOW = 256  # tokens


class AuraFlow(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer that reads a T5 of other words (fal 2024,
    https://blog.fal.ai/auraflow): folders of AuraFlowPipeline."""

    pipelines = ("AuraFlowPipeline",)
    components: ClassVar = {
        "transformer": Component(("AuraFlowTransformer2DModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("UMT5EncoderModel", "T5EncoderModel"), "text"),
        "tokenizer": Component(("LlamaTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels, patch = transformer.get("in_channels", 4), transformer.get("patch_size", 2)
        folder.check_channels(channels)
        width = folder.config("text_encoder").get("d_model", 512)
        folder.check_width(transformer.get("joint_attention_dim", 2048), width, "T5")
        most = patch * math.isqrt(transformer.get("pos_embed_max_size", 1024))
        side = min(SIZE // folder.factor, most)
        return folder.info(
            "aura_flow",
            read_flow_scheduler(folder.scheduler, patch=patch),
            channels=channels,
            sample=(side, side),
            patch=patch,
            most=most,
            steps=50,
            guidance={"name": "classifier_free", "scale": 3.5},
            abilities=["text", "max_sequence_length"],
            needs=frozenset({"text"}),
            conditioning=["text"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype

        def network(call: Call) -> Tensor:
            output: Tensor = transformer.module(
                call.x.to(device, dtype),
                encoder_hidden_states=call.condition["text"].to(device, dtype),
                timestep=network_times(call, device),
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        t5 = T5Text(parts["text_encoder"], parts["tokenizer"].module, WINDOW)
        return Model(info, network, {"text": AuraFlowText(t5, device)}, parts, place)


class AuraFlowText(TextAbility):
    """T5's states, key ``text``, zero behind the words.

    Words have no weights: the network reads no length of a state, only its direction, and the empty
    text has zeros where a prompt has words.

    Args:
        device: where the condition goes.
    """

    any_length = frozenset({"text"})

    def __init__(self, t5: T5Text, device: torch.device) -> None:
        self._t5 = t5
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width)."""
        states, mask = self._t5.masked_states(texts)
        return {"text": (states * mask[..., None].to(states.dtype)).to(self._device)}

    def windowed(self, length: int) -> TextAbility:
        return AuraFlowText(self._t5.windowed(length), self._device)

    def overflow(self, text: str) -> str:
        return self._t5.overflow(text)
