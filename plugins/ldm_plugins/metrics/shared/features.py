"""Features of pictures, by which two sets of them are compared: a row for each picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_core.errors import LdmError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Features:
    """What makes features.

    Attributes:
        label: what they are, in words.
        rows: ``rows(pictures)`` of (batch, 3, height, width) in [0, 1]: (batch, values). It reads
            weights when it is first called.
    """

    label: str
    rows: Callable[[Tensor], Tensor]


def features_of(source: str) -> Features:
    """The features that a person names.

    Raises:
        LdmError: there are none such; seen before any weight is read.
    """
    from ldm_plugins.metrics.shared.clip_models import clip_features
    from ldm_plugins.metrics.shared.inception import inception_features
    from ldm_plugins.metrics.shared.latents import latent_features
    from ldm_plugins.metrics.shared.random_convolutions import random_features

    of_model: dict[str, Callable[[str], Features]] = {
        "latents": latent_features,
        "clip": clip_features,
        "inception": inception_features,
    }
    kind, _, model = source.partition(":")
    if source == "random":
        return random_features()
    if kind not in of_model:
        raise LdmError(
            f"there are no features '{kind}'.{did_you_mean(kind, [*of_model, 'random'])}",
            "they are latents:MODEL, clip:MODEL, inception:FILE, or random.",
        )
    if not model:
        raise LdmError(
            f"features of '{kind}' name what makes them, as {kind}:"
            f"{'FILE' if kind == 'inception' else 'MODEL'}."
        )
    return of_model[kind](model)
