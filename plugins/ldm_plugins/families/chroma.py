"""Chroma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ldm_core.contracts import Call, Model, ModelInfo, Part, Place, Unequal
from ldm_core.contracts.abilities import TextAbility
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.flux_tokens import (
    PATCH,
    check_tokens,
    pack,
    positions,
    unpack,
)
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.rotary import check_axes
from ldm_plugins.families.shared.seen_pictures import told_of_pictures
from ldm_plugins.families.shared.t5_text import T5Text
from ldm_plugins.families.shared.tokens import lengths
from ldm_plugins.families.shared.transformer_image_prompts import FluxImagePrompts

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LATENT_SIZE = 128  # of a square picture of the trained size; the folder does not say it
WINDOW = 512  # T5 tokens
STEPS_AND_SCALE = {
    "ChromaPipeline": (35, 5.0),
    "ChromaImg2ImgPipeline": (35, 5.0),
    "ChromaInpaintPipeline": (28, 7.0),
}
"""The steps and the scale that each class takes that Diffusers may have saved such a model from."""


class Chroma(DiffusersFolder):
    """Text-to-image with Flux's transformer, smaller, that reads T5 alone and takes a negative
    prompt (Lodestone Rock 2025): folders of ChromaPipeline and of its classes for other tasks."""

    pipelines = tuple(STEPS_AND_SCALE)
    components: ClassVar = {
        "transformer": Component(("ChromaTransformer2DModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("T5EncoderModel",), "text"),
        "tokenizer": Component(("T5Tokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        check_tokens(folder)
        width = transformer.get("joint_attention_dim", 4096)
        folder.check_width(width, folder.config("text_encoder").get("d_model", 512), "T5")
        check_axes(folder, (16, 56, 56))
        steps, scale = STEPS_AND_SCALE[folder.pipeline]
        return folder.info(
            "chroma",
            read_flow_scheduler(folder.scheduler, base="trailing", patch=PATCH),
            channels=folder.latent_channels,
            sample=(LATENT_SIZE, LATENT_SIZE),
            patch=PATCH,
            steps=steps,
            guidance={"name": "classifier_free", "scale": scale},
            abilities=["text", "max_sequence_length", "image_prompt"],
            needs=frozenset({"text"}),
            conditioning=["text"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype

        def network(call: Call) -> Tensor:
            states = call.condition["text"].to(device, dtype)
            rows, columns = call.x.shape[-2] // PATCH, call.x.shape[-1] // PATCH
            output: Tensor = transformer.module(
                hidden_states=pack(call.x).to(device, dtype),
                timestep=network_times(call, device),
                encoder_hidden_states=states,
                txt_ids=torch.zeros(states.shape[1], 3, device=device),
                img_ids=positions(rows, columns, device),
                **told_of_pictures(call.condition, transformer),
                return_dict=False,
            )[0]
            return unpack(output.to(call.x.device, torch.float32), rows, columns)

        t5 = T5Text(parts["text_encoder"], parts["tokenizer"].module, WINDOW)
        abilities = {
            "text": ChromaText(t5, device),
            "image_prompt": FluxImagePrompts(place, device),
        }
        return Model(info, network, abilities, parts, place)


class ChromaText(TextAbility):
    """T5's states of the words and of one token of padding behind them, key ``text``.

    The network was trained to see no other padding. Where it is left out, nothing is to be masked:
    the text's tokens have no places, so that none of the others sees a difference.

    Args:
        device: where the condition goes.
    """

    any_length = frozenset({"text"})

    def __init__(self, t5: T5Text, device: torch.device) -> None:
        self._t5 = t5
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Unequal:
        """(1, words + 1, width) for each text."""
        states, mask = self._t5.masked_states(texts)
        states = states.to(self._device)
        return Unequal(
            tuple({"text": states[i : i + 1, : n + 1]} for i, n in enumerate(lengths(mask)))
        )

    def windowed(self, length: int) -> TextAbility:
        return ChromaText(self._t5.windowed(length), self._device)

    def overflow(self, text: str) -> str:
        return self._t5.overflow(text)
