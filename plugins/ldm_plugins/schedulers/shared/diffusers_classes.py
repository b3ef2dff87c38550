"""Scheduler classes of Diffusers: which can walk a model's path, and with which settings."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule, VPSchedule

BETAS = ("beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
OF_A_RUN = {"self", "model_output", "timestep", "sample", "generator", "return_dict"}
"""Parameters of ``step`` that are not options: a run fills them in."""

TOKENS = "it draws discrete tokens, not latents."
EXPLODING = "it walks a variance-exploding path of its own."
BACKWARDS = "it walks from data to noise."
STAGES = "it is for networks that draw in stages of growing size."
REASONS = {
    "AmusedScheduler": TOKENS,
    "BlockRefinementScheduler": TOKENS,
    "CMStochasticIterativeScheduler": EXPLODING,
    "CogVideoXDDIMScheduler": "it changes the model's noise schedule by its snr_shift_scale.",
    "CogVideoXDPMScheduler": "its step asks for a timestep and an estimate of before.",
    "ConsistencyDecoderScheduler": "it belongs to one decoder.",
    "CosineDPMSolverMultistepScheduler": EXPLODING,
    "DDIMInverseScheduler": BACKWARDS,
    "DDPMWuerstchenScheduler": "it walks the continuous path of one model, Würstchen.",
    "DPMSolverMultistepInverseScheduler": BACKWARDS,
    "DPMSolverSDEScheduler": "it draws noise from a tree of its own, so an image would not depend "
    "on its seed alone; the scheduler 'dpmpp_2m_sde' draws from the seeds.",
    "DiscreteDDIMScheduler": TOKENS,
    "EDMDPMSolverMultistepScheduler": EXPLODING,
    "EDMEulerScheduler": EXPLODING,
    "EntropyBoundScheduler": TOKENS,
    "FlowMapEulerDiscreteScheduler": "it is for flow maps, which are told two timesteps.",
    "HeliosDMDScheduler": STAGES,
    "HeliosScheduler": STAGES,
    "IPNDMScheduler": "it walks a path of its own, whatever the model's betas.",
    "KarrasVeScheduler": EXPLODING,
    "LTXEulerAncestralRFScheduler": "it must be handed its points, and makes none itself.",
    "MiniMaxH3Scheduler": "it is for the one model that it is named after.",
    "PiflowScheduler": "it is for networks that return a policy, not an estimate.",
    "RFD4ProteinaScheduler": "it is for proteins.",
    "RePaintScheduler": "its step asks for a picture and a mask.",
    "SCMScheduler": "it walks a trigonometric flow, on which only its own models are trained.",
    "ScoreSdeVeScheduler": EXPLODING,
    "UnCLIPScheduler": "it takes no noise schedule but its own.",
    "VQDiffusionScheduler": TOKENS,
}
"""Why a class cannot be used here, where its signature does not say so."""


def find_class(name: str) -> type:
    """The scheduler class of this name.

    Raises:
        LdmError: Diffusers has none, it needs a package that is missing, or it is no sampler of
            latents along a model's path.
    """
    import diffusers

    names = [n for n in dir(diffusers) if n.endswith("Scheduler") and not n.startswith("Flax")]
    look = f"`python -c 'import diffusers; help(diffusers.{name})'` describes it."
    if name not in names:
        raise LdmError(
            f"Diffusers {diffusers.__version__} has no scheduler class '{name}'."
            f"{did_you_mean(name, names)}"
        )
    if name in REASONS:
        raise LdmError(f"Diffusers' {name} cannot be used here: {REASONS[name]}", look)
    cls: type = getattr(diffusers, name)
    # A class whose packages are missing is a stand-in that lists them.
    if missing := set(getattr(cls, "_backends", ())) - {"torch"}:
        packages = " ".join(sorted(missing))
        raise LdmError(
            f"Diffusers' {name} needs the package {packages}, which is not installed.",
            f"`pip install {packages}`",
        )
    needs = [p.name for p in _step(cls).values() if p.default is inspect.Parameter.empty]
    extra = [parameter for parameter in needs if parameter not in OF_A_RUN]
    if extra or not ({"trained_betas", "shift"} & set(settings_of(cls))):
        lacks = f"its step asks for {', '.join(extra)}" if extra else "it takes no model's schedule"
        raise LdmError(f"Diffusers' {name} cannot be used here: {lacks}.", look)
    return cls


def _step(cls: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of a class's ``step``; none where it has no such method."""
    return inspect.signature(cls.step).parameters if hasattr(cls, "step") else {}


@cache
def settings_of(cls: type) -> dict[str, Any]:
    """The settings that a class reads, with their defaults."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(inspect.signature(cls).parameters.values())
    return {p.name: p.default for p in parameters if p.kind in named}


def timestep_options(cls: Any) -> Collection[str]:
    """The arguments of the class's ``set_timesteps``."""
    return inspect.signature(cls.set_timesteps).parameters


def step_options(cls: type) -> list[str]:
    """The arguments of the class's ``step`` that choose something, such as DDIM's eta."""
    names = [name for name in _step(cls) if name not in OF_A_RUN]
    return [name for name in names if name not in ("variance_noise", "per_token_timesteps")]


def check_names(names: Iterable[str], options: Collection[str], what: str) -> None:
    """Refuse names that a class does not know.

    Raises:
        LdmError: names the first of them.
    """
    for name in names:
        if name not in options:
            raise LdmError(
                f"{what} has no '{name}'.{did_you_mean(name, options)} "
                f"It has: {', '.join(options) or 'none'}."
            )


def make(cls: type, settings: Mapping[str, Any], schedule: NoiseSchedule) -> Any:
    """A scheduler of the class on a model's own noise schedule.

    Args:
        settings: of the class; those about betas must agree with the model's.
    Raises:
        LdmError: the class cannot walk this path, or refuses the settings.
    """
    name = cls.__name__
    if isinstance(schedule, VPSchedule):
        fixed = _on_betas(cls, settings, schedule)
    elif isinstance(schedule, FlowSchedule):
        fixed = _on_flow(cls, schedule)
    else:
        raise LdmError(
            f"Diffusers' {name} cannot be used with this model: its classes for "
            f"{type(schedule).__name__} walk a path of their own.",
            "`ldm plugins list --kind scheduler` shows schedulers for every path.",
        )
    count = fixed["num_train_timesteps"]
    if settings.get("num_train_timesteps", count) != count:
        raise LdmError(
            f"num_train_timesteps is {settings['num_train_timesteps']}, but the model was trained "
            f"on {count} timesteps."
        )
    return build(cls, {**settings, **fixed})


def build(cls: type, settings: Mapping[str, Any]) -> Any:
    """The class with these settings.

    Raises:
        LdmError: the class refuses them.
    """
    try:
        return cls(**settings)
    except Exception as error:
        raise LdmError(f"Diffusers' {cls.__name__} refuses its settings: {error}") from error


def _on_betas(cls: type, settings: Mapping[str, Any], schedule: VPSchedule) -> dict[str, Any]:
    own, name = settings_of(cls), cls.__name__
    if "trained_betas" not in own or settings.get("use_flow_sigmas"):
        raise LdmError(
            f"Diffusers' {name} walks a flow, and this model was trained on a variance-preserving "
            "path; classes such as DPMSolverMultistepScheduler walk that."
        )
    if any(settings.get(key) is not None for key in BETAS):
        theirs = build(cls, settings).alphas_cumprod.double().numpy()
        ours = schedule.alphas**2
        if theirs.shape != ours.shape or abs(theirs - ours).max() > 1e-5:
            raise LdmError(
                f"the settings of {name} describe another noise schedule than the model's; leave "
                f"out {', '.join(key for key in BETAS if key in settings)}."
            )
    fixed: dict[str, Any] = {
        "trained_betas": schedule.betas.tolist(),
        "num_train_timesteps": len(schedule.betas),
    }
    if schedule.alphas[-1] == 0:
        if "rescale_betas_zero_snr" not in own:
            raise LdmError(
                f"Diffusers' {name} cannot start where the signal is zero, as this model's noise "
                "schedule does; EulerDiscreteScheduler can."
            )
        fixed["rescale_betas_zero_snr"] = True  # the class then keeps its numbers finite
    return fixed


def _on_flow(cls: type, schedule: FlowSchedule) -> dict[str, Any]:
    own = settings_of(cls)
    fixed: dict[str, Any] = {"num_train_timesteps": int(schedule.last)}
    if "use_flow_sigmas" in own:
        return {**fixed, "use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    if "trained_betas" in own:
        raise LdmError(
            f"Diffusers' {cls.__name__} walks a variance-preserving path, and this model was "
            "trained on a flow; FlowMatchEulerDiscreteScheduler walks that."
        )
    return fixed
