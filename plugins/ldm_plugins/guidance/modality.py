"""Guidance away from a video and a sound that do not hear of each other."""

from __future__ import annotations

from ldm_core.contracts import MODELS_OWN, Guidance, ModelInfo, Network, Run
from ldm_core.errors import LdmError
from ldm_plugins.guidance.classifier_free import NotNegative, at_least_one
from ldm_plugins.guidance.shared.altered import altered
from ldm_plugins.guidance.shared.self_attention import between_modalities, silent
from ldm_plugins.guidance.shared.weaker import Weaker, within
from ldm_plugins.shared.video_and_sound import VideoAndSound

NAME = "modality"


def modality(
    *,
    scale: NotNegative = 3.0,
    beside: Guidance = MODELS_OWN,
    start: float = 0.0,
    stop: float = 1.0,
) -> Guidance:
    """Modality guidance (HaCohen et al. 2026, arXiv:2601.03233): towards a video and a sound that
    belong together.

    The answer is beside + (scale - 1)·(positive - apart), where apart is the network's answer
    without the attention between video and sound. One more call of the network, where active. For
    models that draw both, such as LTX-2.

    Args:
        scale: strength; 1 is none.
        beside: the guidance that this is added to; the model's own where not given.
        start, stop: it acts on this part of the steps, of all of which 1 is the end.
    """
    return Weaker(
        inner=beside,
        branch="apart",
        weight=at_least_one(NAME, scale) - 1,
        network=apart,
        check=_check,
        active=within(NAME, start, stop),
        off=1.0,
    )


def _check(info: ModelInfo) -> None:
    check_both(info, NAME)


def apart(run: Run) -> Network:
    """The network of a run without the attention between video and sound."""
    return altered(run.model, lambda network: between_modalities(network, NAME), silent)


def check_both(info: ModelInfo, what: str) -> VideoAndSound:
    """The latents of a model of video and sound.

    Raises:
        LdmError: it draws something else.
    """
    if not isinstance(info.latents, VideoAndSound):
        raise LdmError(
            f"{what} is for models that draw a video and its sound together, and '{info.source}' "
            f"(family {info.family}) does not."
        )
    return info.latents
