"""Peers that results are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch

from ldm_core import Pipeline


@dataclass(frozen=True)
class Counterpart:
    """One of our schedulers with options, and the class in Diffusers that does the same with its
    settings."""

    name: str
    cls: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def choice(self) -> dict[str, Any]:
        """Our scheduler, as a recipe says it."""
        return {"name": self.name, **self.options}


DPM_MULTI, DPM_SINGLE = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"
SDE = {"algorithm_type": "sde-dpmsolver++"}
COUNTERPARTS = {
    "ddpm": Counterpart("ddpm", "DDPMScheduler", {"clip_sample": False}),
    "ddim": Counterpart("ddim", "DDIMScheduler", {"clip_sample": False}),
    "euler": Counterpart("euler", "EulerDiscreteScheduler"),
    "euler_ancestral": Counterpart("euler_ancestral", "EulerAncestralDiscreteScheduler"),
    "heun": Counterpart("heun", "HeunDiscreteScheduler"),
    "dpm_2": Counterpart("dpm_2", "KDPM2DiscreteScheduler"),
    "dpm_2_ancestral": Counterpart("dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
    "lms": Counterpart("lms", "LMSDiscreteScheduler"),
    "unipc": Counterpart("unipc", "UniPCMultistepScheduler"),
    "dpmpp_2m": Counterpart("dpmpp_2m", DPM_MULTI),
    "dpmpp_3m": Counterpart("dpmpp_3m", DPM_MULTI, {"solver_order": 3}, {"curvature": "half"}),
    "dpmpp_2m_sde": Counterpart("dpmpp_2m_sde", DPM_MULTI, SDE),
}
"""Those that every class's config leads to the same points and pictures."""

OWN_TIMESTEPS = {"unipc", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde"}
"""Those whose class places leading and linspace timesteps otherwise than Diffusers' others."""


def apart(found: Any, expected: Any) -> float:
    """Distance of tensors or arrays of one shape, relative to the second; ``-rP`` shows it, and
    `docs/make_distance_table.py` hears it."""
    distance = far(found, expected)
    print(f"apart by {distance:.1e}")
    return distance


def far(found: Any, other: Any) -> float:
    """The same distance, of two that are meant to differ, which is not told of."""
    found, other = torch.as_tensor(found), torch.as_tensor(other)
    assert found.shape == other.shape
    return float((found - other).norm() / other.norm())


class Decoded:
    """The latents that a pipeline of Diffusers decodes, where it gives pictures alone."""

    def __init__(self, autoencoder: Any) -> None:
        self._factor = autoencoder.config.scaling_factor
        self._latents: list[torch.Tensor] = []
        self._decode = autoencoder.decode
        autoencoder.decode = self

    def __call__(self, z: torch.Tensor, *args: Any, **options: Any) -> Any:
        self._latents.append(z)
        return self._decode(z, *args, **options)

    def pop(self) -> torch.Tensor:
        """Those of the latest call, scaled as the network has them."""
        (latents,) = self._latents
        self._latents.clear()
        return latents * self._factor


def rounded(folder: Path, dtype: str) -> Pipeline:
    """A pipeline all in float32 on what half precision keeps of the weights."""
    pipe = Pipeline.from_pretrained(folder)
    for part in pipe.model.parts.values():
        if not isinstance(part.module, torch.nn.Module):
            continue
        for name, weight in part.module.state_dict().items():
            # Transformers keeps these of T5, which overflow in float16, in float32
            overflows = dtype == "float16" and name.endswith(".wo.weight")
            if weight.is_floating_point() and not overflows:
                weight.copy_(weight.to(getattr(torch, dtype)))
    return pipe


def distance_to_diffusers(
    ours: Pipeline,
    folder: Path,
    scheduler: str | Counterpart,
    steps: int,
    prompts: Sequence[str] = ("a red star", "a blue circle"),
    **config: Any,
) -> float:
    """Relative distance of our final latents to those of StableDiffusionPipeline.

    Args:
        scheduler: the counterpart, or its key in `COUNTERPARTS`, made from the folder's own config
            and `config`.
    """
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    peer = COUNTERPARTS[scheduler] if isinstance(scheduler, str) else scheduler
    config = {**peer.settings, **config}
    theirs.scheduler = getattr(diffusers, peer.cls).from_config(theirs.scheduler.config, **config)
    seeds = [3 + i for i in range(len(prompts))]
    call: dict[str, Any] = {
        "num_inference_steps": steps,
        "guidance_scale": 4.0,
        "output_type": "latent",
    }
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    expected = theirs(list(prompts), generator=generators, **call).images
    return apart(ours(list(prompts), seed=seeds, **call).images, expected)


def distance_to_peer(
    ours: Pipeline,
    peer: Any,
    own: Mapping[str, Any] | None = None,
    their: Mapping[str, Any] | None = None,
    **call: Any,
) -> float:
    """Relative distance to a pipeline of Diffusers, in the final latents or in the pictures,
    whichever is larger, for two prompts.

    Args:
        own, their: what one of the two alone is called with.
    """
    peer.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": 5, **call}
    distances = []
    for output_type in ("latent", "np"):
        generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
        both = {"prompt": ["a red star", "a blue circle"], "output_type": output_type, **call}
        expected = peer(generator=generators, **both, **(their or {})).images
        found = ours(seed=3, **both, **(own or {})).images
        distances.append(apart(found, expected))
    return max(distances)


class Unpacked:
    """A pipeline of Diffusers whose final latents are tokens of 2x2 latent pixels, with these put
    where they belong."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.set_progress_bar_config = pipeline.set_progress_bar_config

    def __call__(self, *, width: int, height: int, output_type: str, **call: Any) -> Any:
        made = self.pipeline(width=width, height=height, output_type=output_type, **call)
        if output_type != "latent":
            return made
        factor = self.pipeline.vae_scale_factor
        unpacked = self.pipeline._unpack_latents(made.images, height, width, factor)
        return SimpleNamespace(images=unpacked)


class Flux2Peer:
    """A pipeline of FLUX.2, with the final latents as the network sees them: dev gives tokens, and
    klein the autoencoder's own latents."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.set_progress_bar_config = pipeline.set_progress_bar_config

    def __call__(self, *, output_type: str, **call: Any) -> Any:
        made = self.pipeline(output_type=output_type, **call).images
        if output_type != "latent":
            return SimpleNamespace(images=made)
        if made.ndim == 3:
            rows, columns = call["height"] // 4, call["width"] // 4
            return SimpleNamespace(images=made.transpose(1, 2).unflatten(2, (rows, columns)))
        norm, eps = self.pipeline.vae.bn, self.pipeline.vae.config.batch_norm_eps
        mean, var = (v.reshape(1, -1, 1, 1) for v in (norm.running_mean, norm.running_var))
        latents = torch.nn.functional.pixel_unshuffle(made, 2)
        return SimpleNamespace(images=(latents - mean) / (var + eps).sqrt())
