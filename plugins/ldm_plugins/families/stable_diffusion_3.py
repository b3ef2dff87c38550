"""Stable Diffusion 3 and 3.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.seen_pictures import KEY, seen
from ldm_plugins.families.shared.t5_text import T5Text
from ldm_plugins.families.shared.transformer_image_prompts import StableDiffusion3ImagePrompts
from ldm_plugins.families.shared.transformer_sides import BLOCK, TransformerSides, residuals_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW = 256  # T5 tokens
STEPS = {
    "StableDiffusion3Pipeline": 28,
    "StableDiffusion3Img2ImgPipeline": 50,
    "StableDiffusion3InpaintPipeline": 50,
    "StableDiffusion3ControlNetPipeline": 28,
    "StableDiffusion3ControlNetInpaintingPipeline": 28,
    "StableDiffusion3PAGPipeline": 28,
    "StableDiffusion3PAGImg2ImgPipeline": 50,
}
"""The steps that each class takes that Diffusers may have saved such a model from."""
CLIPS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
T5 = ("text_encoder_3", "tokenizer_3")


class StableDiffusion3(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer that reads two CLIPs and, where the folder
    has it, T5 (Esser et al. 2024, arXiv:2403.03206): folders of StableDiffusion3Pipeline
    and of its classes for other tasks."""

    pipelines = tuple(STEPS)
    components: ClassVar = {
        "transformer": Component(("SD3Transformer2DModel",), "network"),
        "vae": Component(("AutoencoderKL", "AutoencoderTiny"), "autoencoder"),
        "text_encoder": Component(("CLIPTextModelWithProjection",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
        "text_encoder_2": Component(("CLIPTextModelWithProjection",), "text"),
        "tokenizer_2": Component(("CLIPTokenizer",), "other"),
        "text_encoder_3": Component(("T5EncoderModel",), "text", optional=True),
        "tokenizer_3": Component(("T5Tokenizer",), "other", optional=True),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels = transformer.get("in_channels", 16)
        _check_text(folder, transformer)
        folder.check_channels(channels, "; only plain text-to-image models are known")
        patch = transformer.get("patch_size", 2)
        prompts = [
            "max_sequence_length",
            "prompt_2",
            *(["prompt_3"] if folder.class_of(T5[0]) else []),
        ]
        return folder.info(
            "stable_diffusion_3",
            read_flow_scheduler(folder.scheduler, patch=patch),
            channels=channels,
            sample=sample_size(transformer, 128),
            patch=patch,
            most=patch * transformer.get("pos_embed_max_size", 96),
            steps=STEPS[folder.pipeline],
            guidance={"name": "classifier_free", "scale": 7.0},
            abilities=[
                "text",
                "control",
                "image_prompt",
                "clip_skip",
                "max_sequence_length",
                *prompts,
            ],
            needs=frozenset({"text"}),
            conditioning=["text"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        blocks = {
            "block_controlnet_hidden_states": (BLOCK, len(transformer.module.transformer_blocks))
        }

        def network(call: Call) -> Tensor:
            output: Tensor = transformer.module(
                hidden_states=call.x.to(device, dtype),
                timestep=call.t.to(device),
                encoder_hidden_states=call.condition["text"].to(device, dtype),
                pooled_projections=call.condition["pooled"].to(device, dtype),
                **residuals_of(call.condition, transformer, blocks),
                **_pictures(call.condition, transformer),
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        encoder, tokenizer = (parts.get(name) for name in T5)
        t5 = T5Text(encoder, tokenizer.module, WINDOW) if encoder and tokenizer else None
        clips = [ClipEncoder(parts[name], parts[CLIPS[name]].module) for name in CLIPS]
        text = JointText(clips, t5, transformer.module.config.joint_attention_dim, device)
        abilities = {
            "text": text,
            "control": TransformerSides(place, parts),
            "image_prompt": StableDiffusion3ImagePrompts(place, device),
        }
        return Model(info, network, abilities, parts, place)


def _pictures(condition: Condition, part: Part) -> Mapping[str, Any]:
    """What the network is told of the picture that it looks at, of which it takes one."""
    embeds = seen(condition, "image_embeds", part)
    return {"joint_attention_kwargs": {KEY: embeds[0][:, 0]}} if embeds else {}


def _check_text(folder: Folder, transformer: Mapping[str, Any]) -> None:
    """See that the text encoders give what the network takes."""
    width = transformer.get("joint_attention_dim", 4096)
    summary = transformer.get("pooled_projection_dim", 2048)
    clips = [folder.config(name) for name in CLIPS]
    hidden = sum(clip.get("hidden_size", 512) for clip in clips)
    pooled = sum(clip.get("projection_dim", 512) for clip in clips)
    if hidden > width:
        raise folder.error(
            f"the network takes text states of width {width}, and the two CLIPs together give "
            f"{hidden}."
        )
    if pooled != summary:
        raise folder.error(
            f"the network takes pooled text of width {summary}, and the two CLIPs together give "
            f"{pooled}."
        )
    present = [folder.class_of(name) is not None for name in T5]
    if any(present) and not all(present):
        raise folder.error(f"model_index.json has one of {' and '.join(T5)} without the other.")
    if all(present):
        folder.check_width(width, folder.config(T5[0]).get("d_model", 512), "T5")


class JointText(TextAbility):
    """The states of two CLIPs side by side, padded to T5's width, then T5's, key ``text``; and
    both CLIPs' projected summaries, key ``pooled`` (arXiv:2403.03206, Figure 2).

    Args:
        device: where the condition goes.
        window: of T5.
    """

    any_length = frozenset({"text"})

    def __init__(
        self,
        clips: Sequence[ClipEncoder],
        t5: T5Text | None,
        width: int,
        device: torch.device,
        window: int = WINDOW,
    ) -> None:
        self._clips = clips
        self._t5 = t5
        self._width = width
        self._device = device
        self._window = window

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, CLIP's window + T5's, width) and (texts, both CLIPs' projections)."""
        import torch
        from torch.nn.functional import pad

        answers = [encoder(texts) for encoder in self._clips]
        pairs = zip(self._clips, answers, strict=True)
        clip = torch.cat([one.penultimate(a).to(self._device) for one, a in pairs], dim=-1)
        clip = pad(clip, (0, self._width - clip.shape[-1]))
        if self._t5:
            t5 = self._t5.states(texts).to(self._device)
        else:
            t5 = clip.new_zeros(len(clip), self._window, self._width)
        pooled = torch.cat([a.text_embeds.to(self._device) for a in answers], dim=-1)
        return {"text": torch.cat([clip, t5], dim=1), "pooled": pooled}

    def skipping(self, layers: int) -> TextAbility:
        clips = [clip.skipping(layers, more=1) for clip in self._clips]
        return JointText(clips, self._t5, self._width, self._device, self._window)

    def windowed(self, length: int) -> TextAbility:
        t5 = self._t5 and self._t5.windowed(length)
        return JointText(self._clips, t5, self._width, self._device, length)

    def joined(self, conditions: Sequence[Condition]) -> Condition:
        """Of two conditions or, where there is a T5, three."""
        import torch

        one, two, last = (*conditions, conditions[-1])[:3]
        width, window = self._clips[0].width, self._clips[0].window
        summary = self._clips[0].summary
        clip = [one["text"][:, :window, :width], two["text"][:, :window, width:]]
        pooled = [one["pooled"][:, :summary], two["pooled"][:, summary:]]
        text = [torch.cat(clip, dim=-1), last["text"][:, window:]]
        return {"text": torch.cat(text, dim=1), "pooled": torch.cat(pooled, dim=-1)}

    def overflow(self, text: str) -> str:
        """What the encoder with the widest window does not read."""
        return (self._t5 or self._clips[0]).overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        t5 = self._t5.spans(text) if self._t5 else [(0, 0)] * self._window
        return {"text": [*self._clips[0].spans(text), *t5]}
