"""LTX-2."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import TextAbility
from ldm_core.errors import LdmWarning
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.ltx_2_abilities import FIRST, of_latents
from ldm_plugins.families.shared.ltx_2_folder import (
    check_sound,
    check_text,
    guidance_of,
    video_and_sound,
)
from ldm_plugins.families.shared.ltx_2_writer import prompt_writer
from ldm_plugins.families.shared.ltx_latents import noise_ability, seen_from, with_first
from ldm_plugins.families.shared.tokens import ONE_AT_A_TIME
from ldm_plugins.shared.video_and_sound import SOUND_PLACES, Both, VideoAndSound

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW = 1024  # tokens
PLACES = (16, 16, 24)
"""Of what Diffusers' pipelines draw where nothing is chosen: 121 frames of 768x512."""
FROM_PICTURE = "LTX2ImageToVideoPipeline"


class LTX2(DiffusersFolder):
    """Text to video with sound, and from a picture, with a rectified-flow transformer of two
    streams that attend to each other (HaCohen et al. 2026, arXiv:2601.03233): folders of
    LTX2Pipeline and LTX2ImageToVideoPipeline. The sound lasts as long as the video."""

    pipelines = ("LTX2Pipeline", FROM_PICTURE)
    components: ClassVar = {
        "transformer": Component(("LTX2VideoTransformer3DModel",), "network"),
        "vae": Component(("AutoencoderKLLTX2Video",), "autoencoder"),
        "audio_vae": Component(("AutoencoderKLLTX2Audio",), "other"),
        "vocoder": Component(("LTX2Vocoder", "LTX2VocoderWithBWE"), "other"),
        "text_encoder": Component(("Gemma3ForConditionalGeneration",), "text"),
        "connectors": Component(("LTX2TextConnectors",), "other"),
        "tokenizer": Component(("GemmaTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        space = video_and_sound(folder, transformer)
        folder.check_channels(transformer.get("in_channels", 128))
        check_sound(folder, transformer, space)
        check_text(folder, transformer)
        if folder.class_of("duration_head") is not None:
            warnings.warn(
                f"'{folder.source}' has a duration_head, which is not asked how long a video "
                "should be: say it, or it has as many frames as the model's default.",
                LdmWarning,
                stacklevel=2,
            )
        from_picture = ["first_frame"] if folder.pipeline == FROM_PICTURE else []
        return folder.info(
            "ltx_2",
            read_flow_scheduler(folder.scheduler, base="trailing", patch=1),
            channels=space.channels,
            sample=(*PLACES[:2], PLACES[2] + space.columns(*PLACES[:2])),
            latents=space,
            steps=30,
            guidance=guidance_of(transformer),
            abilities=[
                *("text", "frame_rate", "first_frame", "compressed_frames", "latent_upsampler"),
                *("upsampling", "system_prompt"),
                *noise_ability(folder.autoencoder),
            ],
            needs=frozenset({"text"}),
            conditioning=["text", "frame_rate", *from_picture],
            rate=space.rate,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        transformer, space = parts["transformer"], info.latents
        assert isinstance(space, VideoAndSound)

        def network(call: Call) -> Tensor:
            return ask(transformer, call, space, info.noise_schedule)

        abilities: dict[str, Any] = {
            "text": LTX2Text(
                parts["text_encoder"],
                parts["tokenizer"].module,
                parts["connectors"],
                transformer.device,
            ),
            **dict.fromkeys(("frame_rate", "compressed_frames", "system_prompt"), True),
            "upsampling": prompt_writer(parts["text_encoder"], parts["tokenizer"].module),
            **of_latents(space, parts, place),
        }
        abilities = {name: abilities[name] for name in info.abilities}
        return Model(info, network, abilities, parts, place)

    def at_rate(self, model: Model, info: ModelInfo) -> Model:
        space, own = info.latents, dict(model.abilities)
        assert isinstance(space, VideoAndSound)
        others = of_latents(space, model.parts, model.place)
        own |= {name: other for name, other in others.items() if name in own}
        return replace(model, info=info, abilities=own)


def ask(part: Part, call: Call, space: VideoAndSound, schedule: NoiseSchedule) -> Tensor:
    """What the network answers, for a video and its sound; for the numbers that are neither's, what
    stands for an x0 of zero."""
    import torch

    device, dtype = part.device, part.dtype
    condition, t = call.condition, call.t.to(device)
    of_sound = condition.get(SOUND_PLACES)
    places = space.sound_places(call.x.shape[2]) if of_sound is None else of_sound.shape[1]
    split = space.split_at(call.x, places)
    video, sound, rest = split
    of_video = t
    if FIRST in condition:
        video, of_video = with_first(video, condition[FIRST], t)
    mask = condition["text_mask"].to(device)
    frames, heard = part.module(
        hidden_states=video.flatten(2).transpose(1, 2).to(device, dtype),
        audio_hidden_states=sound.transpose(1, 2).flatten(2).to(device, dtype),
        encoder_hidden_states=condition["text"].to(device, dtype),
        audio_encoder_hidden_states=condition["sound_text"].to(device, dtype),
        timestep=of_video,
        audio_timestep=t,
        sigma=t,
        encoder_attention_mask=mask,
        audio_encoder_attention_mask=mask,
        num_frames=video.shape[2],
        height=video.shape[3],
        width=video.shape[4],
        video_coords=seconds(part, video, condition.get("frame_rate"), space.rate),
        audio_num_frames=sound.shape[2],
        use_cross_timestep=True,
        return_dict=False,
    )
    sigma = (call.t / schedule.last)[:, None]
    frames = frames.transpose(1, 2).reshape(video.shape).to(call.x.device, torch.float32)
    if FIRST in condition:
        frames = seen_from(frames, split.video, video, sigma)
    heard = heard.unflatten(2, (sound.shape[1], -1)).transpose(1, 2)
    return space.join(Both(frames, heard.to(call.x.device, torch.float32), rest / sigma))


def seconds(part: Part, video: Tensor, rates: Tensor | None, rate: float) -> Tensor:
    """Where the tokens of a video (rows, channels, frames, height, width) begin and end, in seconds
    and pixels, (rows, 3, tokens, 2).

    Args:
        rates: frames a second, of each row, where they are told; else `rate` of all.
    """
    import torch

    rows, _, *sizes = video.shape
    at: Tensor = part.module.rope.prepare_video_coords(rows, *sizes, part.device, fps=1.0)
    each = torch.full((rows,), rate) if rates is None else rates
    return torch.cat([at[:, :1] / each.to(at).view(-1, 1, 1, 1), at[:, 1:]], dim=1)


class LTX2Text(TextAbility):
    """All hidden states of Gemma, as a connector makes them ready for the video, key ``text``, and
    another for its sound, key ``sound_text``, and which of them are to be attended to, key
    ``text_mask``.

    Args:
        device: where the condition goes.
    """

    def __init__(
        self, encoder: Part, tokenizer: Any, connectors: Part, device: torch.device
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._connectors = connectors
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) twice, and (texts, window)."""
        import torch

        tokens = self._tokens([(text or "").strip() for text in texts])
        tokens = tokens.to(self._encoder.device)
        states = self._encoder.module(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            output_hidden_states=True,
            logits_to_keep=1,
        ).hidden_states
        part = self._connectors
        stacked = torch.stack(states, dim=-1).to(part.device, part.dtype)
        mask = tokens.attention_mask.to(part.device)
        video, sound, mask = part.module(stacked, mask, padding_side="left")
        condition = {"text": video, "sound_text": sound, "text_mask": mask}
        return {key: value.to(self._device) for key, value in condition.items()}

    def overflow(self, text: str) -> str:
        with ONE_AT_A_TIME:
            tokens = self._tokenizer(
                text.strip(), truncation=False, return_offsets_mapping=True, verbose=False
            )
        if len(tokens.input_ids) <= WINDOW:
            return ""
        start: int = tokens.offset_mapping[WINDOW][0]
        return text.strip()[start:]

    def _tokens(self, texts: Sequence[str]) -> Any:
        with ONE_AT_A_TIME:
            return self._tokenizer(
                list(texts),
                padding="max_length",
                padding_side="left",
                max_length=WINDOW,
                truncation=True,
                return_tensors="pt",
            )
