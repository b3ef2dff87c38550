"""AudioLDM 2."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, LatentSpace, Model, ModelInfo, Part, Place
from ldm_core.contracts.latents import Axis, Extent
from ldm_core.errors import LdmWarning
from ldm_core.model.files import read_json
from ldm_core.values import brief
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.scheduler_config import read_scheduler
from ldm_plugins.families.shared.tokens import ONE_AT_A_TIME

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SPOKEN = 8  # states that the language model adds, where its config says no other number
LONGEST = 512  # tokens, of a tokenizer that says no window


@dataclass(frozen=True)
class Spectrogram(LatentSpace):
    """Latents of a spectrogram: places in time, and of each, places in pitch.

    Attributes:
        pitches: places in pitch.
    """

    pitches: int = 1

    def shape(self, extent: Extent) -> tuple[int, ...]:
        return (*super().shape(extent), self.pitches)

    def extent(self, shape: Sequence[int]) -> dict[str, int]:
        return super().extent(shape[:2])


class AudioLDM2(DiffusersFolder):
    """Sound of text by a UNet over spectrograms that reads T5 and what a language model goes on
    with after CLAP and T5 (Liu et al. 2023, arXiv:2308.05734): folders of AudioLDM2Pipeline, but
    for those that speak, whose second text encoder reads phonemes."""

    pipelines = ("AudioLDM2Pipeline",)
    components: ClassVar = {
        "unet": Component(("AudioLDM2UNet2DConditionModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("ClapModel",), "text"),
        "text_encoder_2": Component(("T5EncoderModel",), "text"),
        "projection_model": Component(("AudioLDM2ProjectionModel",), "text"),
        "language_model": Component(("GPT2LMHeadModel", "GPT2Model"), "text"),
        "tokenizer": Component(("RobertaTokenizer", "RobertaTokenizerFast"), "other"),
        "tokenizer_2": Component(("T5Tokenizer", "T5TokenizerFast"), "other"),
        "vocoder": Component(("SpeechT5HifiGan",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        unet, vocoder = folder.config("unet"), folder.config("vocoder")
        channels = unet.get("in_channels", 4)
        folder.check_channels(channels)
        projection = folder.config("projection_model")
        reads = {"GPT-2": projection.get("langauge_model_dim")}
        reads |= {"CLAP": projection.get("text_encoder_dim")}
        reads |= {"T5": projection.get("text_encoder_1_dim")}
        gives = {
            "GPT-2": folder.config("language_model").get("n_embd", 768),
            "CLAP": folder.config("text_encoder").get("projection_dim", 512),
            "T5": folder.config("text_encoder_2").get("d_model", 512),
        }
        for name, width in gives.items():
            if reads[name] != width:
                raise folder.error(
                    f"the projection takes states of {name} of width {reads[name]}, and it gives "
                    f"{width}."
                )
        several = unet.get("cross_attention_dim", 1280)
        widths = {*_flat(several)}
        if not widths <= {gives["GPT-2"], gives["T5"]}:
            raise folder.error(
                f"the network takes states of the widths {sorted(widths)}; the language model "
                f"gives {gives['GPT-2']} and T5 {gives['T5']}."
            )
        bins, factor = vocoder.get("model_in_dim", 80), folder.factor
        if bins % factor:
            raise folder.error(
                f"the vocoder takes {bins} bins of pitch, which is no multiple of the {factor} "
                "that share a place of the latents."
            )
        hop = factor * math.prod(vocoder.get("upsample_rates", [4, 4, 4, 4]))
        info = folder.info(
            "audioldm_2",
            read_scheduler(folder.scheduler),
            channels=channels,
            sample=(sample_size(unet, 256)[0], bins // factor),
            latents=Spectrogram(channels, (Axis("samples", hop),), bins // factor),
            steps=200,
            guidance={"name": "classifier_free", "scale": 3.5},
            abilities=["sound_text"],
            needs=frozenset({"sound_text"}),
            conditioning=["sound_text"],
            rate=float(vocoder.get("sampling_rate", 16000)),
            audio_channels=1,
        )
        own = {"encoder": "mel", "decoder": "mel"}
        return replace(info, defaults={**info.defaults, **own})

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        unet = parts["unet"]
        device, dtype = unet.device, unet.dtype

        def network(call: Call) -> Tensor:
            condition = call.condition
            output: Tensor = unet.module(
                call.x.to(device, dtype),
                call.t.to(device),
                encoder_hidden_states=condition["spoken"].to(device, dtype),
                encoder_hidden_states_1=condition["text"].to(device, dtype),
                encoder_attention_mask_1=condition["text_mask"].to(device),
                return_dict=False,
            )[0]
            return output.to(call.x.device, call.x.dtype)

        config: Any = read_json(info.folder / "language_model" / "config.json")
        text = AudioLDM2Text(parts, config.get("max_new_tokens") or SPOKEN, device)
        return Model(info, network, {"sound_text": text}, parts, place)


def _flat(several: Any) -> list[int]:
    """The numbers in a list of lists."""
    if isinstance(several, list | tuple):
        return [number for one in several for number in _flat(one)]
    return [] if several is None else [several]


class AudioLDM2Text:
    """T5's states, key ``text`` (1, tokens, width), which of them are words, key ``text_mask`` (1,
    tokens), and what a language model goes on with after CLAP's state and those, key ``spoken`` (1,
    states, width). No state depends on another sound's text, but those of a negative prompt have
    their places behind as many as the prompt has.

    Args:
        count: of the states that the language model adds.
        device: where the condition goes.
    """

    def __init__(self, parts: Mapping[str, Part], count: int, device: torch.device) -> None:
        self._parts = parts
        self._count = count
        self._device = device

    def encode(self, text: str, like: Condition | None = None) -> Condition:
        import torch

        clap, t5 = self._parts["text_encoder"], self._parts["text_encoder_2"]
        part = self._parts["projection_model"]
        tokens = self._tokens("tokenizer", text)
        heard = clap.module.get_text_features(
            tokens.input_ids.to(clap.device), attention_mask=tokens.attention_mask.to(clap.device)
        ).pooler_output[:, None]
        tokens = self._tokens("tokenizer_2", text, None if like is None else like["text"].shape[1])
        mask = tokens.attention_mask.to(t5.device)
        states = t5.module(tokens.input_ids.to(t5.device), attention_mask=mask)[0]
        projected = part.module(
            hidden_states=heard.to(part.device, part.dtype),
            hidden_states_1=states.to(part.device, part.dtype),
            attention_mask=torch.ones(1, 1, dtype=mask.dtype, device=part.device),
            attention_mask_1=mask.to(part.device),
        )
        spoken = self._spoken(projected.hidden_states, projected.attention_mask)
        condition = {"text": states, "text_mask": mask, "spoken": spoken}
        return {key: value.to(self._device) for key, value in condition.items()}

    def _spoken(self, states: Tensor, mask: Tensor) -> Tensor:
        """The states that the language model adds, each told all before it."""
        import torch

        part = self._parts["language_model"]
        states, mask = states.to(part.device, part.dtype), mask.to(part.device)
        for _ in range(self._count):
            output = part.module(
                inputs_embeds=states, attention_mask=mask, output_hidden_states=True
            )
            states = torch.cat([states, output.hidden_states[-1][:, -1:]], dim=1)
            mask = torch.cat([mask, mask.new_ones(1, 1)], dim=1)
        return states[:, -self._count :]

    def _tokens(self, name: str, text: str, length: int | None = None) -> Any:
        """Of CLAP, as many as it knows; of T5, as many as there are, or so many."""
        tokenizer = self._parts[name].module
        window = min(tokenizer.model_max_length, LONGEST)
        pads = "max_length" if name == "tokenizer" or length is not None else False
        with ONE_AT_A_TIME:
            whole = tokenizer(text, verbose=False).input_ids
            tokens = tokenizer(
                text,
                padding=pads,
                max_length=length or window,
                truncation=True,
                return_tensors="pt",
            )
        if len(whole) > (length or window):
            message = (
                f"a text has {len(whole)} tokens where {length or window} are read: its end is "
                f"left out: {brief(text)}"
            )
            warnings.warn(message, LdmWarning, stacklevel=2)
        return tokens
