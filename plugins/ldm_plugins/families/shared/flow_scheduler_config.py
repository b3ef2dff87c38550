"""What the ``scheduler_config.json`` of a rectified-flow model says: its noise schedule, and which
of our plugins do what its scheduler class does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import FlowSchedule
from ldm_core.numerics.prediction import FLOW
from ldm_plugins.families.shared.named_flow_schedulers import for_flow_scheduler, handed
from ldm_plugins.families.shared.scheduler_config import FolderScheduler

EULER = "FlowMatchEulerDiscreteScheduler"
UNMAPPED = ("stochastic_sampling", "invert_sigmas")
"""Settings of Euler's class that none of our schedulers has."""
CURVES = {
    "use_karras_sigmas": "karras",
    "use_exponential_sigmas": "exponential",
    "use_beta_sigmas": "beta",
}


def read_flow_scheduler(
    config: Mapping[str, Any], *, base: str | None = None, patch: int = 2, of_steps: bool = False
) -> FolderScheduler:
    """What the config of a model on a rectified flow says; arguments as of `read_flow_defaults`.

    Raises:
        LdmError: see `read_flow_schedule`.
    """
    schedule = read_flow_schedule(config)
    recipe = read_flow_defaults(config, base=base, patch=patch, of_steps=of_steps)
    said = {"flow_shift": config["shift"], **config} if "shift" in config else dict(config)
    return FolderScheduler(
        said,
        schedule,
        FLOW,
        recipe,
        partial(for_flow_scheduler, config, recipe["spacing"]),
        partial(handed, config, patch, base is not None, of_steps),
    )


def read_flow_schedule(config: Mapping[str, Any]) -> FlowSchedule:
    """The rectified flow that the config's class steps along.

    Raises:
        LdmError: the class, or the config, is not of flow.
    """
    name = str(config.get("_class_name"))
    flows = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    if not (name.startswith("FlowMatch") or flows):
        raise LdmError(
            f"scheduler_config.json: {name} does not step along a rectified flow, which this "
            f"model was trained on; {EULER} does."
        )
    try:
        return FlowSchedule(config.get("num_train_timesteps", 1000))
    except (ValueError, TypeError) as error:
        raise LdmError(f"scheduler_config.json: {error}") from None


def read_flow_defaults(
    config: Mapping[str, Any], *, base: str | None = None, patch: int = 2, of_steps: bool = False
) -> dict[str, Any]:
    """The recipe that does what the config's scheduler class does.

    A class that none of our schedulers equals runs as it is; the spacing then has its shift, for
    whatever scheduler is chosen in its place. (Heun's class for flow averages slopes in flow time,
    and `heun` in sigma/alpha.)

    Args:
        base: the spacing that Diffusers' pipeline hands to the class; its own where None.
        patch: side of the patches by which the pipeline counts the size of a picture.
        of_steps: its shift depends on the number of steps too, see `of_tokens_and_steps`.
    """
    name = str(config.get("_class_name"))
    if name != EULER:
        shift = config.get("shift" if name.startswith("FlowMatch") else "flow_shift", 1.0)
        return {
            "scheduler": f"diffusers:{name}",
            "spacing": {"name": "flow_shift", "shift": shift},
        }
    spacing: dict[str, Any] = {"name": "flow_shift"}
    if config.get("use_dynamic_shifting", False):
        line = {
            "base_shift": config.get("base_shift", 0.5),
            "max_shift": config.get("max_shift", 1.15),
            "base_seq_len": config.get("base_image_seq_len", 256),
            "max_seq_len": config.get("max_image_seq_len", 4096),
        }
        spacing |= {
            "dynamic": True,
            **({"of_steps": True} if of_steps else line),
            "patch": patch,
            "shift_type": config.get("time_shift_type", "exponential"),
        }
    else:
        spacing["shift"] = config.get("shift", 1.0)
    if config.get("shift_terminal"):
        spacing["terminal"] = config["shift_terminal"]
    for setting, curve in CURVES.items():
        if config.get(setting):
            spacing["curve"] = curve
    if base is not None:
        spacing["base"] = base
    own = any(config.get(setting) for setting in UNMAPPED)
    return {"scheduler": f"diffusers:{name}" if own else "euler", "spacing": spacing}
