"""Diffusion on pixels, without an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ldm_core.contracts import Model, ModelInfo, Part, Place
from ldm_plugins.families.shared import unet_2d
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.scheduler_config import read_scheduler


class DDPM(DiffusersFolder):
    """Pixels drawn by a UNet, unconditional or by class (Ho et al. 2020, arXiv:2006.11239): folders
    whose model_index.json says DDPMPipeline or DDIMPipeline."""

    pipelines = ("DDPMPipeline", "DDIMPipeline")
    components: ClassVar = {"unet": Component(("UNet2DModel",), "network")}

    def describe(self, folder: Folder) -> ModelInfo:
        scheduler, steps = folder.scheduler, 1000
        if folder.pipeline == "DDIMPipeline":  # it runs DDIM whatever scheduler its folder names
            scheduler, steps = {**scheduler, "_class_name": "DDIMScheduler"}, 50
        return unet_2d.describe(folder, "ddpm", read_scheduler(scheduler), steps)

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        return unet_2d.build(info, parts, place)
