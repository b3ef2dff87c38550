"""The settings that Diffusers' scheduler classes for variance-preserving paths read, with their
defaults, so that a folder's scheduler_config.json can be read without importing Diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PATH: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
}
LATENT_BETAS = {"beta_start": 0.00085, "beta_end": 0.012}
RESCALED = {"rescale_betas_zero_snr": False}
LEADING = {"timestep_spacing": "leading", "steps_offset": 0}
LINSPACE = {"timestep_spacing": "linspace", "steps_offset": 0}
THRESHOLD = {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
CLIP = {"clip_sample": True, "clip_sample_range": 1.0}
SIGMAS = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
FLOW = {"use_flow_sigmas": False, "flow_shift": 1.0}
SHIFT = {"use_dynamic_shifting": False, "time_shift_type": "exponential"}

DDIM = {**PATH, **CLIP, **THRESHOLD, **LEADING, **RESCALED, "set_alpha_to_one": True}
DDPM = {**PATH, **CLIP, **THRESHOLD, **LEADING, **RESCALED, "variance_type": "fixed_small"}
K_DIFFUSION = {**PATH, **SIGMAS, **LINSPACE}
DISTILLED = {
    **DDIM,
    **LATENT_BETAS,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "original_inference_steps": 50,
    "timestep_scaling": 10.0,
}
SOLVER = {
    **PATH,
    **THRESHOLD,
    **SIGMAS,
    **FLOW,
    "solver_order": 2,
    "lower_order_final": True,
}
DPM_SOLVER = {
    **SOLVER,
    **SHIFT,
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "final_sigmas_type": "zero",
    "lambda_min_clipped": float("-inf"),
    "variance_type": None,
}

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "DDIMParallelScheduler": DDIM,
    "DDIMScheduler": DDIM,
    "DDPMParallelScheduler": DDPM,
    "DDPMScheduler": DDPM,
    "DEISMultistepScheduler": {
        **SOLVER,
        **LINSPACE,
        **SHIFT,
        "algorithm_type": "deis",
        "solver_type": "logrho",
    },
    "DPMSolverMultistepScheduler": {
        **DPM_SOLVER,
        **LINSPACE,
        **RESCALED,
        "euler_at_final": False,
        "use_lu_lambdas": False,
    },
    "DPMSolverSinglestepScheduler": {**DPM_SOLVER, "lower_order_final": False},
    "EulerAncestralDiscreteScheduler": {**PATH, **LINSPACE, **RESCALED},
    "EulerDiscreteScheduler": {
        **K_DIFFUSION,
        **RESCALED,
        "interpolation_type": "linear",
        "sigma_min": None,
        "sigma_max": None,
        "timestep_type": "discrete",
        "final_sigmas_type": "zero",
    },
    "HeunDiscreteScheduler": {**K_DIFFUSION, **LATENT_BETAS, **CLIP, "clip_sample": False},
    "KDPM2AncestralDiscreteScheduler": {**K_DIFFUSION, **LATENT_BETAS},
    "KDPM2DiscreteScheduler": {**K_DIFFUSION, **LATENT_BETAS},
    "LCMScheduler": DISTILLED,
    "LMSDiscreteScheduler": K_DIFFUSION,
    "PNDMScheduler": {**PATH, **LEADING, "skip_prk_steps": False, "set_alpha_to_one": False},
    "SASolverScheduler": {
        **{key: value for key, value in SOLVER.items() if key != "solver_order"},
        **LINSPACE,
        "predictor_order": 2,
        "corrector_order": 2,
        "tau_func": None,
        "algorithm_type": "data_prediction",
        "lambda_min_clipped": float("-inf"),
        "variance_type": None,
    },
    "TCDScheduler": DISTILLED,
    "UniPCMultistepScheduler": {
        **SOLVER,
        **LINSPACE,
        **RESCALED,
        **SHIFT,
        "predict_x0": True,
        "solver_type": "bh2",
        "disable_corrector": [],
        "solver_p": None,
        "final_sigmas_type": "zero",
        "sigma_min": None,
        "sigma_max": None,
        "shift_terminal": None,
    },
}
"""Each class's settings, without those of one model alone."""


class Settings:
    """The settings of a config's class, which remember which of them were read.

    A config may keep keys of another class; only those that its own class reads count.

    Args:
        config: as in scheduler_config.json; ``_class_name`` is one of `SETTINGS`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.defaults = SETTINGS[config["_class_name"]]
        own = {key: value for key, value in config.items() if key in self.defaults}
        self.values: dict[str, Any] = {**self.defaults, **own}
        self._read: set[str] = set()
        self._apart = False

    def __call__(self, name: str) -> Any:
        """A setting's value, or None where the class has no such setting."""
        self._read.add(name)
        return self.values.get(name)

    def without_effect(self, *names: str) -> None:
        """Say that these settings change nothing, given the others."""
        self._read.update(names)

    def apart(self, *names: str) -> None:
        """Say that with these settings ours goes another way than the class, on the same points."""
        self._apart = True
        self._read.update(names)

    @property
    def exact(self) -> bool:
        """Whether what was read of it does all that the class does."""
        return not self._apart and not self.unread()

    def unread(self) -> set[str]:
        """Settings that differ from the default and that nobody read."""
        return {
            key
            for key, value in self.values.items()
            if value != self.defaults[key] and key not in self._read
        }
