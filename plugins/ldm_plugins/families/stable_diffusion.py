"""Stable Diffusion 1.x and 2.x, plain, for inpainting, and distilled to take guidance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Model, ModelInfo, Part, Place
from ldm_plugins.families.shared.clip_text import ClipText
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.conditioned_unet import FREE, call_unet, unet_abilities
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.image_prompts import ImagePrompts
from ldm_plugins.families.shared.scheduler_config import read_scheduler
from ldm_plugins.families.shared.side_networks import SideNetworks

if TYPE_CHECKING:
    from torch import Tensor

PLAIN, INPAINT, LCM = (
    "StableDiffusionPipeline",
    "StableDiffusionInpaintPipeline",
    "LatentConsistencyModelPipeline",
)
AUTOENCODERS = (
    "AutoencoderKL",
    "AutoencoderTiny",
    "AsymmetricAutoencoderKL",
    "ConsistencyDecoderVAE",
)
"""Those that decode its latents."""
CONTROLNET = "StableDiffusionControlNet"
STEPS_AND_SCALE = {
    PLAIN: (50, 7.5),
    INPAINT: (50, 7.5),
    LCM: (4, 8.5),
    "StableDiffusionImg2ImgPipeline": (50, 7.5),
    "LatentConsistencyModelImg2ImgPipeline": (4, 8.5),
    f"{CONTROLNET}Pipeline": (50, 7.5),
    f"{CONTROLNET}Img2ImgPipeline": (50, 7.5),
    f"{CONTROLNET}InpaintPipeline": (50, 7.5),
    f"{CONTROLNET}PAGPipeline": (50, 7.5),
    f"{CONTROLNET}PAGInpaintPipeline": (50, 7.5),
    "StableDiffusionAdapterPipeline": (50, 7.5),
    "StableDiffusionPAGPipeline": (50, 7.5),
    "StableDiffusionPAGImg2ImgPipeline": (50, 7.5),
    "StableDiffusionPAGInpaintPipeline": (50, 7.5),
}
"""What each class that Diffusers may have saved such a model from takes where nothing is chosen."""
BOTH: Mapping[str, Any] = {"steps_offset": 1, "clip_sample": False}
OVERRULED: Mapping[str, Mapping[str, Any]] = {
    PLAIN: BOTH,
    INPAINT: {"steps_offset": 1, "skip_prk_steps": True},
    "StableDiffusionImg2ImgPipeline": BOTH,
    "StableDiffusionPAGPipeline": BOTH,
    "StableDiffusionPAGImg2ImgPipeline": BOTH,
    "StableDiffusionPAGInpaintPipeline": BOTH,
}
"""What these classes overrule in every scheduler config, as errors of old folders."""


class StableDiffusion(DiffusersFolder):
    """Text-to-image with a UNet in the latent space of a KL-autoencoder (Rombach et al. 2022,
    arXiv:2112.10752): folders whose model_index.json says StableDiffusionPipeline,
    LatentConsistencyModelPipeline, or a class of theirs for another task.

    What the network takes decides, not the class: one of nine channels is for inpainting and
    needs a mask, one of four is plain.
    """

    pipelines = tuple(STEPS_AND_SCALE)
    components: ClassVar = {
        "unet": Component(("UNet2DConditionModel",), "network"),
        "vae": Component(AUTOENCODERS, "autoencoder"),
        "text_encoder": Component(("CLIPTextModel",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
    }

    def matches(self, index: Mapping[str, Any]) -> bool:
        return super().matches(index) and "motion_adapter" not in index

    def describe(self, folder: Folder) -> ModelInfo:
        abilities = unet_abilities(folder, folder.config("text_encoder").get("hidden_size", 512))
        guided = "guidance_embeds" in abilities
        if folder.pipeline.startswith("LatentConsistencyModel") and not guided:
            raise folder.error(
                f"a {folder.pipeline} has a network that is told the guidance's scale, and this "
                "one's unet/config.json has no time_cond_proj_dim."
            )
        steps, scale = STEPS_AND_SCALE[folder.pipeline]
        return folder.info(
            "stable_diffusion",
            read_scheduler(folder.scheduler, OVERRULED.get(folder.pipeline, {})),
            channels=folder.latent_channels,
            sample=sample_size(folder.config("unet"), 64),
            steps=steps,
            guidance={"name": "embedded" if guided else "classifier_free", "scale": scale},
            abilities=abilities,
            needs=abilities - FREE,
            conditioning=["text", "mask"] if "inpainting" in abilities else ["text"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        unet = parts["unet"]

        def network(call: Call) -> Tensor:
            return call_unet(unet, call)

        abilities = {
            "text": ClipText(parts["text_encoder"], parts["tokenizer"].module, unet.device),
            "control": SideNetworks(place),
            "image_prompt": ImagePrompts(place, unet.device),
        }
        return Model(info, network, abilities, parts, place)
