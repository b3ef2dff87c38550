"""Which of our schedulers, spacings and wrappers give the results of a Diffusers scheduler class.

Every function here reads all settings that it can follow. Where ours then goes another way than the
class, on the same points, it says so by `Settings.apart`; a setting that none of them reads, and
that is not at its default, means that too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ldm_plugins.families.shared.scheduler_settings import PATH, Settings

Recipe = dict[str, Any]
BY_TIMESTEP = ("leading", "linspace", "trailing")
LEAST_ALPHA = 2.0**-12
CURVES = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


def nearest(config: Mapping[str, Any]) -> tuple[Recipe, Settings] | None:
    """The recipe nearest to a config whose class is one of `SETTINGS`, and what was read; None
    where no scheduler of ours is of its kind."""
    read = Settings(config)
    read.without_effect(*PATH)
    if not read("thresholding"):
        read.without_effect("dynamic_thresholding_ratio", "sample_max_value")
    elif read.values.get("thresholding"):
        read.apart()
    if not read("use_flow_sigmas"):
        read.without_effect("flow_shift", "time_shift_type")
    elif read.values.get("use_flow_sigmas"):
        read.apart()
    reader = READERS.get(config["_class_name"])
    recipe = None if reader is None else reader(read)
    return None if recipe is None else (recipe, read)


def counterpart(config: Mapping[str, Any]) -> Recipe | None:
    """The recipe that does exactly what the config's class does; None where there is none."""
    near = nearest(config)
    return near[0] if near is not None and near[1].exact else None


def _ddim(read: Settings) -> Recipe:
    name = read("timestep_spacing")
    scheduler: Recipe = {"name": "ddim"}
    if read("clip_sample"):
        # The class leaves its noise estimate as it was.
        scheduler["clip"] = _limit(read)
        read.apart()
    read.without_effect("clip_sample_range", "rescale_betas_zero_snr")
    return {"scheduler": scheduler, "spacing": _by_timestep(read, name)}


def _pndm(read: Settings) -> Recipe:
    scheduler: Recipe = {"name": "pndm"}
    if not read("skip_prk_steps"):
        scheduler["warmup"] = "runge_kutta"
        read.apart()
    name = read("timestep_spacing")
    if name != "leading":
        read.apart()
    return {"scheduler": scheduler, "spacing": _by_timestep(read, name)}


def _by_timestep(read: Settings, name: str) -> Recipe:
    """The spacing of the classes that step from one trained timestep to another."""
    least = not read("set_alpha_to_one")
    if name == "leading":
        return _leading(read, least)
    read.without_effect("steps_offset")
    spacing: Recipe = {"name": name, **({"final": "sigma_min"} if least else {})}
    if name == "linspace":
        # There the class steps to timesteps that it then does not visit; so it does on trailing
        # where the steps do not divide the timesteps. We go where it goes next.
        read.apart()
        spacing["whole_timesteps"] = True
    return spacing


def _ddpm(read: Settings) -> Recipe:
    variance = read("variance_type") or "fixed_small"  # which None comes to
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
        read.apart()  # the class then draws noise in its last step too
    read.without_effect("steps_offset", "rescale_betas_zero_snr")
    return {"scheduler": scheduler, "spacing": spacing, **_clip(read)}


def _k_diffusion(scheduler: str, rounds: bool = False) -> Callable[[Settings], Recipe]:
    def reader(read: Settings) -> Recipe:
        name = read("timestep_spacing")
        spacing: Recipe = {"name": name}
        if any(read(curve) for curve in CURVES):
            if name != "linspace":
                read.apart()  # the curve's ends then depend on the number of steps
            spacing = _curve(read, rounds)
        elif name == "leading":
            spacing = _leading(read)
        read.without_effect("steps_offset")
        if read("final_sigmas_type") == "sigma_min":
            read.apart()
            spacing["final"] = "sigma_min"
        return {"scheduler": scheduler, "spacing": _above_zero(read, spacing), **_clip(read)}

    return reader


def _dpm_multistep(read: Settings) -> Recipe:
    read.without_effect("variance_type")
    order, final_zero = read("solver_order"), read("final_sigmas_type") == "zero"
    kinds = {"dpmsolver++": "", "sde-dpmsolver++": "_sde"}
    algorithm, solver = read("algorithm_type"), _solver_type(read)
    if algorithm not in kinds or order not in (2, 3):
        read.apart()
    kind, order = kinds.get(algorithm, ""), 3 if order == 3 else 2
    if order == 3 and (kind or solver == "heun"):
        read.apart()
    if final_zero:
        read.without_effect("euler_at_final")  # the last step is Euler's anyway
    scheduler: Recipe = {"name": f"dpmpp_{order}m{kind}"}
    if order == 3:
        scheduler |= {} if kind else {"curvature": "half"}  # with noise, half of it is wrong
    elif solver != "midpoint":
        scheduler["solver_type"] = solver
    if not read("lower_order_final"):
        scheduler["lower_order_final"] = False
    rounds = read("beta_schedule") != "squaredcos_cap_v2"
    spacing = _solver_spacing(read, rounds)
    if read("use_lu_lambdas") and not any(read(curve) for curve in CURVES):
        if not (final_zero and rounds):
            read.apart()
        spacing = {"name": "log_snr", "whole_timesteps": True}
    return {"scheduler": scheduler, "spacing": spacing}


def _dpm_singlestep(read: Settings) -> Recipe:
    read.without_effect("variance_type", "lower_order_final")
    etas, order = {"dpmsolver++": 0.0, "sde-dpmsolver++": 1.0}, read("solver_order")
    algorithm, solver = read("algorithm_type"), _solver_type(read)
    eta, final_zero = etas.get(algorithm, 0.0), read("final_sigmas_type") == "zero"
    if not final_zero or algorithm not in etas or (order == 3 and solver == "heun" and eta):
        read.apart()
    scheduler: Recipe = {"name": "dpmpp_single"}
    if order != 2:
        scheduler["order"] = order
    if eta:
        scheduler |= {"eta": eta, "one_path": False}
    if solver != "midpoint":
        scheduler["solver_type"] = solver
    spacing: Recipe = {"name": "linspace", "whole_timesteps": True, "open_end": True}
    if any(read(curve) for curve in CURVES):
        spacing = _rounded_curve(read)
    return {"scheduler": scheduler, "spacing": spacing}


def _unipc(read: Settings) -> Recipe:
    variant = read("solver_type")
    scheduler: Recipe = {"name": "unipc"}
    if read("solver_order") != 2:
        scheduler["order"] = read("solver_order")
    if variant == "bh1":
        scheduler["variant"] = "bh1"
    if not read("lower_order_final"):
        scheduler["lower_order_final"] = False
    return {"scheduler": scheduler, "spacing": _solver_spacing(read)}


def _deis(read: Settings) -> Recipe:
    read.without_effect("algorithm_type", "solver_type")  # it takes others' names for its one
    scheduler: Recipe = {"name": "deis"}
    if read("solver_order") != 2:
        scheduler["order"] = read("solver_order")
    if not read("lower_order_final"):
        scheduler["lower_order_final"] = False
    spacing = _open(read, least=True)
    if any(read.values.get(curve) for curve in CURVES):
        read.apart(*CURVES)  # its last step goes from the last timestep to itself
        spacing = _rounded_curve(read)
    return {"scheduler": scheduler, "spacing": spacing}


def _sa_solver(read: Settings) -> Recipe:
    read.apart("variance_type")  # it draws noise in steps that use none
    read.without_effect("algorithm_type")
    spacing = _open(read, least=True)
    if any(read(curve) for curve in CURVES):
        spacing = _rounded_curve(read)
    scheduler: Recipe = {"name": "sa_solver"}
    for key in ("predictor_order", "corrector_order"):
        if read(key) != 2:
            scheduler[key] = read(key)
    return {"scheduler": scheduler, "spacing": spacing}


def _lcm(read: Settings) -> Recipe:
    scheduler: Recipe = {"name": "lcm"}
    if read("timestep_scaling") != 10.0:
        scheduler["timestep_scaling"] = read("timestep_scaling")
    return {"scheduler": scheduler, "spacing": _distilled(read), **_clip(read)}


def _tcd(read: Settings) -> Recipe:
    read.without_effect("timestep_scaling", "clip_sample", "clip_sample_range")
    # Diffusers' pipelines hand eta to every step, and theirs is 0.
    spacing = {**_distilled(read), "final": "sigma_min"}
    return {"scheduler": {"name": "tcd", "eta": 0.0}, "spacing": spacing}


READERS: Mapping[str, Callable[[Settings], Recipe]] = {
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
    "SASolverScheduler": _sa_solver,
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


def _solver_spacing(read: Settings, rounds: bool = True) -> Recipe:
    """The spacing of DPM-Solver++ and UniPC, which also know curves."""
    spacing = _above_zero(read, _open(read))
    if not any(read(curve) for curve in CURVES):
        return spacing
    spacing = _rounded_curve(read, rounds)
    if read("final_sigmas_type") == "sigma_min":
        read.apart()  # for the class the least sigma there is another
        spacing["final"] = "sigma_min"
    return spacing


def _above_zero(read: Settings, spacing: Recipe) -> Recipe:
    """The spacing of the classes that leave a little signal where the training leaves none."""
    if not read.values.get("rescale_betas_zero_snr"):
        return spacing
    read.apart("rescale_betas_zero_snr")
    by_timestep = spacing["name"] in BY_TIMESTEP
    return {**spacing, "least_alpha": LEAST_ALPHA} if by_timestep else spacing


def _rounded_curve(read: Settings, rounds: bool = True) -> Recipe:
    """A curve of the classes that round Karras et al.'s timesteps, and cut off those of others."""
    if not read("use_karras_sigmas"):
        read.apart()
    return _curve(read, rounds)


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


def _limit(read: Settings) -> float:
    return float(read("clip_sample_range") or 1.0)


def _clip(read: Settings) -> Recipe:
    limit = _limit(read)
    return {"denoisers": [{"name": "clip_x0", "limit": limit}]} if read("clip_sample") else {}
