"""Adaptive projected guidance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ldm_core.contracts import Bound, Evaluation, Guidance, ModelInfo, Run
from ldm_plugins.guidance.classifier_free import ClassifierFree, NotNegative, checked
from ldm_plugins.guidance.shared.one_medium import check_one_medium

if TYPE_CHECKING:
    from torch import Tensor


def adaptive_projected(
    *,
    scale: float = 7.5,
    eta: float = 0.0,
    norm_threshold: NotNegative = 15.0,
    momentum: Annotated[float, Field(gt=-1, lt=1)] = -0.5,
    of: Literal["x0", "output"] = "x0",
    each_channel: bool = False,
    low: NotNegative = 0.0,
    high: NotNegative | None = None,
) -> Guidance:
    """Adaptive projected guidance (Sadat et al. 2024, arXiv:2410.02416): strong guidance without
    its oversaturation.

    The update positive - negative of classifier-free guidance is averaged over the calls, its norm
    is bounded, and its part along the positive answer, which saturates colours, is weighed by eta;
    scale - 1 times the rest is added to the positive answer. All of it happens to x0 estimates, as
    in the paper, whatever the network predicts. Norms are of a whole image's latent, so that a
    fitting threshold grows with its size. The defaults are the paper's for Stable Diffusion XL;
    for Stable Diffusion 2.1 it takes norm_threshold 7.5 and momentum -0.75. With eta 1,
    norm_threshold 0 and momentum 0 it is classifier-free guidance.

    Args:
        scale: strength; 1 is none, and so is less.
        eta: weight of the update's part along the positive x0.
        norm_threshold: greatest norm of the update, r in the paper; 0 is no bound.
        momentum: weight of the earlier updates, beta in the paper, negative there so that each
            pushes away from those before; 0 is none.
        of: whether all of it happens to x0 estimates or to what the network returns, as in
            ACE-Step.
        each_channel: norms and parts along are of each channel by itself, as in ACE-Step.
        low, high: guidance acts where low < sigma/alpha <= high.
    """
    return AdaptiveProjected(
        *checked("adaptive_projected", scale, low, high),
        eta=eta,
        norm_threshold=norm_threshold,
        momentum=momentum,
        of=of,
        each_channel=each_channel,
    )


class Average:
    """The running average of one run's updates."""

    def __init__(self) -> None:
        self.value: Tensor | None = None

    def add(self, update: Tensor, momentum: float) -> Tensor:
        self.value = update if self.value is None else update + momentum * self.value
        return self.value


@dataclass(frozen=True)
class AdaptiveProjected(ClassifierFree):
    eta: float = 0.0
    norm_threshold: float = 0.0
    momentum: float = 0.0
    of: Literal["x0", "output"] = "x0"
    each_channel: bool = False

    def fit(self, info: ModelInfo) -> Guidance:
        check_one_medium(info, "the guidance 'adaptive_projected'")
        return self

    def bind(self, run: Run) -> Bound:
        rule = partial(self.project, Average())
        return replace(super().bind(run), combine=partial(self.on_interval, rule))

    def project(
        self, average: Average, positive: Tensor, negative: Tensor, at: Evaluation
    ) -> Tensor:
        if self.of == "output":
            return self._projected(average, positive, negative)
        return at.output(self._projected(average, at.x0(positive), at.x0(negative)))

    def _projected(self, average: Average, positive: Tensor, negative: Tensor) -> Tensor:
        update = positive - negative
        if self.momentum:
            update = average.add(update, self.momentum)
        if self.norm_threshold:
            length = self._dot(update, update).sqrt().clamp(min=1e-12)
            update = update * (self.norm_threshold / length).clamp(max=1.0)
        squared = self._dot(positive, positive).clamp(min=1e-12)
        along = self._dot(update, positive) / squared * positive
        return positive + (self.scale - 1) * (update + (self.eta - 1) * along)

    def _dot(self, a: Tensor, b: Tensor) -> Tensor:
        """The inner product of each image, (batch, 1, ...), or of each of its channels, (batch,
        channels, 1, ...)."""
        first = 2 if self.each_channel else 1
        return (a * b).sum(tuple(range(first, a.ndim)), keepdim=True)
