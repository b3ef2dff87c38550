"""Kolors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.conditioned_unet import call_unet
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.image_prompts import ImagePrompts
from ldm_plugins.families.shared.picture_sizes import PictureSizes
from ldm_plugins.families.shared.scheduler_config import read_scheduler
from ldm_plugins.families.shared.t5_text import check_sentencepiece
from ldm_plugins.families.shared.tokens import ONE_AT_A_TIME, WORD_STARTS, tokenize

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW = 256  # tokens
SIZES = 6  # numbers


class Kolors(DiffusersFolder):
    """Text-to-image with the UNet of Stable Diffusion XL, which reads ChatGLM, a language model of
    Chinese and English, in the place of CLIP (Kolors Team 2024): folders of KolorsPipeline, and of
    its classes for a picture to start from and for guidance by perturbed attention."""

    pipelines = ("KolorsPipeline", "KolorsImg2ImgPipeline", "KolorsPAGPipeline")
    components: ClassVar = {
        "unet": Component(("UNet2DConditionModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("ChatGLMModel",), "text"),
        "tokenizer": Component(("ChatGLMTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        check_sentencepiece(folder.path / "tokenizer" / "tokenizer.model")
        unet, text = folder.config("unet"), folder.config("text_encoder")
        channels = unet.get("in_channels", 4)
        folder.check_channels(channels)
        width = text.get("hidden_size", 4096)
        if unet.get("encoder_hid_dim_type") != "text_proj":
            raise folder.error(
                "the network should bring the text's states to its own width "
                f"(encoder_hid_dim_type 'text_proj'), not {unet.get('encoder_hid_dim_type')!r}."
            )
        folder.check_width(unet.get("encoder_hid_dim") or 0, width, "ChatGLM")
        told = unet.get("projection_class_embeddings_input_dim")
        expected = SIZES * (unet.get("addition_time_embed_dim") or 0) + width
        if unet.get("addition_embed_type") != "text_time" or told != expected:
            raise folder.error(
                f"the network takes {told} values beside the time, of the kind "
                f"{unet.get('addition_embed_type')}, where sizes and the text as a whole make "
                f"{expected} of the kind text_time."
            )
        if folder.index.get("force_zeros_for_empty_prompt"):
            raise folder.error(
                "model_index.json says force_zeros_for_empty_prompt, with which its pipeline in "
                "Diffusers draws nothing."
            )
        return folder.info(
            "kolors",
            read_scheduler(folder.scheduler),
            channels=channels,
            sample=sample_size(unet, 128),
            steps=50,
            guidance={"name": "classifier_free", "scale": 5.0},
            abilities=["text", "size", "image_prompt"],
            needs=frozenset({"text", "size"}),
            conditioning=["text", "size"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        unet = parts["unet"]

        def network(call: Call) -> Tensor:
            condition = call.condition
            added = {
                "text_embeds": condition["pooled"].to(unet.device, unet.dtype),
                "time_ids": condition["size"].to(unet.device),
            }
            return call_unet(unet, call, added)

        abilities: dict[str, Any] = {
            "text": ChatGlmText(parts["text_encoder"], parts["tokenizer"].module, unet.device),
            "size": PictureSizes(unet.device),
            "image_prompt": ImagePrompts(place, unet.device),
        }
        return Model(info, network, abilities, parts, place)


class ChatGlmText(TextAbility):
    """ChatGLM's states before its last layer, key ``text``, of a window that is padded on the left,
    and behind it of the last token, key ``pooled``.

    Args:
        device: where the condition goes.
    """

    def __init__(self, encoder: Part, tokenizer: Any, device: torch.device) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, width)."""
        tokens = tokenize(self._tokenizer, texts, WINDOW, self._encoder.device)
        module = self._encoder.module
        states = module(
            input_ids=tokens.input_ids,
            position_ids=tokens.position_ids,
            # as it makes of a mask by itself, but where it would first look into that
            full_attention_mask=module.get_masks(tokens.input_ids, None, tokens.attention_mask),
            output_hidden_states=True,
            use_cache=False,
            return_dict=True,
        ).hidden_states
        condition = {"text": states[-2].transpose(0, 1), "pooled": states[-1][-1]}
        return {key: value.to(self._device) for key, value in condition.items()}

    def overflow(self, text: str) -> str:
        room = WINDOW - self._tokenizer.num_special_tokens_to_add()
        spans = self._spans(text)
        if len(spans) <= room:
            return ""
        first = spans[room][0]
        starts = [0, *(match.start() for match in WORD_STARTS.finditer(text))]
        start = max(place for place in starts if place <= first)
        return text[start or first :]

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        spans = self._spans(text)[: WINDOW - self._tokenizer.num_special_tokens_to_add()]
        return {"text": [*[(0, 0)] * (WINDOW - len(spans)), *spans]}

    def _spans(self, text: str) -> list[Span]:
        """The characters that each token of a text stands for, by SentencePiece itself."""
        with ONE_AT_A_TIME:
            read = self._tokenizer.tokenizer.sp_model.encode(text, return_type="proto")
        ends = [*accumulate((len(piece.surface) for piece in read.pieces), initial=0)]
        return [*pairwise(ends)]
