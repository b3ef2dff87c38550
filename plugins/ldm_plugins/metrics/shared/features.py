"""Features of pictures, by which two sets of them are compared: a row for each picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_core.contracts.metric import Figure, Note
from ldm_core.errors import LdmError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

FITTED = (
    "its features were fitted here to the reference, so that it compares with figures of the same "
    "reference alone, and never with such of Inception"
)


@dataclass(frozen=True)
class Features:
    """What makes features.

    Attributes:
        label: what they are, in words.
        rows: ``rows(pictures)`` of (batch, 3, height, width) in [0, 1]: (batch, values). It reads
            weights when it is first called.
        fit: ``fit(reference_rows)`` gives what makes features of rows, where that is known only
            once all of the reference is there.
        values: of each picture, of such as are fitted.
    """

    label: str
    rows: Callable[[Tensor], Tensor]
    fit: Callable[[Tensor], Callable[[Tensor], Tensor]] | None = None
    values: int | None = None

    def figure(self, figure: Figure) -> Figure:
        """A figure of two sets of features as one of their rows."""
        fit = self.fit
        if fit is None:
            return figure

        def fitted(rows: Tensor, reference_rows: Tensor) -> float:
            features = fit(reference_rows)
            return figure(features(rows), features(reference_rows))

        return fitted

    def said(self, few: Callable[[int, int], str] | None = None) -> Note | None:
        """What is to be known of a figure.

        Args:
            few: ``few(pictures, values)`` says that there are too few.
        """
        if few is None and self.fit is None:
            return None

        def note(rows: Tensor, reference_rows: Tensor) -> str:
            pictures = min(len(rows), len(reference_rows))
            words = [] if few is None else [few(pictures, self.values or rows.shape[1])]
            words.append("" if self.fit is None else FITTED)
            return "; ".join(filter(None, words))

        return note


def features_of(source: str) -> Features:
    """The features that a person names.

    Raises:
        LdmError: there are none such; seen before any weight is read.
    """
    from ldm_plugins.metrics.shared.clip_models import clip_features
    from ldm_plugins.metrics.shared.fitted import fitted_features
    from ldm_plugins.metrics.shared.inception import inception_features
    from ldm_plugins.metrics.shared.latents import latent_features
    from ldm_plugins.metrics.shared.random_convolutions import random_features

    of_model: dict[str, Callable[[str], Features]] = {
        "latents": latent_features,
        "clip": clip_features,
        "inception": inception_features,
    }
    alone = {"random": random_features, "fitted": fitted_features}
    kind, _, model = source.partition(":")
    if source in alone:
        return alone[source]()
    if kind not in of_model:
        raise LdmError(
            f"there are no features '{kind}'.{did_you_mean(kind, [*of_model, *alone])}",
            "they are latents:MODEL, clip:MODEL, inception:FILE, fitted, or random.",
        )
    if not model:
        raise LdmError(
            f"features of '{kind}' name what makes them, as {kind}:"
            f"{'FILE' if kind == 'inception' else 'MODEL'}."
        )
    return of_model[kind](model)
