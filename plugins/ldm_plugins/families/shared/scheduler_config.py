"""What a Diffusers ``scheduler_config.json`` says: noise schedule, prediction type, and the recipe
that does what its scheduler class does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ldm_core.contracts import LatentShape
from ldm_core.contracts.family import nothing_handed
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import (
    NoiseSchedule,
    VPSchedule,
    vp_schedule,
    zero_terminal_snr,
)
from ldm_core.numerics.prediction import PREDICTION_TYPES, PredictionType
from ldm_plugins.families.shared.named_schedulers import for_scheduler
from ldm_plugins.families.shared.scheduler_counterparts import counterpart
from ldm_plugins.families.shared.scheduler_settings import PATH, RESCALED, SETTINGS

BETAS = ("beta_start", "beta_end", "beta_schedule", "trained_betas", *RESCALED)
COSINE = "squaredcos_cap_v2"
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class FolderScheduler:
    """What a folder says of its scheduler.

    Attributes:
        config: in Diffusers' words, without what its class adds by default.
        noise_schedule: of the network's training.
        prediction_type: what the network was trained to return.
        recipe: our plugins that do what the config's class does.
        goes_with: see `ModelInfo`.
        handed: see `ModelInfo`.
    """

    config: Mapping[str, Any]
    noise_schedule: NoiseSchedule
    prediction_type: PredictionType
    recipe: Mapping[str, Any]
    goes_with: Callable[[str, str | None], Mapping[str, Any]]
    handed: Callable[[int, LatentShape], Mapping[str, Any]] = nothing_handed


def read_scheduler(
    config: Mapping[str, Any], overruled: Mapping[str, Any] = NOTHING
) -> FolderScheduler:
    """What the config of a model on a variance-preserving path says.

    Args:
        overruled: settings that the folder's pipeline sets in its own scheduler, whatever the
            folder says. In another class they only stand where the folder says something of them.
    Raises:
        LdmError: see `read_schedule`, `read_prediction_type` and `read_defaults`.
    """
    own = {**config, **overruled}
    said = {**config, **{key: value for key, value in overruled.items() if key in config}}
    return FolderScheduler(
        said,
        read_schedule(own),
        read_prediction_type(own),
        read_defaults(own),
        partial(for_scheduler, said, _clips(own)),
    )


def with_stated(config: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what a file of weights says of its own training.

    Betas rescaled to zero terminal SNR are then the network's, also under a class that reads no
    such setting.
    """
    said = {**config, **stated}
    known = SETTINGS.get(str(config.get("_class_name")), RESCALED)
    if stated.get("rescale_betas_zero_snr") and not RESCALED.keys() <= known.keys():
        rescaled = zero_terminal_snr(read_schedule(said).betas)
        said["trained_betas"] = rescaled.tolist()
    return said


def _clips(config: Mapping[str, Any]) -> bool:
    """Whether the config's class clips x0."""
    defaults = SETTINGS.get(str(config["_class_name"]), {})
    return bool({**defaults, **config}["clip_sample"]) if "clip_sample" in defaults else False


def read_schedule(config: Mapping[str, Any]) -> VPSchedule:
    """The variance-preserving schedule, with the defaults of the config's class.

    Raises:
        LdmError: a beta schedule that Stable Diffusion folders do not have.
    """
    defaults = SETTINGS.get(str(config.get("_class_name")), {**PATH, **RESCALED})
    settings = {**defaults, **{key: value for key, value in config.items() if key in defaults}}
    rescale = bool(settings.get("rescale_betas_zero_snr"))
    try:
        if settings["trained_betas"] is not None:
            betas = VPSchedule(settings["trained_betas"])
            return VPSchedule(zero_terminal_snr(betas.betas)) if rescale else betas
        return vp_schedule(
            settings["beta_schedule"],
            settings["beta_start"],
            settings["beta_end"],
            settings["num_train_timesteps"],
            rescale,
        )
    except (ValueError, TypeError) as error:
        raise LdmError(f"scheduler_config.json: {error}") from None


def read_prediction_type(config: Mapping[str, Any]) -> PredictionType:
    """What the network was trained to return.

    Raises:
        LdmError: an unknown prediction type.
    """
    name = config.get("prediction_type", "epsilon")
    if name not in PREDICTION_TYPES:
        raise LdmError(
            f"scheduler_config.json: no prediction type named '{name}'; "
            f"there are {', '.join(PREDICTION_TYPES)}."
        )
    return PREDICTION_TYPES[name]


def read_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe that does what the config's scheduler class does.

    Our own scheduler, spacing and wrappers where they give the class's results; else the class
    itself, by the scheduler ``diffusers:``, and the spacing that stands by for another choice.

    Raises:
        LdmError: the config names no class.
    """
    cls = config.get("_class_name")
    if not isinstance(cls, str):
        raise LdmError("scheduler_config.json names no class: its _class_name is missing.")
    own = counterpart(config) if cls in SETTINGS else None
    if own is not None:
        return own
    return {
        "scheduler": {"name": f"diffusers:{cls}", "config": _own(cls, config)},
        "spacing": {"name": "trailing"},
    }


def _own(cls: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as settings of its class: the betas, which are the model's, apart."""
    defaults = SETTINGS.get(cls)
    settings = {k: v for k, v in config.items() if not k.startswith("_") and k not in BETAS}
    if config.get("beta_schedule") == COSINE and config.get("trained_betas") is None:
        settings["beta_schedule"] = COSINE  # by this name a class decides whether to round
    if defaults is None:
        return settings
    # Where nothing is said of clipping, the class clips; the scheduler `diffusers:` would not.
    clips = {"clip_sample": defaults["clip_sample"]} if "clip_sample" in defaults else {}
    return {**clips, **{key: value for key, value in settings.items() if key in defaults}}
