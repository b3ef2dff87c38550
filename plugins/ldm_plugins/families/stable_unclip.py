"""Stable unCLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place, Run
from ldm_core.contracts.abilities import TextAbility
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.numerics.noise_schedule import VPSchedule
from ldm_plugins.families.shared.clip_text import ClipEncoder, ClipText
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.conditioned_unet import FREE, call_unet, unet_abilities
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.embedding_prior import EmbeddingPrior, check_prior
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.image_prompts import ImagePrompts
from ldm_plugins.families.shared.picture_eyes import PictureEyes
from ldm_plugins.families.shared.scheduler_config import read_schedule, read_scheduler
from ldm_plugins.families.shared.side_networks import SideNetworks
from ldm_plugins.families.shared.unclip_scheduler_config import read_prior_scheduler

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

NAME = "picture_embedding"
VARIATION = "StableUnCLIPImg2ImgPipeline"
PRIOR = ("prior", "prior_text_encoder", "prior_tokenizer")
TEXT = "CLIPTextModelWithProjection"
LEVEL = 0  # of noise, where nothing is said
SEED = 0x0053_5543_4C49_50
"""What is mixed into the seeds of the noise in an embedding, so that it is not that of x."""


class StableUnclip(DiffusersFolder):
    """Variations of a picture by Stable Diffusion 2.1, which is told what CLIP sees in it, with
    noise, beside its text, or pictures of a text alone, of which a prior draws that (Ramesh et al.
    2022, arXiv:2204.06125; Rombach et al. 2022, arXiv:2112.10752): folders of
    StableUnCLIPImg2ImgPipeline and StableUnCLIPPipeline."""

    pipelines = (VARIATION, "StableUnCLIPPipeline")
    components: ClassVar = {
        "unet": Component(("UNet2DConditionModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("CLIPTextModel",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
        "image_encoder": Component(("CLIPVisionModelWithProjection",), "side", optional=True),
        "prior": Component(("PriorTransformer",), "side", optional=True),
        "prior_text_encoder": Component((TEXT,), "side", optional=True),
        "prior_tokenizer": Component(("CLIPTokenizer",), "other", optional=True),
        "image_normalizer": Component(("StableUnCLIPImageNormalizer",), "side"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        abilities = unet_abilities(folder, folder.config("text_encoder").get("hidden_size", 512))
        unet, prior = folder.config("unet"), folder.pipeline != VARIATION
        for name in PRIOR if prior else ("image_encoder",):
            if folder.class_of(name) is None:
                raise folder.error(f"a {folder.pipeline} has a {name}, and this folder has none.")
        if prior:
            width = folder.config("prior").get("embedding_dim", 768)
            check_prior(folder, "prior_text_encoder", width)
            read_prior_scheduler(folder.path / "prior_scheduler")
        else:
            width = folder.config("image_encoder").get("projection_dim", 512)
        takes = unet.get("projection_class_embeddings_input_dim")
        if unet.get("class_embed_type") != "projection" or takes != 2 * width:
            raise folder.error(
                f"the network takes a vector of {takes} beside the text; it should take {2 * width}"
                ": what CLIP sees in a picture, and as many numbers for its noise."
            )
        normal = folder.config("image_normalizer").get("embedding_dim", 768)
        if normal != width:
            raise folder.error(
                f"image_normalizer is for vectors of {normal}, and {width} are read."
            )
        noise_of(folder.path)
        own = {*abilities, NAME}
        return folder.info(
            "stable_unclip",
            read_scheduler(folder.scheduler),
            channels=folder.latent_channels,
            sample=sample_size(unet, 64),
            steps=20,
            guidance={"name": "classifier_free", "scale": 10.0},
            abilities=[*own, "embedding_noise", *(["embedding_prior"] if prior else [])],
            needs=frozenset(own - FREE),
            conditioning=["text", NAME],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        unet = parts["unet"]

        def network(call: Call) -> Tensor:
            return call_unet(unet, call)

        prior, eyes = None, None
        if "embedding_prior" in info.abilities:
            config = read_prior_scheduler(info.folder / "prior_scheduler")
            clip = ClipEncoder(parts["prior_text_encoder"], parts["prior_tokenizer"].module)
            prior = EmbeddingPrior(parts["prior"], config, clip, unet.device)
        else:
            eyes = PictureEyes(
                parts["image_encoder"], info.folder / "feature_extractor", unet.device
            )
        abilities: dict[str, Any] = {
            "text": ClipText(parts["text_encoder"], parts["tokenizer"].module, unet.device),
            "control": SideNetworks(place),
            "image_prompt": ImagePrompts(place, unet.device),
            NAME: NoisyEmbeddings(eyes, prior, parts["image_normalizer"], noise_of(info.folder)),
        }
        return Model(info, network, abilities, parts, place)


def noise_of(folder: Path) -> VPSchedule:
    """The noise that is mixed into an embedding, by its level.

    Raises:
        LdmError: the folder does not say.
    """
    return read_schedule(read_json(folder / "image_noising_scheduler" / "scheduler_config.json"))


class NoisyEmbeddings:
    """What CLIP sees in a picture, with noise, and beside it cosines and sines of how much that is,
    key ``picture_embedding`` (batch, 2 · width); of no picture zeros.

    Args:
        eyes, prior: of which the model has one.
        normal: the part that has the mean and deviation of embeddings.
        schedule: of the noise.
    """

    def __init__(
        self,
        eyes: PictureEyes | None,
        prior: EmbeddingPrior | None,
        normal: Part,
        schedule: VPSchedule,
    ) -> None:
        self._eyes = eyes
        self._prior = prior
        self._normal = normal
        self._schedule = schedule

    def seen(self, pictures: Sequence[Image]) -> Tensor:
        """See `ldm_core.contracts.picture_embedding.PictureEmbeddingAbility`."""
        assert self._eyes is not None
        return self._eyes(pictures)

    def prior_text(self) -> TextAbility:
        """See `ldm_core.contracts.picture_embedding.PictureEmbeddingAbility`."""
        assert self._prior is not None
        return self._prior.text

    def drawn(
        self, run: Run, texts: Sequence[Condition], steps: int, guidance_scale: float
    ) -> Tensor:
        """See `ldm_core.contracts.picture_embedding.PictureEmbeddingAbility`."""
        assert self._prior is not None
        return self._prior.drawn(run, texts, steps, guidance_scale)

    def encode(self, run: Run, embeddings: Tensor, noise_levels: Sequence[int | None]) -> Condition:
        """See `ldm_core.contracts.picture_embedding.PictureEmbeddingAbility`."""
        import torch
        from diffusers.models.embeddings import get_timestep_embedding

        from ldm_core.numerics.seeded_noise import SeededNoise

        levels = [LEVEL if level is None else level for level in noise_levels]
        most = int(self._schedule.last)
        for level in levels:
            if level > most:
                raise LdmError(f"this model knows noise levels from 0 to {most}, not {level}.")
        device, width = embeddings.device, embeddings.shape[1]
        seeds = [(seed ^ SEED) % 2**63 for seed in run.request.seeds]
        noise = SeededNoise(seeds, (width,), device)()
        points = [self._schedule.at(level) for level in levels]
        alpha, sigma = (
            torch.tensor(values, dtype=torch.float32, device=device)[:, None]
            for values in ([p.alpha for p in points], [p.sigma for p in points])
        )
        own = dict(self._normal.at_rest.named_parameters())
        mean, deviation = (own[name].to(device, torch.float32) for name in ("mean", "std"))
        normal = (embeddings.float() - mean) / deviation
        noisy = (alpha * normal + sigma * noise) * deviation + mean
        told = get_timestep_embedding(
            torch.tensor(levels, device=device), width, flip_sin_to_cos=True, downscale_freq_shift=0
        )
        return {NAME: torch.cat([noisy, told], dim=1)}

    def silent(self, condition: Condition) -> Condition:
        """Zeros."""
        return {NAME: condition[NAME] * 0}
