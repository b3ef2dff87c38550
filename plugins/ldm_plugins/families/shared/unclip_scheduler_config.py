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


USUAL = "DDPMScheduler"
SPACINGS = ("leading", "linspace")
SAID: Mapping[str, Any] = {"steps_offset": 0, "thresholding": False}


def read_prior_scheduler(folder: Path) -> dict[str, Any]:
    """The config of a prior's scheduler, which is of unCLIP's class or, as in Stable unCLIP, of the
    usual one.

    Args:
        folder: of the scheduler.
    Raises:
        LdmError: it is of another class, or says what is not known of a prior.
    """
    file = folder / "scheduler_config.json"
    config = read_json(file)
    if config.get("_class_name") != USUAL:
        return read_unclip_scheduler(folder)
    check_scheduler(config, file)
    said = {**DEFAULTS, "beta_schedule": "linear", "timestep_spacing": SPACINGS[0], **config}
    if said["timestep_spacing"] not in SPACINGS:
        raise LdmError(
            f"{file}: timestep_spacing should be {' or '.join(SPACINGS)} for a prior, not "
            f"{said['timestep_spacing']!r}."
        )
    if said.get("variance_type", "fixed_small") not in ("fixed_small", "fixed_small_log"):
        raise LdmError(
            f"{file}: a prior's variance_type is fixed_small, not {said['variance_type']!r}."
        )
    for key, value in SAID.items():
        if said.get(key, value) != value:
            raise LdmError(f"{file}: {key} should be {value!r} for a prior, not {said[key]!r}.")
    return said


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
