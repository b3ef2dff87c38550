"""What a ``scheduler_config.json`` of unCLIP's own class says, in a folder of any name: DDPM at
timesteps that are spread evenly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_plugins.families.shared.scheduler_types import check_scheduler

CLASS = "UnCLIPScheduler"
DEFAULTS: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "variance_type": "fixed_small_log",
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "prediction_type": "epsilon",
    "beta_schedule": "squaredcos_cap_v2",
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    "variance_type": ("fixed_small_log", "learned_range"),
    "prediction_type": ("epsilon", "sample"),
    "beta_schedule": ("squaredcos_cap_v2",),
}


def read_unclip_scheduler(folder: Path) -> dict[str, Any]:
    """The config as the usual class that does the same.

    Args:
        folder: of the scheduler.
    Raises:
        LdmError: it is of another class, or says what that one does not know.
    """
    file = folder / "scheduler_config.json"
    config = read_json(file)
    check_scheduler(config, file)
    said = {**DEFAULTS, **{key: config[key] for key in DEFAULTS if key in config}}
    if config.get("_class_name") != CLASS:
        raise LdmError(f"{file}: a {config.get('_class_name')}, where unCLIP has a {CLASS}.")
    for key, known in CHOICES.items():
        if said[key] not in known:
            raise LdmError(f"{file}: {key} should be {' or '.join(known)}, not {said[key]!r}.")
    return {"_class_name": "DDPMScheduler", **said, "timestep_spacing": "linspace"}
