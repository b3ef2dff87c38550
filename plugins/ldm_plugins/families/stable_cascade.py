"""Stable Cascade."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Model, ModelInfo, Part, Place
from ldm_core.contracts.family import nothing_more
from ldm_core.numerics.prediction import EPSILON
from ldm_core.values import is_number
from ldm_plugins.families.shared.cascade_prior import CascadePrior, MaskedClip
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.scheduler_config import FolderScheduler
from ldm_plugins.shared.cosine_schedule import read_cosine_schedule

if TYPE_CHECKING:
    from torch import Tensor

PLACES = 24
"""Of the embeddings of what Diffusers draws where nothing is chosen, a side."""


class StableCascade(DiffusersFolder):
    """Text-to-image in two stages: a UNet that fills in the detail of image embeddings, which a
    prior draws of the text (Pernias et al. 2023, arXiv:2306.00637): folders of
    StableCascadeDecoderPipeline."""

    pipelines = ("StableCascadeDecoderPipeline",)
    components: ClassVar = {
        "decoder": Component(("StableCascadeUNet",), "network"),
        "vqgan": Component(("PaellaVQModel",), "autoencoder"),
        "text_encoder": Component(("CLIPTextModelWithProjection",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        decoder, channels = folder.config("decoder"), folder.latent_channels
        takes, returns = decoder.get("in_channels", 16), decoder.get("out_channels", 16)
        folder.check_channels(takes)
        if returns != takes:
            raise folder.error(
                f"the network takes {takes} channels and returns {returns}; it should return as "
                "many."
            )
        embeddings = decoder.get("effnet_in_channels")
        if not embeddings:
            raise folder.error("the network reads no image embeddings: effnet_in_channels is 0.")
        reads = decoder.get("clip_text_pooled_in_channels", 1280)
        gives = folder.config("text_encoder").get("projection_dim", 512)
        if reads != gives:
            raise folder.error(
                f"the network takes a text as a vector of {reads}, and the text encoder gives "
                f"{gives}."
            )
        scale = folder.index.get("latent_dim_scale", 10.67)
        if not (is_number(scale) and 0.1 <= scale <= 100):
            raise folder.error(
                f"latent_dim_scale should be a number from 0.1 to 100, not {scale!r}."
            )
        factor = folder.autoencoder.get("scale_factor", 0.3764)
        if not (is_number(factor) and factor > 0):
            raise folder.error(f"the autoencoder's scale_factor should be above 0, not {factor!r}.")
        config = folder.scheduler
        scheduler = FolderScheduler(
            config,
            read_cosine_schedule(config, "Stable Cascade"),
            EPSILON,
            {
                "scheduler": {"name": "ddpm", "last": "mean"},
                "spacing": {"name": "linspace", "open_end": True, "final": "sigma_min"},
            },
            nothing_more,
        )
        needs = ["text", "image_embeddings"]
        side = int(PLACES * scale)
        given = {"name": "image_embeddings", "channels": embeddings, "scale": scale}
        return folder.info(
            "stable_cascade",
            scheduler,
            channels=channels,
            sample=(side, side),
            steps=10,
            guidance={"name": "classifier_free", "scale": 1.0},
            abilities=needs,
            needs=frozenset(needs),
            conditioning=["text", given],
            patch=decoder.get("patch_size", 1),
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        decoder = parts["decoder"]
        device, dtype = decoder.device, decoder.dtype

        def network(call: Call) -> Tensor:
            condition = call.condition
            output: Tensor = decoder.module(
                call.x.to(device, dtype),
                (call.t / info.noise_schedule.last).to(device, dtype),
                clip_text_pooled=condition["pooled"].to(device, dtype)[:, None],
                effnet=condition["image_embeddings"].to(device, dtype),
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        clip = ClipEncoder(parts["text_encoder"], parts["tokenizer"].module)
        abilities: dict[str, Any] = {
            "text": MaskedClip(clip, device, whole=True),
            "image_embeddings": CascadePrior(place),
        }
        return Model(info, network, abilities, parts, place)
