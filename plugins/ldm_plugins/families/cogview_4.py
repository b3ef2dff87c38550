"""CogView 4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place, Unequal, concatenate
from ldm_core.contracts.abilities import TextAbility
from ldm_plugins.families.shared import tokens
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.named_flow_schedulers import for_flow_scheduler
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.picture_sizes import PictureSizes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW = 1024  # tokens
WHOLE = 16  # the network was trained on so many tokens, or a multiple of it
SHIFT = {"base_shift": 0.25, "max_shift": 0.75, "base_image_seq_len": 256}
"""What Diffusers' pipeline takes where the scheduler's config does not say it."""


class CogView4(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer that reads GLM and is told of sizes (Z.ai
    2025, https://huggingface.co/THUDM/CogView4-6B): folders of CogView4Pipeline.

    The network is told the time as it was before it was shifted by the size of the picture,
    whichever spacing is chosen.
    """

    pipelines = ("CogView4Pipeline",)
    components: ClassVar = {
        "transformer": Component(("CogView4Transformer2DModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("GlmModel",), "text"),
        "tokenizer": Component(("PreTrainedTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer, config = folder.config("transformer"), folder.scheduler
        channels, patch = transformer.get("in_channels", 16), transformer.get("patch_size", 2)
        folder.check_channels(channels)
        width = folder.config("text_encoder").get("hidden_size", 4096)
        folder.check_width(transformer.get("text_embed_dim", 4096), width, "GLM")
        scheduler = read_flow_scheduler(config, patch=patch)
        spacing = dict(scheduler.recipe["spacing"])
        if not spacing.get("dynamic") or spacing.keys() & {"terminal", "curve"}:
            raise folder.error(
                "scheduler_config.json: of this model the shift by the size of the picture alone "
                "is known (use_dynamic_shifting without shift_terminal and other curves)."
            )
        stated = {key: config.get(key, default) for key, default in SHIFT.items()}
        spacing |= {**stated, "growth": "root", "whole_base": True}
        spacing["base_seq_len"] = spacing.pop("base_image_seq_len")
        scheduler = replace(
            scheduler,
            recipe={**scheduler.recipe, "spacing": spacing},
            goes_with=partial(for_flow_scheduler, config, spacing),
        )
        return folder.info(
            "cogview_4",
            scheduler,
            channels=channels,
            sample=sample_size(transformer, 128),
            patch=patch,
            most=patch * min(transformer.get("rope_axes_dim", (256, 256))),
            steps=50,
            guidance={"name": "classifier_free", "scale": 5.0},
            abilities=["text", "size"],
            needs=frozenset({"text", "size"}),
            conditioning=["text", "size"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        spacing = info.defaults["spacing"]
        trained = info.noise_schedule.last

        def network(call: Call) -> Tensor:
            rows, columns = (side // spacing["patch"] for side in call.x.shape[-2:])
            factor = _shift(spacing, rows * columns)
            time = network_times(call, device, int(trained))
            sizes = call.condition["size"].to(device)
            output: Tensor = transformer.module(
                hidden_states=call.x.to(device, dtype),
                encoder_hidden_states=call.condition["text"].to(device, dtype),
                timestep=trained * time / (time + factor * (1 - time)),
                original_size=sizes[:, :2],
                crop_coords=sizes[:, 2:4],
                target_size=sizes[:, 4:],
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        text = GlmText(parts["text_encoder"], parts["tokenizer"].module, device)
        return Model(info, network, {"text": text, "size": PictureSizes(device)}, parts, place)


def _shift(spacing: Mapping[str, Any], patches: int) -> float:
    """The factor by which the folder's spacing shifts the times of a picture of so many patches."""
    value: float = spacing["base_shift"]
    value += spacing["max_shift"] * math.sqrt(patches / spacing["base_seq_len"])
    return math.exp(value) if spacing["shift_type"] == "exponential" else value


class GlmText(TextAbility):
    """GLM's states before its last block, key ``text``; a text is filled up from the left to whole
    16 tokens, which are attended like the words, and no further, whoever is in the batch.

    Args:
        device: where the condition goes.
    """

    any_length = frozenset({"text"})

    def __init__(self, encoder: Part, tokenizer: Any, device: torch.device) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition | Unequal:
        """(texts, tokens, width); where texts are of different length, each by itself."""
        rows = [{"text": self._states(text or "")} for text in texts]
        if len({row["text"].shape for row in rows}) > 1:
            return Unequal(tuple(rows))
        return concatenate(rows)

    def overflow(self, text: str) -> str:
        return tokens.overflow(self._tokenizer, text, WINDOW)

    def _states(self, text: str) -> Tensor:
        import torch

        with tokens.ONE_AT_A_TIME:
            read = self._tokenizer(text, max_length=WINDOW, truncation=True, padding=False)
        numbers = read.input_ids
        numbers = [*[self._tokenizer.pad_token_id] * (-len(numbers) % WHOLE), *numbers]
        ids = torch.tensor([numbers], dtype=torch.int64, device=self._encoder.device)
        output = self._encoder.module(ids, output_hidden_states=True, use_cache=False)
        states: Tensor = output.hidden_states[-2]
        return states.to(self._device)
