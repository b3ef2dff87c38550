"""Stable Audio Open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, LatentSpace, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.contracts.latents import Axis
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.values import is_whole
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.cosine_scheduler_config import read_cosine_scheduler
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.edm import sigmas
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.t5_text import T5Text
from ldm_plugins.families.shared.weight_norm import with_plain_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LONGEST = 4096  # tokens; a tokenizer without a window of its own says a far larger number


class StableAudio(DiffusersFolder):
    """Sound of text with a diffusion transformer that is told how long it is (Evans et al. 2024,
    arXiv:2407.14358), preconditioned as EDM's: folders of StableAudioPipeline."""

    pipelines = ("StableAudioPipeline",)
    components: ClassVar = {
        "transformer": Component(("StableAudioDiTModel",), "network"),
        "vae": Component(("AutoencoderOobleck",), "autoencoder"),
        "text_encoder": Component(("T5EncoderModel",), "text"),
        "tokenizer": Component(("T5Tokenizer",), "other"),
        "projection_model": Component(("StableAudioProjectionModel",), "text"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer, vae = folder.config("transformer"), folder.config("vae")
        channels = vae.get("decoder_input_channels", 64)
        takes, gives = transformer.get("in_channels", 64), transformer.get("out_channels", 64)
        if takes != channels or gives != channels:
            raise folder.error(
                f"the network takes {takes} channels and returns {gives}; the autoencoder's "
                f"latents have {channels}."
            )
        projection = folder.config("projection_model")
        reads = projection.get("text_encoder_dim")
        width = folder.config("text_encoder").get("d_model", 512)
        if reads != width:
            raise folder.error(
                f"the projection takes text states of width {reads}, and T5 gives {width}."
            )
        width = projection.get("conditioning_dim", 0)
        text = transformer.get("cross_attention_input_dim", 768)
        whole = transformer.get("global_states_input_dim", 1536)
        if (text, whole) != (width, 2 * width):
            raise folder.error(
                f"the network takes states of width {text}, and {whole} numbers for the two times; "
                f"the projection gives {width}, and so {2 * width}."
            )
        window_of(folder.path, folder.source)
        places = transformer.get("sample_size", 1024)
        hop = math.prod(vae.get("downsampling_ratios", [2, 4, 4, 8, 8]))
        conditioning = ["text", "duration"]
        return folder.info(
            "stable_audio",
            read_cosine_scheduler(folder.scheduler),
            channels=channels,
            sample=(places,),
            latents=LatentSpace(channels, (Axis("samples", hop, most=places),)),
            steps=100,
            guidance={"name": "classifier_free", "scale": 7.0},
            abilities=conditioning,
            needs=frozenset(conditioning),
            conditioning=conditioning,
            rate=float(vae.get("sampling_rate", 44100)),
            audio_channels=vae.get("audio_channels", 2),
        )

    def prepare(self, name: str, part: Part, place: Place) -> Part:
        return with_plain_weights(part) if name == "vae" else part

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch
        from diffusers.models.embeddings import get_1d_rotary_pos_embed

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        turned = transformer.module.config.attention_head_dim // 2

        def network(call: Call) -> Tensor:
            """v, brought from the network's own scale to that of x (Karras et al. 2022,
            arXiv:2206.00364, Table 1, with c_noise = 2·atan(sigma)/pi)."""
            condition = call.condition
            sigma = sigmas(call, info.noise_schedule)
            length = (1 + sigma**2).sqrt().view(-1, 1, 1)
            start, total = (condition[key] for key in ("seconds_start", "seconds_total"))
            states = torch.cat([condition["text"], start, total], dim=1)
            states = states * condition["text_said"][:, None, None].to(states)
            output: Tensor = transformer.module(
                (call.x / length).to(device, dtype),
                (sigma.atan() / math.pi * 2).to(device),
                encoder_hidden_states=states.to(device, dtype),
                global_hidden_states=torch.cat([start, total], dim=2).to(device, dtype),
                rotary_embedding=get_1d_rotary_pos_embed(
                    turned,
                    torch.arange(call.x.shape[2] + 1, device=device),
                    use_real=True,
                    repeat_interleave_real=False,
                ),
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32) * length

        projection = parts["projection_model"]
        window = window_of(info.folder, info.source)
        t5 = T5Text(parts["text_encoder"], parts["tokenizer"].module, window)
        abilities: dict[str, Any] = {
            "text": StableAudioText(t5, projection, device),
            "duration": Seconds(projection, device),
        }
        return Model(info, network, abilities, parts, place)


def window_of(folder: Path, source: str) -> int:
    """How many tokens the network takes, which its tokenizer says.

    Raises:
        LdmError: it does not.
    """
    file = folder / "tokenizer" / "tokenizer_config.json"
    window: Any = read_json(file).get("model_max_length")
    if not is_whole(window) or not 1 <= window <= LONGEST:
        raise LdmError(
            f"'{source}': {file.name} should say as model_max_length how many tokens the network "
            f"takes, such as 128, not {window!r}."
        )
    return int(window)


class StableAudioText(TextAbility):
    """T5's states of the words as the network reads them, key ``text`` (batch, window, width), zero
    where there are no words, and whether there is a text at all, key ``text_said`` (batch,):
    guidance without a negative prompt leads away from no states.

    Args:
        device: where the condition goes.
    """

    def __init__(self, t5: T5Text, projection: Part, device: torch.device) -> None:
        self._t5 = t5
        self._projection = projection
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        import torch

        part = self._projection
        states, mask = self._t5.masked_states(texts)
        states = part.module(text_hidden_states=states.to(part.device, part.dtype))[0]
        states = states * mask.unsqueeze(-1).to(states)
        said = torch.tensor([text is not None for text in texts], dtype=torch.float32)
        return {"text": states.to(self._device), "text_said": said.to(self._device)}

    def overflow(self, text: str) -> str:
        return self._t5.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        return {"text": self._t5.spans(text)}


class Seconds:
    """Where the sound begins and ends, keys ``seconds_start`` and ``seconds_total``, both (batch,
    1, width)."""

    def __init__(self, projection: Part, device: torch.device) -> None:
        self._projection = projection
        self._device = device

    def encode(self, spans: Sequence[tuple[float, float]]) -> Condition:
        import torch

        part = self._projection
        low, high = (part.module.config[key] for key in ("min_value", "max_value"))
        for value in (seconds for span in spans for seconds in span):
            if not low <= value <= high:
                raise LdmError(
                    f"this model knows times from {low:g} to {high:g} seconds, not {value:g}."
                )
        starts, totals = torch.tensor(spans, dtype=torch.float32, device=part.device).T
        output = part.module(start_seconds=starts, end_seconds=totals)
        return {
            "seconds_start": output.seconds_start_hidden_states.to(self._device),
            "seconds_total": output.seconds_end_hidden_states.to(self._device),
        }
