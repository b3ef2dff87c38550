"""Stable Audio 3."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, LatentSpace, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.contracts.latents import Axis
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.scheduler_config import FolderScheduler
from ldm_plugins.families.shared.t5_text import T5Text
from ldm_plugins.families.shared.weight_norm import with_plain_weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW = 256  # tokens
SECONDS = 10.0
"""What Diffusers' pipeline makes where nothing is chosen."""
TRAINED = 1000
"""Timesteps of the noise schedule here; the network's own are as many as its scheduler says."""


INPAINT = "StableAudio3InpaintPipeline"


class StableAudio3(DiffusersFolder):
    """Sound of text with a rectified-flow transformer of differential attention that is told how
    long the sound is and may hear the rest of one (arXiv:2605.17991): folders of
    StableAudio3Pipeline, StableAudio3AudioToAudioPipeline and StableAudio3InpaintPipeline,
    distilled, which draw noise anew at each step, or not."""

    pipelines = ("StableAudio3Pipeline", "StableAudio3AudioToAudioPipeline", INPAINT)
    components: ClassVar = {
        "transformer": Component(("StableAudio3DiTModel",), "network"),
        "vae": Component(("AutoencoderSAME",), "autoencoder"),
        "text_encoder": Component(("T5GemmaEncoderModel",), "text"),
        "tokenizer": Component(("GemmaTokenizer",), "other"),
        "duration_embedder": Component(("StableAudio3DurationEmbedder",), "text"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer, vae = folder.config("transformer"), folder.config("vae")
        channels = vae.get("latent_dim", 256)
        takes = transformer.get("io_channels", 256)
        if takes != channels:
            raise folder.error(
                f"the network takes {takes} channels and the autoencoder gives {channels}."
            )
        text = (folder.config("text_encoder").get("encoder") or {}).get("hidden_size", 2304)
        folder.check_width(transformer.get("cond_token_dim", 768), text, "T5Gemma")
        length = transformer.get("global_cond_dim", 768)
        gives = folder.config("duration_embedder").get("output_dim", 768)
        if length != gives or gives != text:
            raise folder.error(
                f"the network takes {length} numbers for how long the sound is, and text states of "
                f"width {text}, beside which these stand; the duration_embedder gives {gives}."
            )
        rate = float(vae.get("sampling_rate", 44100))
        hop = vae.get("patch_size", 256) * math.prod(vae.get("encoder_strides", [16]))
        hears = transformer.get("local_add_cond_dim", 257) == channels + 1
        masked = ["masked_audio"] if hears and transformer.get("patch_size", 1) == 1 else []
        if folder.pipeline == INPAINT and not masked:
            raise folder.error(
                f"its network should be told {channels + 1} numbers of each place of a sound "
                "(local_add_cond_dim), and tokens of one place each (patch_size)."
            )
        told = ["text", "duration"]
        distilled = bool(folder.scheduler.get("stochastic_sampling", False))
        return folder.info(
            "stable_audio_3",
            _scheduler(folder, distilled),
            channels=channels,
            sample=(math.ceil(SECONDS * rate / hop),),
            latents=LatentSpace(
                channels, (Axis("samples", hop, unit=transformer.get("patch_size", 1)),)
            ),
            steps=8 if distilled else 100,
            guidance="none",
            abilities=[*told, *masked],
            needs=frozenset(told),
            conditioning=[*told, *masked] if folder.pipeline == INPAINT else told,
            rate=rate,
            audio_channels=vae.get("audio_channels", 2),
        )

    def prepare(self, name: str, part: Part, place: Place) -> Part:
        return with_plain_weights(part) if name == "vae" else part

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        said = read_json(info.folder / "scheduler" / "scheduler_config.json")
        counts = said.get("num_train_timesteps", TRAINED) / TRAINED

        def network(call: Call) -> Tensor:
            condition = call.condition
            seconds = condition["seconds"].to(device, dtype)
            mask, rest = condition["text_mask"].to(device), condition.get("rest")
            output: Tensor = transformer.module(
                call.x.to(device, dtype),
                (call.t * counts).to(device),
                torch.cat([condition["text"].to(device, dtype), seconds[:, None]], dim=1),
                seconds,
                torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1),
                local_add_cond=rest if rest is None else rest.to(device, dtype),
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        t5 = T5Text(parts["text_encoder"], parts["tokenizer"].module, WINDOW)
        abilities: dict[str, Any] = {
            "text": T5GemmaText(t5, device),
            "duration": Seconds(parts["duration_embedder"], device),
            "masked_audio": TheRest(device),
        }
        return Model(info, network, abilities, parts, place)


def _scheduler(folder: Folder, distilled: bool) -> FolderScheduler:
    """The folder's, on a flow of `TRAINED` timesteps: one that draws noise anew at each step goes
    straight to each estimate, as consistency models do."""
    config = folder.scheduler
    counted = {**config, "num_train_timesteps": TRAINED}
    plain = {**counted, "stochastic_sampling": False}
    read = read_flow_scheduler(plain, base="flow_log_snr", patch=1)
    if config.get("use_dynamic_shifting"):
        raise folder.error("its scheduler says use_dynamic_shifting, which its pipeline never has.")
    recipe = dict(read.recipe)
    if distilled:
        recipe["scheduler"] = {"name": "consistency", "sigma_min": 1e-8}
    return replace(read, config=counted, recipe=recipe)


class T5GemmaText(TextAbility):
    """T5Gemma's states, key ``text``, and which of them are words, key ``text_mask``: the network
    reads a state of its own in the place of the others.

    Args:
        device: where the condition goes.
    """

    def __init__(self, t5: T5Text, device: torch.device) -> None:
        self._t5 = t5
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, window)."""
        states, mask = self._t5.masked_states(texts)
        return {"text": states.to(self._device), "text_mask": mask.to(self._device)}

    def overflow(self, text: str) -> str:
        return self._t5.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        return {"text": self._t5.spans(text)}


class TheRest:
    """Which places of a sound stay, and its latents there, key ``rest`` (batch, 1 + channels,
    places)."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def encode(self, latents: Tensor, keep: Tensor) -> Condition:
        import torch

        return {"rest": torch.cat([keep, latents * keep], dim=1).to(self._device)}


class Seconds:
    """How long the sound is, key ``seconds`` (batch, width)."""

    def __init__(self, embedder: Part, device: torch.device) -> None:
        self._embedder = embedder
        self._device = device

    def encode(self, spans: Sequence[tuple[float, float]]) -> Condition:
        import torch

        part = self._embedder
        low, high = (part.module.config[key] for key in ("min_val", "max_val"))
        for start, total in spans:
            if start:
                raise LdmError(
                    "this model makes a sound from its beginning; leave seconds_start out."
                )
            if not low <= total <= high:
                raise LdmError(
                    f"this model knows sounds of {low:g} to {high:g} seconds, not {total:g}."
                )
        totals = torch.tensor([total for _, total in spans], device=part.device)
        return {"seconds": part.module(totals).to(self._device)}
