"""Stable Diffusion 1.x and 2.x, plain, for inpainting, and distilled to take guidance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts.family import Condition, Model, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.model.place import Place
from ldm_core.numerics.point import Point
from ldm_plugins.families.shared.clip_text import ClipText
from ldm_plugins.families.shared.conditioned_unet import FREE, call_unet, unet_abilities
from ldm_plugins.families.shared.diffusers_folder import (
    DiffusersFolder,
    autoencoder_factor,
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
    from torch import Tensor

PLAIN, INPAINT, LCM = (
    "StableDiffusionPipeline",
    "StableDiffusionInpaintPipeline",
    "LatentConsistencyModelPipeline",
)
STEPS_AND_SCALE = {PLAIN: (50, 7.5), INPAINT: (50, 7.5), LCM: (4, 8.5)}
# What these classes overrule in every scheduler config, as errors of old folders.
OVERRULED = {
    PLAIN: {"steps_offset": 1, "clip_sample": False},
    INPAINT: {"steps_offset": 1},
    LCM: {},
}


class StableDiffusion(DiffusersFolder):
    """Text-to-image with a UNet in the latent space of a KL-autoencoder (Rombach et al. 2022,
    arXiv:2112.10752): folders whose model_index.json says StableDiffusionPipeline,
    StableDiffusionInpaintPipeline or LatentConsistencyModelPipeline.

    What the network takes decides, not the class: one of nine channels is for inpainting and
    needs a mask, one of four is plain.
    """

    pipelines = (PLAIN, INPAINT, LCM)
    components: ClassVar = {
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("CLIPTextModel",),
        "tokenizer": ("CLIPTokenizer",),
    }

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        unet = read_json(folder / "unet" / "config.json")
        vae = read_json(folder / "vae" / "config.json")
        text_encoder = read_json(folder / "text_encoder" / "config.json")
        read_json(folder / "tokenizer" / "tokenizer_config.json")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        abilities = unet_abilities(source, unet, vae, text_encoder.get("hidden_size", 512))
        pipeline = str(index["_class_name"])
        told = "embedded_guidance" in abilities
        if pipeline == LCM and not told:
            raise LdmError(
                f"'{source}': a {LCM} has a network that is told the guidance's scale, and this "
                "one's unet/config.json has no time_cond_proj_dim."
            )
        self.check(source, folder, index)
        factor = autoencoder_factor(vae)
        width, height = latent_size(unet, 64)
        steps, scale = STEPS_AND_SCALE[pipeline]
        return ModelInfo(
            family="stable_diffusion",
            source=source,
            folder=folder,
            noise_schedule=read_schedule(scheduler),
            prediction_type=read_prediction_type(scheduler),
            latent_channels=vae.get("latent_channels", 4),
            scale_factor=factor,
            default_size=(width * factor, height * factor),
            abilities=abilities,
            needs=abilities - FREE,
            scheduler_config={**scheduler, **OVERRULED[pipeline]},
            defaults={
                "num_inference_steps": steps,
                "guidance": {"name": "embedded" if told else "classifier_free", "scale": scale},
                "conditioning": ["text", "mask"] if "inpainting" in abilities else ["text"],
                "attention": "native",
                "encoder": "autoencoder_kl",
                "decoder": "autoencoder_kl",
                **read_defaults({**scheduler, **OVERRULED[pipeline]}),
            },
        )

    def build(self, info: ModelInfo, components: Mapping[str, Any], place: Place) -> Model:
        dtype = place.compute_dtype
        unet = components["unet"]

        def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
            return call_unet(unet, dtype, x, point, condition)

        text = ClipText(components["text_encoder"], components["tokenizer"])
        abilities = {
            "text": text,
            "control": SideNetworks(place),
            "image_prompt": ImagePrompts(place),
        }
        return Model(info, network, abilities, components, place)
