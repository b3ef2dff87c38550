"""What the ``scheduler_config.json`` of Stable Audio says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.contracts.family import nothing_more
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import VESchedule
from ldm_core.numerics.prediction import V_PREDICTION
from ldm_plugins.families.shared.scheduler_config import FolderScheduler

COSINE = "CosineDPMSolverMultistepScheduler"
DEFAULTS: Mapping[str, Any] = {
    "sigma_min": 0.3,
    "sigma_max": 500,
    "sigma_data": 1.0,
    "sigma_schedule": "exponential",
    "num_train_timesteps": 1000,
    "solver_order": 2,
    "prediction_type": "v_prediction",
    "rho": 7.0,
    "solver_type": "midpoint",
    "lower_order_final": True,
    "euler_at_final": False,
    "final_sigmas_type": "zero",
}
"""Of the scheduler's class."""
ONLY = ("sigma_data", "solver_order", "prediction_type", "final_sigmas_type")
"""Settings that must have their defaults here."""
CURVES = ("exponential", "karras")


def read_cosine_scheduler(config: Mapping[str, Any]) -> FolderScheduler:
    """What a config of `COSINE` says: sigmas between two ends, and steps of the reverse SDE.

    Raises:
        LdmError: it says what none of our schedulers does.
    """
    said = {**DEFAULTS, **{k: v for k, v in config.items() if k in DEFAULTS}}
    curve: dict[str, Any] = {"name": said["sigma_schedule"]}
    has = [f"{key} {said[key]!r}" for key in ("sigma_schedule", *ONLY)]
    fits = all(said[key] == DEFAULTS[key] for key in ONLY) and curve["name"] in CURVES
    if config.get("_class_name") != COSINE or not fits:
        expected = [f"{key} {DEFAULTS[key]!r}" for key in ONLY]
        raise LdmError(
            f"scheduler_config.json: Stable Audio has a {COSINE} with the sigma_schedule "
            f"{' or '.join(CURVES)}, {', '.join(expected)}; this one is a "
            f"{config.get('_class_name')} with the {', '.join(has)}."
        )
    if curve["name"] == "karras":
        curve |= {"rho": said["rho"]}
    try:
        schedule = VESchedule(said["sigma_min"], said["sigma_max"], said["num_train_timesteps"])
    except (ValueError, TypeError) as error:
        raise LdmError(f"scheduler_config.json: {error}") from None
    scheduler = {"name": "dpmpp_2m_sde", "solver_type": said["solver_type"]}
    recipe = {"scheduler": scheduler, "spacing": curve}
    return FolderScheduler(config, schedule, V_PREDICTION, recipe, nothing_more)
