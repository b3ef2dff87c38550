"""Stable Diffusion XL: base, refiner and inpainting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Sizes
from ldm_core.model.files import read_index
from ldm_plugins.families.shared.clip_text import ClipEncoder, ClipTexts
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.conditioned_unet import FREE, call_unet, unet_abilities
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.image_prompts import ImagePrompts
from ldm_plugins.families.shared.scheduler_config import read_scheduler
from ldm_plugins.families.shared.side_networks import SideNetworks

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CONTROLNET = "StableDiffusionXLControlNet"
SCALES = {
    "StableDiffusionXLPipeline": 5.0,
    "StableDiffusionXLImg2ImgPipeline": 5.0,
    "StableDiffusionXLInpaintPipeline": 7.5,
    f"{CONTROLNET}Pipeline": 5.0,
    f"{CONTROLNET}Img2ImgPipeline": 5.0,
    f"{CONTROLNET}InpaintPipeline": 5.0,
    f"{CONTROLNET}PAGPipeline": 5.0,
    f"{CONTROLNET}PAGImg2ImgPipeline": 5.0,
    f"{CONTROLNET}UnionPipeline": 5.0,
    f"{CONTROLNET}UnionImg2ImgPipeline": 5.0,
    f"{CONTROLNET}UnionInpaintPipeline": 5.0,
    "StableDiffusionXLAdapterPipeline": 5.0,
    "StableDiffusionXLPAGPipeline": 5.0,
    "StableDiffusionXLPAGImg2ImgPipeline": 5.0,
    "StableDiffusionXLPAGInpaintPipeline": 7.5,
}
"""The scale that each class takes that Diffusers may have saved such a model from."""
ENCODERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}


class StableDiffusionXL(DiffusersFolder):
    """Text-to-image with two text encoders, told of sizes (Podell et al. 2023, arXiv:2307.01952):
    folders whose model_index.json says StableDiffusionXLPipeline, or a class of its for another
    task.

    The refiner, which has the second text encoder alone and is told an aesthetic score, is such a
    model too. What the network takes decides, not the class: one of nine channels is for
    inpainting and needs a mask.
    """

    pipelines = tuple(SCALES)
    components: ClassVar = {
        "unet": Component(("UNet2DConditionModel",), "network"),
        "vae": Component(("AutoencoderKL", "AutoencoderTiny"), "autoencoder"),
        "text_encoder": Component(("CLIPTextModel",), "text", optional=True),
        "text_encoder_2": Component(("CLIPTextModelWithProjection",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other", optional=True),
        "tokenizer_2": Component(("CLIPTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        texts = []
        for encoder, tokenizer in ENCODERS.items():
            if folder.class_of(encoder) is None:
                continue
            if folder.class_of(tokenizer) is None:
                raise folder.error(f"model_index.json has a {encoder} and no {tokenizer}.")
            texts.append(folder.config(encoder))
        width = sum(text.get("hidden_size", 512) for text in texts)
        abilities = {*unet_abilities(folder, width), "size"}
        if len(texts) > 1:
            abilities.add("prompt_2")
        if folder.index.get("requires_aesthetics_score"):
            abilities.add("aesthetic_score")
        _check_added(folder, texts[-1], scored="aesthetic_score" in abilities)
        guidance = "embedded" if "guidance_embeds" in abilities else "classifier_free"
        return folder.info(
            "stable_diffusion_xl",
            read_scheduler(folder.scheduler),
            channels=folder.latent_channels,
            sample=sample_size(folder.config("unet"), 128),
            steps=50,
            guidance={"name": guidance, "scale": SCALES[folder.pipeline]},
            abilities=abilities,
            needs=frozenset(abilities - FREE - {"aesthetic_score"}),
            conditioning=["text", "size", *(["mask"] if "inpainting" in abilities else [])],
        )

    def prepare(self, name: str, part: Part, place: Place) -> Part:
        import torch

        half = place.compute_dtype == torch.float16
        if name == "vae" and half and part.module.config.force_upcast:
            # this autoencoder's activations overflow in float16
            return replace(part, module=part.module.float(), dtype=torch.float32)
        return part

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        unet = parts["unet"]

        def added(condition: Condition, part: Part) -> Mapping[str, Tensor]:
            numbers = condition["size"]
            if "aesthetic_score" in condition:
                numbers = torch.cat([numbers, condition["aesthetic_score"][:, None]], dim=1)
            pooled = condition["pooled"].to(part.device, part.dtype)
            return {"text_embeds": pooled, "time_ids": numbers.to(part.device)}

        def network(call: Call) -> Tensor:
            return call_unet(unet, call, added(call.condition, unet))

        encoders = [
            ClipEncoder(parts[encoder], parts[tokenizer].module)
            for encoder, tokenizer in ENCODERS.items()
            if encoder in parts
        ]
        zeros = bool(read_index(info.folder).get("force_zeros_for_empty_prompt", True))
        abilities = {
            "text": ClipTexts(encoders, zeros, unet.device),
            "size": MicroConditioning(unet.device, "aesthetic_score" in info.abilities),
            "control": SideNetworks(place, added),
            "image_prompt": ImagePrompts(place, unet.device),
        }
        return Model(info, network, abilities, parts, place)


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


def _check_added(folder: Folder, text: Mapping[str, Any], scored: bool) -> None:
    """See that the network expects the summary of the text and as many numbers as it is told."""
    unet, numbers = folder.config("unet"), 5 if scored else 6
    each, summary = unet.get("addition_time_embed_dim") or 0, text.get("projection_dim", 512)
    expected = unet.get("projection_class_embeddings_input_dim")
    if unet.get("addition_embed_type") != "text_time" or expected != numbers * each + summary:
        raise folder.error(
            f"the network takes {expected} values beside the time, of the kind "
            f"{unet.get('addition_embed_type')}, where {numbers} sizes of {each} and a text "
            f"summary of {summary} make {numbers * each + summary} of the kind text_time.",
            "requires_aesthetics_score in model_index.json says whether one size is a score.",
        )
