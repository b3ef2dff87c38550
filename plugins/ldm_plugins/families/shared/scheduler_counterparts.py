"""Which of our schedulers, spacings and wrappers give the results of a Diffusers scheduler class.

Every function here answers None where there is no exact counterpart; a setting that none of them
reads, and that is not at its default, means the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ldm_plugins.families.shared.scheduler_settings import PATH, Settings

Recipe = dict[str, Any]
CURVES = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


def counterpart(config: Mapping[str, Any]) -> Recipe | None:
    """The recipe of a config whose class is one of `SETTINGS`."""
    read = Settings(config)
    read.without_effect(*PATH)
    if not read("thresholding"):
        read.without_effect("dynamic_thresholding_ratio", "sample_max_value")
    elif read.values.get("thresholding"):
        return None
    if not read("use_flow_sigmas"):
        read.without_effect("flow_shift", "time_shift_type")
    elif read.values.get("use_flow_sigmas"):
        return None
    reader = READERS.get(config["_class_name"])
    recipe = None if reader is None else reader(read)
    return None if read.unread() else recipe


def _ddim(read: Settings) -> Recipe | None:
    # On linspace the class steps to timesteps that it then does not visit (on trailing too where
    # the steps do not divide the timesteps; there we go where it goes next). Clipping leaves its
    # noise estimate as it was.
    if read("timestep_spacing") == "linspace" or read("clip_sample"):
        return None
    read.without_effect("clip_sample_range", "rescale_betas_zero_snr")
    if read("timestep_spacing") == "trailing":
        read.without_effect("steps_offset")
        least = not read("set_alpha_to_one")
        trailing: Recipe = {"name": "trailing", **({"final": "sigma_min"} if least else {})}
        return {"scheduler": "ddim", "spacing": trailing}
    return {"scheduler": "ddim", "spacing": _leading(read, least=not read("set_alpha_to_one"))}


def _pndm(read: Settings) -> Recipe | None:
    if read("timestep_spacing") != "leading" or not read("skip_prk_steps"):
        return None
    return {"scheduler": "pndm", "spacing": _leading(read, least=not read("set_alpha_to_one"))}


def _ddpm(read: Settings) -> Recipe | None:
    variance = read("variance_type")
    scheduler: Recipe = {"name": "ddpm"}
    if variance != "fixed_small":
        scheduler["variance"] = variance
    spacing: Recipe = {"name": read("timestep_spacing")}
    if spacing["name"] == "leading":
        spacing = _leading(read)
    elif spacing["name"] == "linspace":
        spacing["whole_timesteps"] = True
    ends_at_first = spacing["name"] == "linspace" or spacing == {"name": "leading"}
    if variance in ("fixed_large", "learned_range") and not ends_at_first:
        return None  # the class then draws noise in its last step too
    read.without_effect("steps_offset", "rescale_betas_zero_snr")
    return {"scheduler": scheduler, "spacing": spacing, **_clip(read)}


def _k_diffusion(scheduler: str, rounds: bool = False) -> Callable[[Settings], Recipe | None]:
    def reader(read: Settings) -> Recipe | None:
        name = read("timestep_spacing")
        spacing: Recipe | None = {"name": name}
        if any(read(curve) for curve in CURVES):
            # On the other spacings the curve's ends depend on the number of steps.
            spacing = _curve(read, rounds) if name == "linspace" else None
        elif name == "leading":
            spacing = _leading(read)
        read.without_effect("steps_offset")
        if spacing is None:
            return None
        return {"scheduler": scheduler, "spacing": spacing, **_clip(read)}

    return reader


def _dpm_multistep(read: Settings) -> Recipe | None:
    read.without_effect("variance_type")
    order, final_zero = read("solver_order"), read("final_sigmas_type") == "zero"
    kinds = {"dpmsolver++": "", "sde-dpmsolver++": "_sde"}
    algorithm, solver = read("algorithm_type"), _solver_type(read)
    if algorithm not in kinds or order not in (2, 3):
        return None
    if order == 3 and (kinds[algorithm] or solver == "heun"):
        return None
    if final_zero:
        read.without_effect("euler_at_final")  # the last step is Euler's anyway
    scheduler: Recipe = {"name": f"dpmpp_{order}m{kinds[algorithm]}"}
    if order == 3:
        scheduler["curvature"] = "half"
    elif solver != "midpoint":
        scheduler["solver_type"] = solver
    if not read("lower_order_final"):
        scheduler["lower_order_final"] = False
    spacing: Recipe | None = _open(read)
    rounds = read("beta_schedule") != "squaredcos_cap_v2"
    if read("use_lu_lambdas") and not any(read(curve) for curve in CURVES):
        spacing = {"name": "log_snr", "whole_timesteps": True} if final_zero and rounds else None
    elif read("use_karras_sigmas"):
        spacing = _curve(read, rounds) if final_zero else None
    elif any(read(curve) for curve in CURVES):
        spacing = None  # the class cuts these timesteps off to whole ones
    return None if spacing is None else {"scheduler": scheduler, "spacing": spacing}


def _dpm_singlestep(read: Settings) -> Recipe | None:
    read.without_effect("variance_type", "lower_order_final")
    etas, order = {"dpmsolver++": 0.0, "sde-dpmsolver++": 1.0}, read("solver_order")
    algorithm, solver = read("algorithm_type"), _solver_type(read)
    if read("final_sigmas_type") != "zero" or algorithm not in etas:
        return None
    if order == 3 and solver == "heun" and etas[algorithm]:
        return None
    scheduler: Recipe = {"name": "dpmpp_single"}
    if order != 2:
        scheduler["order"] = order
    if etas[algorithm]:
        scheduler |= {"eta": etas[algorithm], "one_path": False}
    if solver != "midpoint":
        scheduler["solver_type"] = solver
    spacing: Recipe | None = {"name": "linspace", "whole_timesteps": True, "open_end": True}
    if any(read(curve) for curve in CURVES):
        spacing = _curve(read, rounds=True) if read("use_karras_sigmas") else None
    return None if spacing is None else {"scheduler": scheduler, "spacing": spacing}


def _unipc(read: Settings) -> Recipe | None:
    variant = read("solver_type")
    scheduler: Recipe = {"name": "unipc"}
    if read("solver_order") != 2:
        scheduler["order"] = read("solver_order")
    if variant == "bh1":
        scheduler["variant"] = "bh1"
    if not read("lower_order_final"):
        scheduler["lower_order_final"] = False
    spacing: Recipe | None = _open(read)
    if any(read(curve) for curve in CURVES):
        karras = read("use_karras_sigmas") and read("final_sigmas_type") == "zero"
        spacing = _curve(read, rounds=True) if karras else None
    return None if spacing is None else {"scheduler": scheduler, "spacing": spacing}


def _deis(read: Settings) -> Recipe | None:
    read.without_effect("algorithm_type", "solver_type")  # it takes others' names for its one
    scheduler: Recipe = {"name": "deis"}
    if read("solver_order") != 2:
        scheduler["order"] = read("solver_order")
    if not read("lower_order_final"):
        scheduler["lower_order_final"] = False
    return {"scheduler": scheduler, "spacing": _open(read, least=True)}


def _lcm(read: Settings) -> Recipe | None:
    scheduler: Recipe = {"name": "lcm"}
    if read("timestep_scaling") != 10.0:
        scheduler["timestep_scaling"] = read("timestep_scaling")
    return {"scheduler": scheduler, "spacing": _distilled(read), **_clip(read)}


def _tcd(read: Settings) -> Recipe | None:
    read.without_effect("timestep_scaling")
    if read("clip_sample"):
        return None  # it leaves the noise estimate as it was
    read.without_effect("clip_sample_range")
    # Diffusers' pipelines hand eta to every step, and theirs is 0.
    spacing = {**_distilled(read), "final": "sigma_min"}
    return {"scheduler": {"name": "tcd", "eta": 0.0}, "spacing": spacing}


READERS: Mapping[str, Callable[[Settings], Recipe | None]] = {
    "DDIMParallelScheduler": _ddim,
    "DDIMScheduler": _ddim,
    "DDPMParallelScheduler": _ddpm,
    "DDPMScheduler": _ddpm,
    "DEISMultistepScheduler": _deis,
    "DPMSolverMultistepScheduler": _dpm_multistep,
    "DPMSolverSinglestepScheduler": _dpm_singlestep,
    "EulerAncestralDiscreteScheduler": _k_diffusion("euler_ancestral"),
    "EulerDiscreteScheduler": _k_diffusion("euler"),
    "HeunDiscreteScheduler": _k_diffusion("heun"),
    "KDPM2AncestralDiscreteScheduler": _k_diffusion("dpm_2_ancestral", rounds=True),
    "KDPM2DiscreteScheduler": _k_diffusion("dpm_2", rounds=True),
    "LCMScheduler": _lcm,
    "LMSDiscreteScheduler": _k_diffusion("lms"),
    "PNDMScheduler": _pndm,
    "TCDScheduler": _tcd,
    "UniPCMultistepScheduler": _unipc,
}


def _leading(read: Settings, least: bool = False) -> Recipe:
    spacing: Recipe = {"name": "leading"}
    if read("steps_offset"):
        spacing["steps_offset"] = read("steps_offset")
    return {**spacing, "final": "sigma_min"} if least else spacing


def _open(read: Settings, least: bool = False) -> Recipe:
    """The spacing of the solvers that leave the cleanest timestep to the end point."""
    name = read("timestep_spacing")
    spacing: Recipe = {"name": name}
    if name == "leading":
        spacing = {**_leading(read), "open_end": True}
    elif name == "linspace":
        spacing |= {"whole_timesteps": True, "open_end": True}
    read.without_effect("steps_offset")
    least = least or read("final_sigmas_type") == "sigma_min"
    return {**spacing, "final": "sigma_min"} if least else spacing


def _curve(read: Settings, rounds: bool) -> Recipe:
    """The spacing by noise ratio, over all of the trained path."""
    if read("use_karras_sigmas"):
        return {"name": "karras", "whole_timesteps": True} if rounds else {"name": "karras"}
    if read("use_exponential_sigmas"):
        return {"name": "exponential"}
    return {"name": "beta", "over": "sigma"}


def _distilled(read: Settings) -> Recipe:
    read.without_effect("timestep_spacing", "steps_offset", "set_alpha_to_one")
    read.without_effect("rescale_betas_zero_snr")
    spacing: Recipe = {"name": "lcm"}
    if read("original_inference_steps") != 50:
        spacing["original_inference_steps"] = read("original_inference_steps")
    return spacing


def _solver_type(read: Settings) -> str:
    """DPM-Solver's; it takes others' names for its default."""
    return "heun" if read("solver_type") == "heun" else "midpoint"


def _clip(read: Settings) -> Recipe:
    limit = float(read("clip_sample_range") or 1.0)
    return {"denoisers": [{"name": "clip_x0", "limit": limit}]} if read("clip_sample") else {}
