"""Peers that results are held against."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch

from ldm_core import Pipeline

COUNTERPARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_3m": ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
}
"""Our scheduler's name, and the class in Diffusers that does the same, with its settings."""

OWN_TIMESTEPS = {"unipc", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde"}
"""Those whose class places leading and linspace timesteps otherwise than Diffusers' others."""


def distance_to_diffusers(
    ours: Pipeline,
    folder: Path,
    scheduler: str,
    steps: int,
    prompts: Sequence[str] = ("a red star", "a blue circle"),
    **config: Any,
) -> float:
    """Relative distance of our final latents to those of StableDiffusionPipeline.

    Args:
        scheduler: one of `COUNTERPARTS`, made from the folder's own config and `config`.
    """
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    name, settings = COUNTERPARTS[scheduler]
    config = {**settings, **config}
    theirs.scheduler = getattr(diffusers, name).from_config(theirs.scheduler.config, **config)
    seeds = [3 + i for i in range(len(prompts))]
    call: dict[str, Any] = {
        "num_inference_steps": steps,
        "guidance_scale": 4.0,
        "output_type": "latent",
    }
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    expected = theirs(list(prompts), generator=generators, **call).images
    found = ours(list(prompts), seed=seeds, **call).images
    return float((found - expected).norm() / expected.norm())
