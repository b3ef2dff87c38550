"""Diffusers' own swap, ``X.from_config(pipe.scheduler.config)``, on folders as they are published,
and the same scheduler named here; both on one made-up network."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Tensor

import tiny
from ldm_core.composition.composition import Composition
from ldm_core.contracts import Denoise, Grid
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import to_x0

LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TRAINED = {"num_train_timesteps": 1000, "trained_betas": None}
SD_15 = {
    **{"_class_name": "PNDMScheduler", **LATENT, **TRAINED, "clip_sample": False},
    **{"set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1},
}
V = {"prediction_type": "v_prediction"}
SDXL = {
    **{"_class_name": "EulerDiscreteScheduler", **LATENT, **TRAINED, "clip_sample": False},
    **{"interpolation_type": "linear", "prediction_type": "epsilon", "sample_max_value": 1.0},
    **{"set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1},
    **{"timestep_spacing": "leading", "use_karras_sigmas": False},
}
PIXART = {
    **{"_class_name": "DPMSolverMultistepScheduler", **TRAINED, "algorithm_type": "dpmsolver++"},
    **{"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"},
    **{"dynamic_thresholding_ratio": 0.995, "euler_at_final": False, "lower_order_final": True},
    **{"lambda_min_clipped": float("-inf"), "prediction_type": "epsilon", "solver_order": 2},
    **{"sample_max_value": 1.0, "solver_type": "midpoint", "steps_offset": 0},
    **{"thresholding": False, "timestep_spacing": "linspace", "use_karras_sigmas": False},
    **{"use_lu_lambdas": False, "variance_type": None},
}
PIXELS = {
    **{"_class_name": "DDPMScheduler", "beta_start": 0.0001, "beta_end": 0.02, "clip_sample": True},
    **{"beta_schedule": "linear", "num_train_timesteps": 1000, "trained_betas": None},
    **{"variance_type": "fixed_large"},
}
SD_3 = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
FLUX = {
    **{**SD_3, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15},
    **{"base_image_seq_len": 256, "max_image_seq_len": 4096},
}


Network = Callable[[Tensor, float], Tensor]
"""``network(x, t)``, what it returns for x at the timestep that it is told."""


@dataclass(frozen=True)
class Published:
    """A folder's config as it is published, and how a folder of its kind is written."""

    config: Mapping[str, Any]
    write: Callable[[Path], Path] = tiny.write_stable_diffusion

    def written(self, folder: Path) -> Path:
        path = self.write(folder)
        (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(self.config))
        return path


PUBLISHED = {
    "SD 1.5": Published(SD_15),
    "SD 1.5 leading": Published({**SD_15, "timestep_spacing": "leading"}),
    "SD 2.1 v": Published(
        {**SD_15, **V, "_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0"}
    ),
    "v, zero terminal SNR": Published(
        {
            **{**SD_15, **V, "_class_name": "DDIMScheduler"},
            **{"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
        }
    ),
    "SDXL": Published(SDXL, tiny.write_stable_diffusion_xl),
    "SDXL Turbo": Published(
        {**SDXL, "_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"},
        tiny.write_stable_diffusion_xl,
    ),
    "PixArt": Published(PIXART, tiny.write_pixart),
    "DDPM pixels": Published(PIXELS, tiny.write_ddpm),
    "SD 3": Published(SD_3, tiny.write_stable_diffusion_3),
    "Flux dev": Published(FLUX, tiny.write_flux),
}
DPM = "DPMSolverMultistepScheduler"


@dataclass(frozen=True)
class Swap:
    """One of our schedulers, and the class that is swapped in for it in Diffusers."""

    cls: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    flow: bool = False


SWAPS = {
    "ddim": Swap("DDIMScheduler"),
    "ddpm": Swap("DDPMScheduler"),
    "deis": Swap("DEISMultistepScheduler", flow=True),
    "dpm_2": Swap("KDPM2DiscreteScheduler"),
    "dpm_2_ancestral": Swap("KDPM2AncestralDiscreteScheduler"),
    "dpmpp_2m": Swap(DPM, {"algorithm_type": "dpmsolver++", "solver_order": 2}, flow=True),
    "dpmpp_2m_sde": Swap(DPM, {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}, flow=True),
    "dpmpp_3m": Swap(DPM, {"algorithm_type": "dpmsolver++", "solver_order": 3}, flow=True),
    "dpmpp_single": Swap("DPMSolverSinglestepScheduler", flow=True),
    "euler": Swap("EulerDiscreteScheduler"),
    "euler_ancestral": Swap("EulerAncestralDiscreteScheduler"),
    "heun": Swap("HeunDiscreteScheduler"),
    "lcm": Swap("LCMScheduler"),
    "lms": Swap("LMSDiscreteScheduler"),
    "pndm": Swap("PNDMScheduler"),
    "tcd": Swap("TCDScheduler"),
    "unipc": Swap("UniPCMultistepScheduler", flow=True),
}
FLOW_SWAPS = {
    **{name: swap for name, swap in SWAPS.items() if swap.flow},
    "euler": Swap("FlowMatchEulerDiscreteScheduler"),
    "heun": Swap("FlowMatchHeunDiscreteScheduler"),
}


def swapped(folder: str, swap: Swap) -> Any:
    """The object of the class that the swap in Diffusers gives."""
    config = PUBLISHED[folder].config
    own: Any = getattr(diffusers, config["_class_name"]).from_config(config)
    settings = dict(swap.settings)
    if swap.flow and folder in ("SD 3", "Flux dev"):
        settings |= {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
        settings |= {"flow_shift": config["shift"]}
    return getattr(diffusers, swap.cls).from_config(own.config, **settings)


def prepared(folder: str, swap: Swap, steps: int, composition: Composition) -> Any:
    """The swapped object with its timesteps set, as the folder's pipeline does it."""
    scheduler, arguments = swapped(folder, swap), {}
    if folder == "Flux dev":
        flows = scheduler.config.get("use_flow_sigmas")
        side = composition.info.latents.shape({"height": 64, "width": 64})[-1] // 2
        arguments["mu"] = 0.5 + (side**2 - 256) * (1.15 - 0.5) / (4096 - 256)
        if not flows:
            arguments["sigmas"] = np.linspace(1.0, 1 / steps, steps)
    accepted = set(inspect.signature(scheduler.set_timesteps).parameters)
    assert arguments.keys() <= accepted, "Diffusers' pipeline refuses this swap"
    if "sigmas" not in arguments:
        arguments["num_inference_steps"] = steps
    scheduler.set_timesteps(**arguments)
    return scheduler


def loop(
    scheduler: Any, x: Tensor, network: Network, draws: torch.Generator, begin: int = 0
) -> Tensor:
    """Diffusers' own loop, from one of its calls on."""
    accepted = set(inspect.signature(scheduler.step).parameters)
    step: dict[str, Any] = {"eta": 0.0} if "eta" in accepted else {}
    step |= {"generator": draws} if "generator" in accepted else {}
    if begin and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    for t in scheduler.timesteps[begin:]:
        scale = getattr(scheduler, "scale_model_input", None)
        seen = x if scale is None else scale(x, t)
        x = scheduler.step(network(seen, float(t)), t, x, return_dict=False, **step)[0]
    return x


def walk(
    composition: Composition, grid: Grid, x: Tensor, network: Network, draws: torch.Generator
) -> Tensor:
    """Our loop along a grid."""
    kind, shape = composition.info.prediction_type, tuple(x.shape)

    def plain(x: Tensor, point: Point) -> Tensor:
        return to_x0(kind, network(x, point.t), x, point)

    denoise: Denoise = plain
    for wrapper in composition.denoisers:
        denoise = wrapper.wrap(denoise)
    return composition.scheduler(
        x, grid, denoise, lambda: torch.randn(shape, generator=draws, dtype=x.dtype)
    )


def theirs(folder: str, swap: Swap, steps: int, composition: Composition) -> Tensor:
    """Where Diffusers' pipeline of the folder leads with the swapped scheduler."""
    scheduler = prepared(folder, swap, steps, composition)
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(SHAPE, generator=draws) * first_scale(scheduler)
    return loop(scheduler, x, made_up(composition), draws)


def first_scale(scheduler: Any) -> float:
    """By how much Diffusers' pipelines multiply their first noise."""
    return float(getattr(scheduler, "init_noise_sigma", 1.0))


def ours(composition: Composition, steps: int) -> Tensor:
    """Where a composition leads."""
    grid = grid_of(composition, steps)
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(SHAPE, generator=draws) * our_scale(composition, grid)
    return walk(composition, grid, x, made_up(composition), draws)


def grid_of(composition: Composition, steps: int) -> Grid:
    extent = {"height": 64, "width": 64} if composition.info.family == "flux" else None
    return composition.grid(steps, extent)


def our_scale(composition: Composition, grid: Grid) -> float:
    schedule = composition.info.noise_schedule
    return composition.scheduler.start(grid[0], schedule.at(schedule.last))


SHAPE = (1, 4, 6, 6)


def made_up(composition: Composition) -> Network:
    """A network, of x and of the timestep that it is told; what it returns is of order one at every
    timestep, as of a trained one."""
    info = composition.info
    kind = info.prediction_type.name

    def network(x: Tensor, t: float) -> Tensor:
        point = info.noise_schedule.at(t)
        wave = 1.3 * torch.tanh(x.roll(1, -1) - x / 2 + 0.3 - t / 1000)
        return point.sigma * x + point.alpha * wave if kind == "epsilon" else wave

    return network
