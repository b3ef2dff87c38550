"""Stable Diffusion's latent upscaler x2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place, Run
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.errors import LdmError
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.scheduler_config import read_scheduler

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FACTOR = 2
NOISE = 64
"""Cosines and sines of the noise in the picture's latents, which is always none."""


class LatentUpscale(DiffusersFolder):
    """Twice as large a picture with a UNet that sees the small one's latents beside x,
    preconditioned as EDM's: folders of StableDiffusionLatentUpscalePipeline."""

    pipelines = ("StableDiffusionLatentUpscalePipeline",)
    components: ClassVar = {
        "unet": Component(("UNet2DConditionModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("CLIPTextModel",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        unet, channels = folder.config("unet"), folder.latent_channels
        takes, returns = unet.get("in_channels", 4), unet.get("out_channels", 4)
        if (takes, returns) != (2 * channels, channels + 1):
            raise folder.error(
                f"the network takes {takes} channels and returns {returns}; with the autoencoder's "
                f"{channels} it should take {2 * channels}, the picture's beside x's, and return "
                f"{channels + 1}, the last of which says how sure it is."
            )
        width = folder.config("text_encoder").get("hidden_size", 512)
        folder.check_width(unet.get("cross_attention_dim", 1280), width)
        told = unet.get("time_cond_proj_dim") or 0
        if told != 2 * NOISE + width:
            raise folder.error(
                f"the network is told {told} numbers beside the timestep; {2 * NOISE} of noise and "
                f"the {width} of the text as a whole were expected."
            )
        scheduler = read_scheduler(folder.scheduler)
        if scheduler.prediction_type.name != "sample":
            raise folder.error(
                "the scheduler should say prediction_type 'sample', which its pipeline makes of "
                f"what the network returns, not '{scheduler.prediction_type.name}'."
            )
        needs = ["text", "low_resolution"]
        return folder.info(
            "latent_upscale",
            scheduler,
            channels=channels,
            sample=sample_size(unet, 128),
            steps=75,
            guidance={"name": "classifier_free", "scale": 9.0},
            abilities=needs,
            needs=frozenset(needs),
            conditioning=["text", {"name": "low_resolution", "factor": FACTOR}],
            patch=max(FACTOR, 2 ** (len(unet.get("block_out_channels", [0] * 4)) - 1)),
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        unet = parts["unet"]
        device, dtype = unet.device, unet.dtype

        def network(call: Call) -> Tensor:
            """x0, of what the network returns (Karras et al. 2022, arXiv:2206.00364, Table 1, with
            c_noise = ln(sigma)/4), for x of unit variance: alpha·x + sigma·output."""
            condition, like = call.condition, call.x
            points = [row.point for row in call.rows] or [
                info.noise_schedule.at(t) for t in call.t.tolist()
            ]
            alpha, sigma, ratio = torch.tensor(
                [(p.alpha, p.sigma, p.ratio) for p in points],
                dtype=torch.float32,
                device=like.device,
            ).T
            pooled = condition["pooled"].to(device, dtype)
            noise = torch.cat(
                [pooled.new_ones(len(pooled), NOISE), pooled.new_zeros(len(pooled), NOISE)], 1
            )
            output: Tensor = unet.module(
                torch.cat([like, condition["low_resolution"].to(like)], dim=1).to(device, dtype),
                (ratio.log() / 4).to(device),
                condition["text"].to(device, dtype),
                timestep_cond=torch.cat([noise, pooled], dim=1),
                return_dict=False,
            )[0]
            answer = output[:, :-1].to(like.device, torch.float32)
            x0: Tensor = alpha.view(-1, 1, 1, 1) * like + sigma.view(-1, 1, 1, 1) * answer
            return x0

        clip = ClipEncoder(parts["text_encoder"], parts["tokenizer"].module)
        abilities: dict[str, Any] = {
            "text": PooledText(clip, device),
            "low_resolution": SmallLatents(parts["vae"], device),
        }
        return Model(info, network, abilities, parts, place)


class PooledText(TextAbility):
    """CLIP's states behind its last layer, key ``text``, and of the text as a whole, key
    ``pooled``.

    Args:
        device: where the condition goes.
    """

    def __init__(self, clip: ClipEncoder, device: torch.device) -> None:
        self._clip = clip
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, width)."""
        output = self._clip(texts)
        states = {"text": output.hidden_states[-1], "pooled": output.pooler_output}
        return {key: value.to(self._device) for key, value in states.items()}

    def overflow(self, text: str) -> str:
        return self._clip.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        return {"text": self._clip.spans(text)}


class SmallLatents:
    """The latents of the small picture, each place as often as it becomes wide and high, key
    ``low_resolution``: the posterior's mean, so that they say what the picture shows.

    Args:
        device: where the condition goes.
    """

    def __init__(self, autoencoder: Part, device: torch.device) -> None:
        self._autoencoder = autoencoder
        self._device = device

    def encode(self, run: Run, pictures: Tensor, noise_levels: Sequence[int | None]) -> Condition:
        if any(level for level in noise_levels):
            raise LdmError("this model is shown the picture without noise: leave noise_level out.")
        part = self._autoencoder
        z = part.module.encode(pictures.to(part.device, part.dtype)).latent_dist.mode().float()
        z = z * part.module.config.scaling_factor
        large = z.repeat_interleave(FACTOR, dim=2).repeat_interleave(FACTOR, dim=3)
        return {"low_resolution": large.to(self._device)}
