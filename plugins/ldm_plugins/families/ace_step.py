"""ACE-Step 1.5."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, LatentSpace, Model, ModelInfo, Part, Place
from ldm_core.contracts.latents import Axis
from ldm_core.contracts.sound_abilities import Song
from ldm_core.errors import LdmWarning
from ldm_core.values import brief
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import EULER, read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.tokens import ONE_AT_A_TIME
from ldm_plugins.families.shared.weight_norm import with_plain_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

INSTRUCTION = "Fill the audio semantic mask based on the given conditions:"
TEXT = "# Instruction\n{}\n\n# Caption\n{}\n\n# Metas\n{}<|endoftext|>\n"
LYRICS = "# Languages\n{}\n\n# Lyric\n{}<|endoftext|>"
"""How the networks learnt a piece (ACE-Step 1.5, arXiv:2602.00744)."""
TEXT_WINDOW, LYRICS_WINDOW = 256, 2048  # tokens
SECONDS = 60  # of what is made where nothing is chosen
TIMBRE = 30  # seconds of silence that stand for the lack of a voice to follow
SHIFT = 3.0
PEAK = 10 ** (-1 / 20)  # -1 dB of full scale
TRAINED = 1000  # timesteps as they are counted here; the network is told them from 0 to 1
GUIDANCE: Mapping[str, Any] = {
    "name": "adaptive_projected",
    "scale": 7.0,
    "norm_threshold": 2.5,
    "momentum": -0.75,
    "of": "output",
    "each_channel": True,
}


class AceStep(DiffusersFolder):
    """Music with a rectified-flow transformer that is told text, lyrics and how a voice sounds
    (ACE-Step 1.5, arXiv:2602.00744): folders of AceStepPipeline. Its tasks on other sounds (cover,
    lego, extract, complete) and the voice of a reference are not here."""

    pipelines = ("AceStepPipeline",)
    components: ClassVar = {
        "transformer": Component(("AceStepTransformer1DModel",), "network"),
        "vae": Component(("AutoencoderOobleck",), "autoencoder"),
        "text_encoder": Component(("Qwen3Model",), "text"),
        "tokenizer": Component(("Qwen2Tokenizer", "Qwen2TokenizerFast"), "other"),
        "condition_encoder": Component(("AceStepConditionEncoder",), "text"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer, vae = folder.config("transformer"), folder.config("vae")
        conditions = folder.config("condition_encoder")
        channels = vae.get("decoder_input_channels", 64)
        gives = transformer.get("audio_acoustic_hidden_dim", 64)
        takes = transformer.get("in_channels", 192)
        if gives != channels or takes != 3 * channels:
            raise folder.error(
                f"the network takes {takes} channels and returns {gives}; with the autoencoder's "
                f"{channels} it should take {3 * channels}, of the sound, of another and of what "
                f"is made anew, and return {channels}."
            )
        voice = conditions.get("timbre_hidden_dim", 64)
        if voice != channels:
            raise folder.error(
                f"the condition encoder takes sounds of {voice} channels, and the autoencoder "
                f"gives {channels}."
            )
        width = conditions.get("hidden_size", 2048)
        reads = transformer.get("encoder_hidden_size") or transformer.get("hidden_size", 2048)
        folder.check_width(reads, width, "the condition encoder")
        gives = folder.config("text_encoder").get("hidden_size", 1024)
        if conditions.get("text_hidden_dim", 1024) != gives:
            raise folder.error(
                "the condition encoder takes text states of width "
                f"{conditions.get('text_hidden_dim', 1024)}, and the text encoder gives {gives}."
            )
        config = folder.scheduler
        said = [config.get(k) for k in ("_class_name", "num_train_timesteps", "shift")]
        if said != [EULER, 1, 1.0] or config.get("use_dynamic_shifting"):
            raise folder.error(
                f"ACE-Step has an {EULER} of 1 training timestep and the shift 1.0, which its "
                f"pipeline shifts itself; this one has {said}."
            )
        turbo = transformer.get("is_turbo") or transformer.get("model_version") == "turbo"
        rate = vae.get("sampling_rate", 44100)
        hop = math.prod(vae.get("downsampling_ratios", [2, 4, 4, 8, 8]))
        info = folder.info(
            "ace_step",
            read_flow_scheduler(
                {**config, "num_train_timesteps": TRAINED, "shift": SHIFT}, base="simple"
            ),
            channels=channels,
            sample=(math.ceil(SECONDS * rate / hop),),
            latents=LatentSpace(channels, (Axis("samples", hop),)),
            steps=8,
            guidance="none" if turbo else GUIDANCE,
            abilities=["song"],
            needs=frozenset({"song"}),
            conditioning=["song"],
            rate=float(rate),
            audio_channels=vae.get("audio_channels", 2),
        )
        decoder = {"name": folder.codec, "peak": PEAK}
        return replace(info, defaults={**info.defaults, "decoder": decoder})

    def prepare(self, name: str, part: Part, place: Place) -> Part:
        return with_plain_weights(part) if name == "vae" else part

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype

        def network(call: Call) -> Tensor:
            t = (call.t / TRAINED).to(device, dtype)
            output: Tensor = transformer.module(
                hidden_states=call.x.transpose(1, 2).to(device, dtype),
                timestep=t,
                timestep_r=t,
                encoder_hidden_states=call.condition["song"].to(device, dtype),
                context_latents=call.condition["context"].to(device, dtype),
                return_dict=False,
            )[0]
            return output.transpose(1, 2).to(call.x.device, call.x.dtype)

        ability = AceStepSong(
            parts["text_encoder"],
            parts["tokenizer"].module,
            parts["condition_encoder"],
            math.ceil(TIMBRE * (info.rate or 1) / info.latents.axis("samples").stride),
            device,
        )
        return Model(info, network, {"song": ability}, parts, place)


class AceStepSong:
    """The states of lyrics, of a voice (silence, here) and of the text, one behind the other, key
    ``song`` (1, states, width), and what the network sees beside the sound, key ``context`` (1,
    places, 2·channels): silence, and that all of it is made.

    A piece has as many states as tokens, as the network attends to padding too.

    Args:
        timbre: places of silence in place of a voice.
        device: where the condition goes.
    """

    def __init__(
        self, encoder: Part, tokenizer: Any, conditions: Part, timbre: int, device: torch.device
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._conditions = conditions
        self._timbre = timbre
        self._device = device

    def encode(self, song: Song, seconds: float, places: int) -> Condition:
        import torch

        about = (
            f"- bpm: {song.bpm or 'N/A'}\n"
            f"- timesignature: {(song.timesignature.strip() and song.timesignature) or 'N/A'}\n"
            f"- keyscale: {(song.keyscale.strip() and song.keyscale) or 'N/A'}\n"
            f"- duration: {int(seconds)} seconds\n"
        )
        encoder, part = self._encoder, self._conditions
        text = self._tokens(TEXT.format(INSTRUCTION, song.prompt, about), TEXT_WINDOW)
        lyrics = self._tokens(LYRICS.format(song.vocal_language, song.lyrics), LYRICS_WINDOW)
        states = encoder.module(input_ids=text).last_hidden_state
        embedded = encoder.module.get_input_embeddings()(lyrics)
        silence = part.at_rest.silence_latent.to(part.device)
        joined, _ = part.module(
            text_hidden_states=states.to(part.device, part.dtype),
            text_attention_mask=torch.ones_like(text, dtype=torch.bool, device=part.device),
            lyric_hidden_states=embedded.to(part.device, part.dtype),
            lyric_attention_mask=torch.ones_like(lyrics, dtype=torch.bool, device=part.device),
            refer_audio_acoustic_hidden_states_packed=silence[:, : self._timbre].to(part.dtype),
            refer_audio_order_mask=torch.zeros(1, dtype=torch.long, device=part.device),
        )
        beside = silence.repeat(1, math.ceil(places / silence.shape[1]), 1)[:, :places]
        context = torch.cat([beside, torch.ones_like(beside)], dim=2)
        return {"song": joined.to(self._device), "context": context.to(self._device)}

    def without(self, condition: Condition) -> Condition:
        nothing = self._conditions.at_rest.null_condition_emb.to(condition["song"])
        return {**condition, "song": nothing.expand_as(condition["song"])}

    def _tokens(self, text: str, window: int) -> Tensor:
        with ONE_AT_A_TIME:
            tokens: Tensor = self._tokenizer(text, return_tensors="pt").input_ids
        if tokens.shape[1] > window:
            message = (
                f"what is said of the music has {tokens.shape[1]} tokens, and the network takes "
                f"{window} of it: its end is left out: {brief(text)}"
            )
            warnings.warn(message, LdmWarning, stacklevel=2)
        return tokens[:, :window].to(self._encoder.device)
