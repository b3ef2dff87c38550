"""What goes with a scheduler that a person names for a rectified flow, and what pipelines of
Diffusers hand to its classes there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ldm_core.contracts import LatentShape
from ldm_plugins.families.shared.named_schedulers import CLASSES, OWN, options_of
from ldm_plugins.families.shared.scheduler_counterparts import Recipe, nearest
from ldm_plugins.shared.flow_lines import of_tokens_and_steps

MULTISTEP = {
    *("deis", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m", "dpmpp_3m_sde", "dpmpp_single"),
    *("sa_solver", "unipc"),
}
"""Those whose class in Diffusers has flow points of its own; the others have the folder's."""
ALMOST_ONE = 1 - 1e-6  # where UniPC's class starts
LINE = {"base_shift": 0.5, "max_shift": 1.15}
LENGTHS = {"base_image_seq_len": 256, "max_image_seq_len": 4096}


def for_flow_scheduler(
    config: Mapping[str, Any], own: Mapping[str, Any], scheduler: str, spacing: str | None
) -> Recipe:
    """The layer of a recipe that goes with a scheduler: its options and a spacing.

    Args:
        config: what the folder's scheduler_config.json says.
        own: the folder's spacing, a ``flow_shift``.
        scheduler, spacing: ids of the plugins that are named.
    """
    name = scheduler.removeprefix(OWN)
    if scheduler == f"{OWN}heun":
        return {"scheduler": {"over": "sigma"}}
    if not scheduler.startswith(OWN) or name not in MULTISTEP:
        return {}
    cls, settings = CLASSES[name]
    near = nearest({**config, **settings, "_class_name": cls, "use_flow_sigmas": False})
    last = 1 / config.get("num_train_timesteps", 1000)
    points: Recipe = {key: value for key, value in own.items() if key not in ("base", "terminal")}
    if "whole_base" in own:  # which goes with the points of Euler's class
        points["whole_base"] = False
    if name == "unipc":
        points |= {key: own[key] for key in ("terminal",) if key in own}
        points["base"] = {"name": "flow_times", "first": 1.0, "last": last}
        points["most"] = ALMOST_ONE
    else:
        points["base"] = {"name": "flow_times", "first": 1 - last}
    options = {} if near is None else options_of(near[0]["scheduler"])
    return {"scheduler": options, "spacing": {**points, "whole_timesteps": True}}


def handed(
    config: Mapping[str, Any],
    patch: int,
    sigmas: bool,
    of_steps: bool,
    steps: int,
    latent: LatentShape,
) -> Mapping[str, Any]:
    """What the folder's pipeline hands to ``set_timesteps`` beside the number of steps.

    Args:
        patch: side of the patches by which the pipeline counts the size of a picture.
        sigmas: whether it hands on flow times, from 1 to 1/steps.
        of_steps: its shift depends on the number of steps too, see `of_tokens_and_steps`.
        latent: of the picture.
    """
    arguments: dict[str, Any] = {}
    if sigmas:
        arguments["sigmas"] = tuple(1 - i / steps for i in range(steps))
    if config.get("use_dynamic_shifting"):
        low, high = (config.get(key, value) for key, value in LINE.items())
        few, many = (config.get(key, value) for key, value in LENGTHS.items())
        patches = math.prod(places // patch for places in latent.places.values())
        line = low + (patches - few) * (high - low) / (many - few)
        arguments["mu"] = of_tokens_and_steps(patches, steps) if of_steps else line
    return arguments
