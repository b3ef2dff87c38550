"""ACE-Step 1.5."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, LatentSpace, Model, ModelInfo, Part, Place
from ldm_core.contracts.latents import Axis
from ldm_core.contracts.sound_abilities import SoundCodes
from ldm_plugins.families.shared.ace_step_song import AceStepSong
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import EULER, read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.weight_norm import with_plain_weights

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = 60  # of what is made where nothing is chosen
SHIFT = 3.0
LEVELS = (8, 8, 8, 5, 5, 5)  # of codes, where the folder says none
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
    (ACE-Step 1.5, arXiv:2602.00744), or of another sound: folders of AceStepPipeline, with the
    networks that make codes of a sound to cover it, or without."""

    pipelines = ("AceStepPipeline",)
    components: ClassVar = {
        "transformer": Component(("AceStepTransformer1DModel",), "network"),
        "vae": Component(("AutoencoderOobleck",), "autoencoder"),
        "text_encoder": Component(("Qwen3Model",), "text"),
        "tokenizer": Component(("Qwen2Tokenizer", "Qwen2TokenizerFast"), "other"),
        "condition_encoder": Component(("AceStepConditionEncoder",), "text"),
        "audio_tokenizer": Component(("AceStepAudioTokenizer",), "side", optional=True),
        "audio_token_detokenizer": Component(
            ("AceStepAudioTokenDetokenizer",), "side", optional=True
        ),
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
                {**config, "num_train_timesteps": TRAINED, "shift": SHIFT}, base="trailing"
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
        return replace(
            info,
            defaults={**info.defaults, "decoder": decoder},
            sound_codes=_codes(folder, channels),
        )

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

        return Model(info, network, {"song": AceStepSong(info, parts, device)}, parts, place)


def _codes(folder: Folder, channels: int) -> SoundCodes | None:
    """The codes of a folder's sounds; None of one that lacks a network that makes or reads them.

    Args:
        channels: of the latents.
    """
    names = ("audio_tokenizer", "audio_token_detokenizer")
    if None in [folder.class_of(name) for name in names]:
        return None
    makes, reads = (folder.config(name) for name in names)
    for name, config in zip(names, (makes, reads), strict=True):
        if config.get("audio_acoustic_hidden_dim", 64) != channels:
            raise folder.error(
                f"the {name} is of latents of {config.get('audio_acoustic_hidden_dim', 64)} "
                f"channels, and the autoencoder's have {channels}."
            )
    said = [config.get("pool_window_size", 5) for config in (makes, reads)]
    widths = [makes.get("fsq_dim", 2048), reads.get("hidden_size", 2048)]
    if len({*said}) > 1 or len({*widths}) > 1:
        raise folder.error(
            f"a code of the audio_tokenizer is {widths[0]} numbers for {said[0]} places, and "
            f"audio_token_detokenizer takes {widths[1]} for {said[1]}."
        )
    count = math.prod(makes.get("fsq_input_levels") or LEVELS)
    return SoundCodes(count, said[0])
