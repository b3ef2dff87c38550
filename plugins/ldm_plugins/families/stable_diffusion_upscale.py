"""Stable Diffusion x4 upscaler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place, Run
from ldm_core.errors import LdmError
from ldm_core.model.files import read_index, read_json
from ldm_core.numerics.noise_schedule import VPSchedule
from ldm_plugins.families.shared.clip_text import ClipText
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.scheduler_config import read_schedule, read_scheduler

if TYPE_CHECKING:
    import torch
    from torch import Tensor

COLOURS = 3
SCALING = 0.08333
LEVEL, MOST = 20, 350  # of noise, where nothing is said
AUGMENTATION = 0x5550_5343_414C
"""What is mixed into the seeds of the noise in the picture, so that it is not that of x."""


class StableDiffusionUpscale(DiffusersFolder):
    """Four times as large a picture with a UNet that sees the small one, with noise, beside x
    (Rombach et al. 2022, arXiv:2112.10752, Section 4.4): folders of
    StableDiffusionUpscalePipeline."""

    pipelines = ("StableDiffusionUpscalePipeline",)
    components: ClassVar = {
        "unet": Component(("UNet2DConditionModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("CLIPTextModel",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        unet, channels = folder.config("unet"), folder.latent_channels
        takes = unet.get("in_channels", 4)
        if takes != channels + COLOURS:
            raise folder.error(
                f"the network takes {takes} channels; it should take the autoencoder's {channels} "
                f"and {COLOURS} of the picture."
            )
        levels = unet.get("num_class_embeds") or 0
        most = folder.index.get("max_noise_level", MOST)
        if unet.get("class_embed_type") is not None or levels <= most:
            raise folder.error(
                f"the network knows {levels} levels of noise by their numbers; up to {most} were "
                "expected."
            )
        width = folder.config("text_encoder").get("hidden_size", 512)
        folder.check_width(unet.get("cross_attention_dim", 1280), width)
        said = folder.autoencoder.get("scaling_factor")
        if said != SCALING:
            raise folder.error(
                f"the autoencoder's scaling_factor is {said}; this family's is {SCALING}, which "
                "Diffusers takes whatever the config says."
            )
        noise_of(folder.path)
        factor = folder.factor
        needs = ["text", "low_resolution"]
        return folder.info(
            "stable_diffusion_upscale",
            read_scheduler(folder.scheduler),
            channels=channels,
            sample=sample_size(unet, 128),
            steps=75,
            guidance={"name": "classifier_free", "scale": 9.0},
            abilities=needs,
            needs=frozenset(needs),
            conditioning=["text", {"name": "low_resolution", "factor": factor}],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        unet = parts["unet"]
        device, dtype = unet.device, unet.dtype

        def network(call: Call) -> Tensor:
            condition = call.condition
            x = torch.cat([call.x, condition["low_resolution"].to(call.x)], dim=1)
            output: Tensor = unet.module(
                x.to(device, dtype),
                call.t.to(device),
                condition["text"].to(device, dtype),
                class_labels=condition["noise_level"].to(device),
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        most = read_index(info.folder).get("max_noise_level", MOST)
        abilities: dict[str, Any] = {
            "text": ClipText(parts["text_encoder"], parts["tokenizer"].module, device),
            "low_resolution": NoisyPicture(noise_of(info.folder), most, device),
        }
        return Model(info, network, abilities, parts, place)


def noise_of(folder: Any) -> VPSchedule:
    """The noise that is mixed into the small picture, by its level.

    Raises:
        LdmError: the folder does not say.
    """
    return read_schedule(read_json(folder / "low_res_scheduler" / "scheduler_config.json"))


class NoisyPicture:
    """The picture with noise, key ``low_resolution`` (batch, 3, height, width), and how much it is,
    key ``noise_level`` (batch,).

    Args:
        most: the highest level.
        device: where the condition goes.
    """

    def __init__(self, schedule: VPSchedule, most: int, device: torch.device) -> None:
        self._schedule = schedule
        self._most = most
        self._device = device

    def encode(self, run: Run, pictures: Tensor, noise_levels: Sequence[int | None]) -> Condition:
        import torch

        from ldm_core.numerics.seeded_noise import SeededNoise

        levels = [LEVEL if level is None else level for level in noise_levels]
        for level in levels:
            if level > self._most:
                raise LdmError(
                    f"this model knows noise levels from 0 to {self._most}, not {level}."
                )
        seeds = [(seed ^ AUGMENTATION) % 2**63 for seed in run.request.seeds]
        noise = SeededNoise(seeds, pictures.shape[1:], pictures.device)()
        points = [self._schedule.at(level) for level in levels]
        alpha, sigma = (
            torch.tensor(values, dtype=torch.float32, device=pictures.device).view(-1, 1, 1, 1)
            for values in ([p.alpha for p in points], [p.sigma for p in points])
        )
        condition = {
            "low_resolution": alpha * pictures + sigma * noise,
            "noise_level": torch.tensor(levels, dtype=torch.long),
        }
        return {key: value.to(self._device) for key, value in condition.items()}
