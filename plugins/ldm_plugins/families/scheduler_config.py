"""What a Diffusers ``scheduler_config.json`` says: noise schedule, prediction type, and which of
our plugins do what its scheduler class does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, cast

from ldm_core.errors import LdmError, LdmWarning
from ldm_core.noise_schedule import VPSchedule, vp_schedule, zero_terminal_snr
from ldm_core.prediction import PREDICTION_TYPES, PredictionType

SCHEDULERS = {
    "DDPMScheduler": "ddpm",
    "DDIMScheduler": "ddim",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "HeunDiscreteScheduler": "heun",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
}
LINSPACE_BY_DEFAULT = {
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "DPMSolverMultistepScheduler",
}
CLIPS = {"DDPMScheduler", "DDIMScheduler"}
ENDS_BY_ALPHA = {"DDIMScheduler"}


def read_schedule(config: Mapping[str, Any]) -> VPSchedule:
    """The variance-preserving schedule, with the defaults of the config's class.

    Raises:
        LdmError: a beta schedule that Stable Diffusion folders do not have.
    """
    heun = config.get("_class_name") == "HeunDiscreteScheduler"
    rescale = bool(config.get("rescale_betas_zero_snr", False))
    try:
        if config.get("trained_betas") is not None:
            betas = VPSchedule(config["trained_betas"])
            return VPSchedule(zero_terminal_snr(betas.betas)) if rescale else betas
        return vp_schedule(
            config.get("beta_schedule", "linear"),
            config.get("beta_start", 0.00085 if heun else 0.0001),
            config.get("beta_end", 0.012 if heun else 0.02),
            config.get("num_train_timesteps", 1000),
            rescale,
        )
    except (ValueError, TypeError) as error:
        raise LdmError(f"scheduler_config.json: {error}") from None


def read_prediction_type(config: Mapping[str, Any]) -> PredictionType:
    """What the network was trained to return.

    Raises:
        LdmError: an unknown prediction type.
    """
    found = config.get("prediction_type", "epsilon")
    if found not in PREDICTION_TYPES:
        raise LdmError(
            f"scheduler_config.json: no prediction type named '{found}'; "
            f"there are {', '.join(PREDICTION_TYPES)}."
        )
    return cast(PredictionType, found)


def read_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe that does what the config's scheduler class does."""
    cls = str(config.get("_class_name"))
    defaults: dict[str, Any] = {"scheduler": SCHEDULERS.get(cls, "ddim")}
    if cls not in SCHEDULERS:
        warnings.warn(
            f"the model's own scheduler, {cls}, has no counterpart here yet; ddim is used. "
            "Choose one with --scheduler to silence this.",
            LdmWarning,
            stacklevel=2,
        )
    if config.get("use_karras_sigmas"):
        defaults["spacing"] = {"name": "karras"}
        return defaults
    spacing = {
        "name": config.get(
            "timestep_spacing", "linspace" if cls in LINSPACE_BY_DEFAULT else "leading"
        )
    }
    if spacing["name"] == "leading" and config.get("steps_offset"):
        spacing["steps_offset"] = config["steps_offset"]
    # A config may keep keys of another class; only those that its own class reads count.
    if cls in ENDS_BY_ALPHA:
        least = not config.get("set_alpha_to_one", True)
    else:
        least = config.get("final_sigmas_type") == "sigma_min"
    if least:
        spacing["final"] = "sigma_min"
    defaults["spacing"] = spacing
    if cls in CLIPS and config.get("clip_sample", True):
        defaults["denoisers"] = [
            {"name": "clip_x0", "limit": float(config.get("clip_sample_range", 1.0))}
        ]
    return defaults
