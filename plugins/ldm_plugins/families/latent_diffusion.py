"""Latent diffusion without text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ldm_core.contracts import Model, ModelInfo, Part, Place
from ldm_plugins.families.shared import unet_2d
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.scheduler_config import read_scheduler


class LatentDiffusion(DiffusersFolder):
    """Latents of a vector-quantised autoencoder drawn by a UNet, unconditional or by class (Rombach
    et al. 2022, arXiv:2112.10752): folders whose model_index.json says LDMPipeline."""

    pipelines = ("LDMPipeline",)
    components: ClassVar = {
        "unet": Component(("UNet2DModel",), "network"),
        "vqvae": Component(("VQModel",), "autoencoder"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        return unet_2d.describe(
            folder, "latent_diffusion", read_scheduler(folder.scheduler), steps=50
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        return unet_2d.build(info, parts, place)
