"""The settings that Diffusers' own scheduler tests try, class by class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

Config = dict[str, Any]


def over(**values: Iterable[Any]) -> list[Config]:
    """A config of each combination."""
    return [dict(zip(values, combined, strict=True)) for combined in product(*values.values())]


def betas(*ends: tuple[float, float]) -> list[Config]:
    return [{"beta_start": start, "beta_end": end} for start, end in ends]


def thresholds(*predictions: str, **more: Iterable[Any]) -> list[Config]:
    limits = over(prediction_type=predictions, sample_max_value=[0.5, 1.0, 2.0], **more)
    return [{"thresholding": True, **config} for config in limits]


PATH: Config = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
LATENT: Config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LEAST: Config = {**PATH, "final_sigmas_type": "sigma_min"}
PREDICTIONS = over(prediction_type=["epsilon", "v_prediction"])
ALL_PREDICTIONS = over(prediction_type=["epsilon", "sample", "v_prediction"])
COARSE = betas((0.0001, 0.002), (0.001, 0.02), (0.01, 0.2), (0.1, 2))
FINE = betas((0.00001, 0.0002), (0.0001, 0.002), (0.001, 0.02))
ZERO_SNR = over(rescale_betas_zero_snr=[True])
CURVES: list[Config] = [{f"use_{name}_sigmas": True} for name in ("karras", "exponential", "beta")]
K_DIFFUSION = [
    *over(num_train_timesteps=[10, 50, 100, 1000, 1100]),
    *FINE,
    *over(beta_schedule=["scaled_linear"]),
    *PREDICTIONS,
]
DISTILLED = [
    *over(num_train_timesteps=[100, 500, 1000]),
    *COARSE,
    *over(beta_schedule=["linear", "squaredcos_cap_v2"]),
    *PREDICTIONS,
    *over(clip_sample=[True]),
    *thresholds("epsilon", "v_prediction"),
]
MULTISTEP = [
    *over(num_train_timesteps=[25, 50, 100, 999, 1000]),
    *PREDICTIONS,
    *over(lower_order_final=[True, False]),
    *CURVES,
]
DPM = [
    *MULTISTEP,
    *thresholds("epsilon", "sample", solver_order=[1, 2, 3], solver_type=["midpoint", "heun"]),
    *over(
        algorithm_type=["dpmsolver", "dpmsolver++", "sde-dpmsolver++"],
        solver_type=["midpoint", "heun"],
        solver_order=[1, 2, 3],
        prediction_type=["epsilon", "sample"],
    ),
    *over(lambda_min_clipped=[-5.1], variance_type=[None, "learned_range"]),
    *over(
        algorithm_type=["dpmsolver++", "sde-dpmsolver++"],
        prediction_type=["epsilon", "sample", "v_prediction"],
        final_sigmas_type=["sigma_min", "zero"],
        lower_order_final=[True, False],
    ),
]
SWEEPS: Mapping[str, tuple[Config, list[Config]]] = {
    "DDIM": (
        {**PATH, "clip_sample": True},
        [
            *over(num_train_timesteps=[100, 500, 1000]),
            *over(steps_offset=[1]),
            *over(set_alpha_to_one=[False], clip_sample=[False], steps_offset=[0, 1]),
            *COARSE,
            *over(beta_schedule=["squaredcos_cap_v2"]),
            *PREDICTIONS,
            *over(clip_sample=[False]),
            *over(timestep_spacing=["trailing", "leading"]),
            *ZERO_SNR,
            *thresholds("epsilon", "v_prediction"),
        ],
    ),
    "DDPM": (
        {**PATH, "clip_sample": True},
        [
            *over(num_train_timesteps=[1, 5, 100, 1000]),
            *COARSE,
            *over(beta_schedule=["squaredcos_cap_v2", "sigmoid"]),
            *over(variance_type=["fixed_small", "fixed_large", "other"]),
            *over(clip_sample=[False]),
            *ALL_PREDICTIONS,
            *ZERO_SNR,
            *thresholds("epsilon", "sample", "v_prediction"),
        ],
    ),
    "DEISMultistep": (
        PATH,
        [
            *MULTISTEP,
            *thresholds("epsilon", "sample", solver_order=[1, 2, 3]),
            *over(solver_order=[1, 2, 3], prediction_type=["epsilon", "sample"]),
        ],
    ),
    "DPMSolverMultistep": (
        LEAST,
        [
            *DPM,
            *over(
                algorithm_type=["sde-dpmsolver"],
                solver_type=["midpoint", "heun"],
                solver_order=[1, 2, 3],
            ),
            *over(euler_at_final=[True]),
            *ZERO_SNR,
            *over(use_lu_lambdas=[True], prediction_type=["v_prediction"]),
        ],
    ),
    "DPMSolverSinglestep": (LEAST, DPM),
    "EulerAncestralDiscrete": (PATH, [*K_DIFFUSION, *ZERO_SNR]),
    "EulerDiscrete": (
        PATH,
        [
            *K_DIFFUSION,
            *CURVES,
            *ZERO_SNR,
            *over(timestep_type=["discrete", "continuous"], prediction_type=["v_prediction"]),
            *over(use_karras_sigmas=[True], sigma_min=[0.02], sigma_max=[700.0]),
            *over(
                prediction_type=["epsilon", "sample", "v_prediction"],
                interpolation_type=["linear", "log_linear"],
                final_sigmas_type=["sigma_min", "zero"],
            ),
        ],
    ),
    "HeunDiscrete": (
        PATH,
        [
            *K_DIFFUSION,
            *CURVES,
            *over(beta_schedule=["exp"]),
            *over(clip_sample=[True], clip_sample_range=[1.0, 2.0, 3.0]),
            *over(
                prediction_type=["epsilon", "sample", "v_prediction"],
                timestep_spacing=["linspace", "leading"],
            ),
        ],
    ),
    "KDPM2AncestralDiscrete": (PATH, [*K_DIFFUSION, *CURVES]),
    "KDPM2Discrete": (PATH, [*K_DIFFUSION, *CURVES]),
    "LCM": (LATENT, DISTILLED),
    "LMSDiscrete": (PATH, [*K_DIFFUSION, *CURVES]),
    "PNDM": (
        PATH,
        [
            *over(num_train_timesteps=[100, 1000]),
            *over(steps_offset=[1]),
            *COARSE[:2],
            *over(beta_schedule=["squaredcos_cap_v2"]),
            *PREDICTIONS,
            *over(skip_prk_steps=[True]),
        ],
    ),
    "SASolver": (PATH, [*K_DIFFUSION, *CURVES]),
    "TCD": (LATENT, DISTILLED),
    "UniPCMultistep": (
        LEAST,
        [
            *MULTISTEP,
            *ZERO_SNR,
            *thresholds("epsilon", "sample", solver_order=[1, 2, 3], solver_type=["bh1", "bh2"]),
            *over(
                solver_type=["bh1", "bh2"],
                solver_order=[1, 2, 3],
                prediction_type=["epsilon", "sample"],
            ),
        ],
    ),
}
"""Of each class: what all its configs say, and what each says beside."""
