"""Diffusion on pixels, without an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ldm_core.contracts.family import Model, ModelInfo
from ldm_core.model.files import read_json
from ldm_core.model.place import Place
from ldm_plugins.families.shared import unet_2d
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.scheduler_config import (
    read_defaults,
    read_prediction_type,
    read_schedule,
)


class DDPM(DiffusersFolder):
    """Pixels drawn by a UNet, unconditional or by class (Ho et al. 2020, arXiv:2006.11239): folders
    whose model_index.json says DDPMPipeline or DDIMPipeline."""

    pipelines = ("DDPMPipeline", "DDIMPipeline")
    components: ClassVar = {"unet": ("UNet2DModel",)}

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        unet = read_json(folder / "unet" / "config.json")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        about = unet_2d.describe(source, unet, index)
        self.check(source, folder, index)
        by_ddim = index["_class_name"] == "DDIMPipeline"
        if by_ddim:  # it runs DDIM whatever scheduler its folder names
            scheduler = {**scheduler, "_class_name": "DDIMScheduler"}
        return ModelInfo(
            family="ddpm",
            source=source,
            folder=folder,
            noise_schedule=read_schedule(scheduler),
            prediction_type=read_prediction_type(scheduler),
            scale_factor=1,
            abilities=frozenset({"class_label"} if about["classes"] else ()),
            image_channels=about["latent_channels"],
            scheduler_config=scheduler,
            defaults={
                "num_inference_steps": 50 if by_ddim else 1000,
                "guidance": "none",
                "conditioning": ["class_label"] if about["classes"] else [],
                "attention": "native",
                "encoder": "pixels",
                "decoder": "pixels",
                **read_defaults(scheduler),
            },
            **about,
        )

    def build(self, info: ModelInfo, components: Mapping[str, Any], place: Place) -> Model:
        network = unet_2d.network_of(components["unet"], place.compute_dtype)
        abilities = {"class_label": unet_2d.UNetClasses(place.device)} if info.classes else {}
        return Model(info, network, abilities, components, place)
