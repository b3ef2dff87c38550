"""Stable Diffusion XL: base, refiner and inpainting."""

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
from ldm_plugins.families.shared.clip_text import ClipEncoder, ClipTexts
from ldm_plugins.families.shared.conditioned_unet import FREE, call_unet, unet_abilities
from ldm_plugins.families.shared.diffusers_folder import (
    DiffusersFolder,
    autoencoder_factor,
    class_of,
    latent_size,
)
from ldm_plugins.families.shared.image_prompts import ImagePrompts
from ldm_plugins.families.shared.scheduler_config import (
    read_defaults,
    read_prediction_type,
    read_schedule,
)
from ldm_plugins.families.shared.side_networks import SideNetworks

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SCALES = {
    "StableDiffusionXLPipeline": 5.0,
    "StableDiffusionXLImg2ImgPipeline": 5.0,
    "StableDiffusionXLInpaintPipeline": 7.5,
}


class StableDiffusionXL(DiffusersFolder):
    """Text-to-image with two text encoders, told of sizes (Podell et al. 2023, arXiv:2307.01952):
    folders whose model_index.json says StableDiffusionXLPipeline, or Img2Img or Inpaint in it.

    The refiner, which has the second text encoder alone and is told an aesthetic score, is such a
    model too. What the network takes decides, not the class: one of nine channels is for
    inpainting and needs a mask.
    """

    pipelines = tuple(SCALES)
    components: ClassVar = {
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("CLIPTextModel",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "tokenizer": ("CLIPTokenizer",),
        "tokenizer_2": ("CLIPTokenizer",),
    }
    optional = frozenset({"text_encoder", "tokenizer"})

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        unet = read_json(folder / "unet" / "config.json")
        vae = read_json(folder / "vae" / "config.json")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        self.check(source, folder, index)
        present = [n for n in ("text_encoder", "text_encoder_2") if class_of(index, n)]
        texts = [read_json(folder / name / "config.json") for name in present]
        for name in present:
            tokenizer = name.replace("text_encoder", "tokenizer")
            if class_of(index, tokenizer) is None:
                raise LdmError(f"'{source}': model_index.json has a {name} and no {tokenizer}.")
            read_json(folder / tokenizer / "tokenizer_config.json")
        abilities = {
            *unet_abilities(source, unet, vae, sum(t.get("hidden_size", 512) for t in texts)),
            "size",
        }
        if index.get("requires_aesthetics_score"):
            abilities.add("aesthetic_score")
        _check_added(source, unet, texts[-1], scored="aesthetic_score" in abilities)
        factor = autoencoder_factor(vae)
        width, height = latent_size(unet, 128)
        told = "embedded_guidance" in abilities
        return ModelInfo(
            family="stable_diffusion_xl",
            source=source,
            folder=folder,
            noise_schedule=read_schedule(scheduler),
            prediction_type=read_prediction_type(scheduler),
            latent_channels=vae.get("latent_channels", 4),
            scale_factor=factor,
            default_size=(width * factor, height * factor),
            abilities=frozenset(abilities),
            needs=frozenset(abilities - FREE - {"aesthetic_score"}),
            scheduler_config=scheduler,
            defaults={
                "num_inference_steps": 50,
                "guidance": {
                    "name": "embedded" if told else "classifier_free",
                    "scale": SCALES[str(index["_class_name"])],
                },
                "conditioning": ["text", "size", *(["mask"] if "inpainting" in abilities else [])],
                "attention": "native",
                "encoder": "autoencoder_kl",
                "decoder": "autoencoder_kl",
                **read_defaults(scheduler),
            },
        )

    def build(self, info: ModelInfo, components: Mapping[str, Any], place: Place) -> Model:
        import torch

        dtype = place.compute_dtype
        unet, vae = components["unet"], components["vae"]
        if dtype == torch.float16 and vae.config.force_upcast:
            vae.float()  # this autoencoder's activations overflow in float16

        def added(condition: Condition) -> Mapping[str, Tensor]:
            told = condition["size"]
            if "aesthetic_score" in condition:
                told = torch.cat([told, condition["aesthetic_score"][:, None]], dim=1)
            return {"text_embeds": condition["pooled"].to(dtype), "time_ids": told}

        def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
            return call_unet(unet, dtype, x, point, condition, added(condition))

        encoders = [
            ClipEncoder(components[f"text_encoder{n}"], components[f"tokenizer{n}"])
            for n in ("", "_2")
            if f"text_encoder{n}" in components
        ]
        zeros = bool(read_index(info.folder).get("force_zeros_for_empty_prompt", True))
        abilities = {
            "text": ClipTexts(encoders, zeros),
            "size": MicroConditioning(place.device, "aesthetic_score" in info.abilities),
            "control": SideNetworks(place, added),
            "image_prompt": ImagePrompts(place),
        }
        return Model(info, network, abilities, components, place)


class MicroConditioning:
    """Sizes as the network's condition ``size`` (Podell et al. 2023, Section 2.2).

    Args:
        scored: an aesthetic score, which another key has, stands in the target's place.
    """

    def __init__(self, device: torch.device, scored: bool) -> None:
        self._device = device
        self._scored = scored

    def encode(self, sizes: Sequence[Sizes]) -> Condition:
        """(pictures, 6), or (pictures, 4) with a score: original size, crop and target size."""
        import torch

        rows = [(*s.original, *s.crop, *(() if self._scored else s.target)) for s in sizes]
        # float32 in every dtype: sizes such as 1023 have no bfloat16
        return {"size": torch.tensor(rows, dtype=torch.float32, device=self._device)}


def _check_added(
    source: str, unet: Mapping[str, Any], text: Mapping[str, Any], scored: bool
) -> None:
    """See that the network expects the summary of the text and as many numbers as it is told."""
    numbers = 5 if scored else 6
    each, summary = unet.get("addition_time_embed_dim") or 0, text.get("projection_dim", 512)
    expected = unet.get("projection_class_embeddings_input_dim")
    if unet.get("addition_embed_type") != "text_time" or expected != numbers * each + summary:
        raise LdmError(
            f"'{source}': the network takes {expected} values beside the time, of the kind "
            f"{unet.get('addition_embed_type')}, where {numbers} sizes of {each} and a text "
            f"summary of {summary} make {numbers * each + summary} of the kind text_time.",
            "requires_aesthetics_score in model_index.json says whether one size is a score.",
        )
