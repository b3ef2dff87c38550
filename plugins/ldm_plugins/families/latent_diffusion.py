"""Latent diffusion without text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ldm_core.contracts.family import Model, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.model.place import Place
from ldm_plugins.families.shared import unet_2d
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder, autoencoder_factor
from ldm_plugins.families.shared.scheduler_config import (
    read_defaults,
    read_prediction_type,
    read_schedule,
)


class LatentDiffusion(DiffusersFolder):
    """Latents of a vector-quantised autoencoder drawn by a UNet, unconditional or by class (Rombach
    et al. 2022, arXiv:2112.10752): folders whose model_index.json says LDMPipeline."""

    pipelines = ("LDMPipeline",)
    components: ClassVar = {"unet": ("UNet2DModel",), "vqvae": ("VQModel",)}

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        unet = read_json(folder / "unet" / "config.json")
        vqvae = read_json(folder / "vqvae" / "config.json")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        about = unet_2d.describe(source, unet, index)
        code = vqvae.get("vq_embed_dim") or vqvae.get("latent_channels", 3)
        if about["latent_channels"] != code:
            raise LdmError(
                f"'{source}': the network takes {about['latent_channels']} channels, and the "
                f"autoencoder's codes have {code}."
            )
        self.check(source, folder, index)
        factor = autoencoder_factor(vqvae)
        width, height = about.pop("default_size")
        return ModelInfo(
            family="latent_diffusion",
            source=source,
            folder=folder,
            noise_schedule=read_schedule(scheduler),
            prediction_type=read_prediction_type(scheduler),
            scale_factor=factor,
            default_size=(width * factor, height * factor),
            abilities=frozenset({"class_label"} if about["classes"] else ()),
            image_channels=vqvae.get("out_channels", 3),
            scheduler_config=scheduler,
            defaults={
                "num_inference_steps": 50,
                "guidance": "none",
                "conditioning": ["class_label"] if about["classes"] else [],
                "attention": "native",
                "encoder": "vq",
                "decoder": "vq",
                **read_defaults(scheduler),
            },
            **about,
        )

    def build(self, info: ModelInfo, components: Mapping[str, Any], place: Place) -> Model:
        network = unet_2d.network_of(components["unet"], place.compute_dtype)
        abilities = {"class_label": unet_2d.UNetClasses(place.device)} if info.classes else {}
        return Model(info, network, abilities, components, place)
