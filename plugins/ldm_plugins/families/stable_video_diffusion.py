"""Stable Video Diffusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, LatentSpace, Model, ModelInfo, Part, Place, Run
from ldm_core.contracts.abilities import FirstFrameAbility
from ldm_core.contracts.family import nothing_more
from ldm_core.contracts.latents import Axis
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import VESchedule
from ldm_core.numerics.prediction import V_PREDICTION
from ldm_core.values import is_number, is_whole
from ldm_plugins.families.shared.clip_vision import ClipVision, read_colours
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.edm import sigmas
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.scheduler_config import FolderScheduler

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SIDES = (72, 128)
"""Height and width of the latents of what Diffusers' pipeline draws where nothing is chosen."""
RATE = 7.0
TOLD = 3  # numbers that join the timestep: frame rate, motion and noise
CURVES = {"use_karras_sigmas": "karras", "use_exponential_sigmas": "exponential"}
AUGMENTATION = 0x5356_4449_4D47
"""What is mixed into the seeds of the noise in the picture, so that it is not that of the video."""


class StableVideoDiffusion(DiffusersFolder):
    """Video from a picture with a UNet whose layers see along the frames too, preconditioned as
    EDM's (Blattmann et al. 2023, arXiv:2311.15127): folders of StableVideoDiffusionPipeline."""

    pipelines = ("StableVideoDiffusionPipeline",)
    components: ClassVar = {
        "unet": Component(("UNetSpatioTemporalConditionModel",), "network"),
        "vae": Component(("AutoencoderKLTemporalDecoder",), "autoencoder"),
        "image_encoder": Component(("CLIPVisionModelWithProjection",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        unet, channels = folder.config("unet"), folder.latent_channels
        takes, returns = unet.get("in_channels", 8), unet.get("out_channels", 4)
        if (takes, returns) != (2 * channels, channels):
            raise folder.error(
                f"the network takes {takes} channels and returns {returns}; with the autoencoder's "
                f"{channels} it should take {2 * channels}, the picture's beside the video's, and "
                f"return {channels}."
            )
        width = unet.get("cross_attention_dim", 1024)
        gives = folder.config("image_encoder").get("projection_dim", 512)
        if width != gives:
            raise folder.error(
                f"the network takes a picture as a vector of {width}, and the image encoder gives "
                f"{gives}."
            )
        read_colours(folder.path / "feature_extractor")
        each = unet.get("addition_time_embed_dim", 256)
        joined = unet.get("projection_class_embeddings_input_dim", 768)
        if joined != TOLD * each:
            raise folder.error(
                f"the network is told {joined} numbers beside the timestep; {TOLD} of {each} were "
                "expected, for frame rate, motion and noise."
            )
        frames = unet.get("num_frames", 25)
        if not is_whole(frames) or frames < 1:
            raise folder.error(f"the network's num_frames should be at least 1, not {frames!r}.")
        side, needs = folder.factor, ["first_frame", "motion", "frame_rate"]
        return folder.info(
            "stable_video_diffusion",
            read_edm_scheduler(folder.scheduler),
            channels=channels,
            sample=(frames, *SIDES),
            latents=LatentSpace(
                channels, (Axis("frames", 1), Axis("height", side), Axis("width", side))
            ),
            steps=25,
            guidance={"name": "along_frames", "first": 1.0, "scale": 3.0},
            abilities=needs,
            needs=frozenset(needs),
            conditioning=needs,
            rate=RATE,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        unet = parts["unet"]
        device, dtype = unet.device, unet.dtype

        def network(call: Call) -> Tensor:
            """v, brought from the network's own scale to that of x (Karras et al. 2022,
            arXiv:2206.00364, Table 1, with c_noise = ln(sigma)/4)."""
            condition, frames = call.condition, call.x.shape[2]
            sigma = sigmas(call, info.noise_schedule).view(-1, 1, 1, 1, 1)
            length = (1 + sigma**2).sqrt()
            beside = condition["image_latents"][:, :, None].repeat(1, 1, frames, 1, 1)
            x = torch.cat([call.x / length, beside.to(call.x.device)], dim=1)
            told = [condition["frame_rate"][:, None] - 1, condition["motion"]]
            output: Tensor = unet.module(
                x.transpose(1, 2).to(device, dtype),
                (sigma.flatten().log() / 4).to(device),
                encoder_hidden_states=condition["image_embeds"].to(device, dtype),
                added_time_ids=torch.cat(told, dim=1).to(device, dtype),
                return_dict=False,
            )[0]
            return output.transpose(1, 2).to(call.x.device, torch.float32) * length

        vision = ClipVision(parts["image_encoder"], info.folder / "feature_extractor")
        abilities: dict[str, Any] = {
            "first_frame": FirstFrame(parts["vae"], vision, device),
            "motion": True,
            "frame_rate": True,
        }
        return Model(info, network, abilities, parts, place)


def read_edm_scheduler(config: Mapping[str, Any]) -> FolderScheduler:
    """What a scheduler config of EDM's v-prediction says: sigmas between two ends, and a network
    that is told their logarithm.

    Raises:
        LdmError: it says something else.
    """
    said = {key: config.get(key) for key in ("_class_name", "prediction_type", "timestep_type")}
    expected = {
        "_class_name": "EulerDiscreteScheduler",
        "prediction_type": "v_prediction",
        "timestep_type": "continuous",
    }
    curve = next((name for key, name in CURVES.items() if config.get(key)), None)
    low, high = (config.get(key) for key in ("sigma_min", "sigma_max"))
    fits = said == expected and is_number(low) and is_number(high)
    if curve is None or low is None or high is None or not fits:
        raise LdmError(
            "scheduler_config.json: Stable Video Diffusion has an EulerDiscreteScheduler of "
            "v_prediction, continuous timesteps, a sigma_min and a sigma_max, and one of "
            f"{' and '.join(CURVES)}; this one says {said}, sigmas from {low!r} to {high!r}, and "
            f"{'none of them' if curve is None else curve}."
        )
    try:
        schedule = VESchedule(low, high, config.get("num_train_timesteps", 1000))
    except ValueError as error:
        raise LdmError(f"scheduler_config.json: {error}") from None
    recipe = {"scheduler": "euler", "spacing": {"name": curve}}
    return FolderScheduler(config, schedule, V_PREDICTION, recipe, nothing_more)


class FirstFrame(FirstFrameAbility):
    """The picture as an image encoder sees it, key ``image_embeds`` (batch, 1, width), and its
    latents beside those of each frame, key ``image_latents`` (batch, channels, height, width), not
    normalised; both are zero where guidance leads away (arXiv:2311.15127, Appendix D).

    Args:
        device: where the condition goes.
    """

    def __init__(self, autoencoder: Part, vision: ClipVision, device: torch.device) -> None:
        self._autoencoder = autoencoder
        self._vision = vision
        self._device = device

    def encode(self, run: Run, first: Tensor, last: Sequence[Tensor | None]) -> Condition:
        import torch

        from ldm_core.numerics.seeded_noise import SeededNoise

        part, request = self._autoencoder, run.request
        strength = torch.tensor(request.inputs["noise_aug_strength"]).view(-1, 1, 1, 1)
        seeds = [(seed ^ AUGMENTATION) % 2**63 for seed in request.seeds]
        noise = SeededNoise(seeds, first.shape[1:], first.device)()
        noisy = (first + strength * noise).to(part.device, part.dtype)
        condition = {
            "image_embeds": self._vision.embeds(first)[:, None].float(),
            "image_latents": part.module.encode(noisy).latent_dist.mode().float(),
        }
        return {key: value.to(self._device) for key, value in condition.items()}

    def silenced(self, condition: Condition) -> Condition:
        import torch

        return {key: torch.zeros_like(value) for key, value in condition.items()}

    def finish(self, run: Run, x: Tensor, first: Tensor) -> Tensor:
        """x: the network draws all frames."""
        return x
