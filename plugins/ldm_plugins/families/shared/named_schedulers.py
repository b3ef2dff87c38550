"""What goes with a scheduler that a person names: what Diffusers' class of it would make of the
folder's config, as by its ``from_config``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ldm_core.errors import LdmWarning
from ldm_plugins.families.shared.scheduler_counterparts import BY_TIMESTEP, Recipe, nearest
from ldm_plugins.families.shared.scheduler_settings import SETTINGS

OWN = "ldm-core:"
ITSELF = f"{OWN}diffusers:"
MULTISTEP = "DPMSolverMultistepScheduler"
PLAIN = {"algorithm_type": "dpmsolver++"}
SDE = {"algorithm_type": "sde-dpmsolver++"}
CLASSES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "dpm_2_ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp_2m": (MULTISTEP, {**PLAIN, "solver_order": 2}),
    "dpmpp_2m_sde": (MULTISTEP, {**SDE, "solver_order": 2}),
    "dpmpp_3m": (MULTISTEP, {**PLAIN, "solver_order": 3}),
    "dpmpp_3m_sde": (MULTISTEP, {**SDE, "solver_order": 3}),
    "dpmpp_sde": ("LMSDiscreteScheduler", {}),  # its own class has the same points
    "dpmpp_single": ("DPMSolverSinglestepScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "sa_solver": ("SASolverScheduler", {"algorithm_type": "data_prediction"}),
    "tcd": ("TCDScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
"""The class of each of our schedulers that has one, with the settings that make it that one."""


def for_scheduler(
    config: Mapping[str, Any], clips: bool, scheduler: str, spacing: str | None
) -> Recipe:
    """The layer of a recipe that goes with a scheduler: its options, a spacing, wrappers.

    Args:
        config: what the folder's scheduler_config.json says; not what its class adds.
        clips: whether the folder's own class clips x0.
        scheduler, spacing: ids of the plugins that are named.
    """
    if scheduler.startswith(ITSELF):
        return _class_itself(scheduler.removeprefix(ITSELF), config, clips)
    cls, settings = CLASSES.get(scheduler.removeprefix(OWN), (None, {}))
    if cls is None or not scheduler.startswith(OWN):
        return {}
    said = {**config, **settings, "_class_name": cls, **_clipping(cls, config, clips)}
    timesteps = (spacing or "").removeprefix(OWN)
    if timesteps in BY_TIMESTEP:
        said["timestep_spacing"] = timesteps
    near = nearest(said)
    if near is None:
        return {}
    recipe, read = near
    _tell(scheduler.removeprefix(OWN), cls, said, read.unread())
    return {"denoisers": [], **recipe, "scheduler": options_of(recipe["scheduler"])}


def _class_itself(cls: str, config: Mapping[str, Any], clips: bool) -> Recipe:
    """What goes with a class that runs as it is, which clips by itself."""
    clipping = _clipping(cls, config, clips)
    options: Recipe = {"config": clipping} if any(clipping.values()) else {}
    return {"denoisers": [], "scheduler": options}


def _clipping(cls: str, config: Mapping[str, Any], clips: bool) -> Recipe:
    """Whether a class clips x0. Where the folder does not say, classes clip that do so by default,
    also latents; here they do not, unless the folder's own class does."""
    default = SETTINGS.get(cls, {}).get("clip_sample")
    if default is None or "clip_sample" in config:
        return {} if default is None else {"clip_sample": config["clip_sample"]}
    return {"clip_sample": default and clips}


def _tell(scheduler: str, cls: str, said: Mapping[str, Any], unread: set[str]) -> None:
    for key in sorted(unread):
        warnings.warn(
            LdmWarning(
                f"the folder's scheduler_config.json says {key} = {said[key]!r}, which the "
                f"scheduler '{scheduler}' does not follow; 'diffusers:{cls}' does."
            ),
            stacklevel=2,
        )


def options_of(choice: str | Mapping[str, Any]) -> Recipe:
    """A choice's options, without its name."""
    options = {} if isinstance(choice, str) else dict(choice)
    options.pop("name", None)
    return options
