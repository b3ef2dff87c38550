"""PixArt-alpha and PixArt-sigma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts.abilities import Sizes
from ldm_core.contracts.family import Condition, Model, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.files import read_index, read_json
from ldm_core.model.place import Place
from ldm_core.numerics.point import Point
from ldm_plugins.families.shared.diffusers_folder import (
    DiffusersFolder,
    autoencoder_factor,
    latent_size,
)
from ldm_plugins.families.shared.scheduler_config import (
    read_defaults,
    read_prediction_type,
    read_schedule,
)
from ldm_plugins.families.shared.t5_text import T5Text, check_tokenizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOWS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}
"""T5 tokens that each network takes."""
MICRO_CONDITIONS = ("resolution", "aspect_ratio")


class PixArt(DiffusersFolder):
    """Text-to-image with a diffusion transformer that reads T5 (Chen et al. 2023, arXiv:2310.00426,
    and 2024, arXiv:2403.04692): folders of PixArtAlphaPipeline and PixArtSigmaPipeline."""

    pipelines = tuple(WINDOWS)
    components: ClassVar = {
        # alpha's folders name the network by the class that it has left since
        "transformer": ("PixArtTransformer2DModel", "Transformer2DModel"),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("T5EncoderModel",),
        "tokenizer": ("T5Tokenizer",),
    }

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        transformer = read_json(folder / "transformer" / "config.json")
        vae = read_json(folder / "vae" / "config.json")
        t5 = read_json(folder / "text_encoder" / "config.json")
        check_tokenizer(folder / "tokenizer")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        channels = transformer.get("in_channels", 4)
        if channels != vae.get("latent_channels", 4):
            raise LdmError(
                f"'{source}': the network takes {channels} channels and the autoencoder gives "
                f"{vae.get('latent_channels', 4)}; only plain text-to-image models are known."
            )
        returned = transformer.get("out_channels", 8) or channels
        if returned not in (channels, 2 * channels):
            raise LdmError(
                f"'{source}': the network returns {returned} channels; {channels} were expected, "
                f"or {2 * channels} with a variance."
            )
        width = transformer.get("caption_channels") or transformer.get("cross_attention_dim", 1152)
        if width != t5.get("d_model", 512):
            raise LdmError(
                f"'{source}': the network takes text states of width {width}, and T5 gives "
                f"{t5.get('d_model', 512)}."
            )
        self.check(source, folder, index)
        factor = autoencoder_factor(vae)
        wide, high = latent_size(transformer, 128)
        abilities = ["text", "size"] if _told_sizes(transformer) else ["text"]
        return ModelInfo(
            family="pixart",
            source=source,
            folder=folder,
            noise_schedule=read_schedule(scheduler),
            prediction_type=read_prediction_type(scheduler),
            latent_channels=channels,
            scale_factor=factor,
            default_size=(wide * factor, high * factor),
            abilities=frozenset(abilities),
            defaults={
                "num_inference_steps": 20,
                "guidance": {"name": "classifier_free", "scale": 4.5},
                "conditioning": abilities,
                "attention": "native",
                "encoder": "autoencoder_kl",
                "decoder": "autoencoder_kl",
                **read_defaults(scheduler),
            },
            learned_variance=returned == 2 * channels,
            patch=transformer.get("patch_size", 2),
            needs=frozenset(abilities),
            scheduler_config=scheduler,
        )

    def build(self, info: ModelInfo, components: Mapping[str, Any], place: Place) -> Model:
        import torch

        dtype = place.compute_dtype
        transformer = components["transformer"]

        def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
            output: Tensor = transformer(
                x.to(dtype),
                encoder_hidden_states=condition["text"].to(dtype),
                encoder_attention_mask=condition["text_mask"],
                timestep=torch.full((len(x),), point.t, device=x.device),
                added_cond_kwargs={key: condition.get(key) for key in MICRO_CONDITIONS},
                return_dict=False,
            )[0]
            return output.float()

        window = WINDOWS[read_index(info.folder)["_class_name"]]
        text = PixArtText(T5Text(components["text_encoder"], components["tokenizer"], window))
        able = {"text": text, "size": MicroConditioning(place.device)}
        abilities = {name: able[name] for name in info.abilities}
        return Model(info, network, abilities, components, place)


def _told_sizes(transformer: Mapping[str, Any]) -> bool:
    """Whether the network takes micro-conditions; folders that do not say do at 1024 pixels."""
    said = transformer.get("use_additional_conditions")
    return bool(said) if said is not None else transformer.get("sample_size", 128) == 128


class MicroConditioning:
    """Sizes as the network's conditions: ``resolution``, of the original picture, and
    ``aspect_ratio``, of what was cut out of it (after Podell et al. 2023, arXiv:2307.01952,
    Section 2.2)."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def encode(self, sizes: Sequence[Sizes]) -> Condition:
        """(pictures, 2) height and width, and (pictures, 1) height over width, float32."""
        import torch

        resolution = torch.tensor([s.original for s in sizes], dtype=torch.float32)
        ratio = torch.tensor([[s.target[0] / s.target[1]] for s in sizes], dtype=torch.float32)
        found = zip(MICRO_CONDITIONS, (resolution, ratio), strict=True)
        return {key: value.to(self._device) for key, value in found}


class PixArtText:
    """T5's states, key ``text``, and which of them are words, key ``text_mask``; in small
    letters, as the networks were trained on."""

    side_by_side = True

    def __init__(self, t5: T5Text) -> None:
        self._t5 = t5

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, window)."""
        states, mask = self._t5.masked_states([_plain(text or "") for text in texts])
        return {"text": states, "text_mask": mask}

    def overflow(self, text: str) -> str:
        return self._t5.overflow(_plain(text))

    def tokens(self, text: str) -> Mapping[str, Sequence[tuple[int, int]]]:
        ahead = len(text) - len(text.lstrip())
        found = self._t5.spans(_plain(text))
        spans = [(start + ahead, end + ahead) for start, end in found]
        return {"text": spans, "text_mask": spans}


def _plain(text: str) -> str:
    return text.lower().strip()
