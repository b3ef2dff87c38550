"""What the ``scheduler_config.json`` of CogVideoX says: a variance-preserving path whose signal is
lowered, and a class of its own for each of two samplers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import zero_terminal_snr
from ldm_plugins.families.shared.scheduler_config import (
    FolderScheduler,
    read_schedule,
    read_scheduler,
)

CLASSES = {
    "CogVideoXDDIMScheduler": {"_class_name": "DDIMScheduler"},
    "CogVideoXDPMScheduler": {
        "_class_name": "DPMSolverMultistepScheduler",
        "algorithm_type": "sde-dpmsolver++",
    },
}
"""The usual classes that do what those do, on another path."""
DEFAULTS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
    "snr_shift_scale": 3.0,
}


def read_shifted_scheduler(config: Mapping[str, Any]) -> FolderScheduler:
    """What the config says, with the betas of the path that its class makes of those it names.

    Raises:
        LdmError: see `read_scheduler`; a class that has no such path; a scale that is not positive.
    """
    cls = str(config.get("_class_name"))
    settings = {**DEFAULTS, **config, "rescale_betas_zero_snr": False}
    scale = settings.pop("snr_shift_scale")
    if cls not in CLASSES:
        raise LdmError(
            f"scheduler_config.json: {cls} does not lower the signal of its path, as the network "
            f"was trained with; {' and '.join(CLASSES)} do."
        )
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale < 1e6:
        raise LdmError(
            f"scheduler_config.json: snr_shift_scale should be a positive number, not {scale!r}."
        )
    if cls == "CogVideoXDPMScheduler" and settings["timestep_spacing"] != "trailing":
        raise LdmError(
            f"scheduler_config.json: {cls} is known with the timestep_spacing trailing alone."
        )
    plain = read_schedule({**settings, "_class_name": "DDIMScheduler"})
    betas = shifted(plain.betas, scale)
    if config.get("rescale_betas_zero_snr"):
        betas = zero_terminal_snr(betas)
    own = {**settings, **CLASSES[cls], "trained_betas": betas.tolist(), "clip_sample": False}
    known = read_scheduler({**own, "_class_name": "DDIMScheduler"})
    if cls == "CogVideoXDDIMScheduler":
        return known
    recipe = {"scheduler": {"name": "dpmpp_2m_sde"}, "spacing": known.recipe["spacing"]}
    return FolderScheduler(
        own, known.noise_schedule, known.prediction_type, recipe, known.goes_with
    )


def shifted(betas: Any, scale: float) -> Any:
    """Betas of a path whose alpha² / sigma² is that of other betas over a number.

    Source: Yang et al. 2024, arXiv:2408.06072, Section 3.2, after Esser et al. 2024,
    arXiv:2403.03206, Section 5.3.2.
    """
    alpha_bar = np.cumprod(1.0 - betas)
    lowered = alpha_bar / (scale + (1 - scale) * alpha_bar)
    return 1.0 - lowered / np.concatenate([[1.0], lowered[:-1]])
