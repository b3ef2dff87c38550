"""Classifier-free guidance that grows along the frames of a video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ldm_core.contracts import Bound, Evaluation, Guidance, ModelInfo, Run
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.classifier_free import NotNegative, at_least_one
from ldm_plugins.guidance.shared.one_medium import check_one_medium

if TYPE_CHECKING:
    from torch import Tensor

Curve = Literal["line", "triangle"]


def along_frames(
    *, first: NotNegative = 1.0, scale: NotNegative = 3.0, curve: Curve = "line"
) -> Guidance:
    """Classifier-free guidance whose scale changes from frame to frame (Blattmann et al. 2023,
    arXiv:2311.15127, Appendix D.3): little at the first frame, which the picture that the video
    begins with says, and more the further away a frame is.

    Args:
        first: scale of the first frame; 1 is none.
        scale: scale of the last frame, or of the middle one.
        curve: from the first frame to the last on a "line", or to the middle one and back to the
            first's, a "triangle", for videos that come back to where they began.
    """
    scales = at_least_one("along_frames", first, "first"), at_least_one("along_frames", scale)
    return AlongFrames(*scales, curve)


@dataclass(frozen=True)
class AlongFrames(Guidance):
    """
    Attributes:
        axis: the place of the frames among the axes of a network's output; known once the model is.
    """

    first: float
    scale: float
    curve: Curve
    axis: int = 0

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return {"first": 1.0, "scale": 1.0}

    def fit(self, info: ModelInfo) -> AlongFrames:
        if "frames" not in info.latents.names:
            raise LdmError(
                "along_frames is for models of videos, and the latents of "
                f"'{info.source}' (family {info.family}) have {', '.join(info.latents.names)}.",
                "classifier_free has one scale for all.",
            )
        check_one_medium(info, "the guidance 'along_frames'")
        return AlongFrames(
            self.first, self.scale, self.curve, 2 + info.latents.names.index("frames")
        )

    def branches(self, point: Point) -> tuple[str, ...]:
        none = self.first == self.scale == 1
        return ("positive",) if none else ("negative", "positive")

    def bind(self, run: Run) -> Bound:
        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            positive = outputs["positive"]
            if "negative" not in outputs:
                return positive
            scales = self.scales(positive)
            return outputs["negative"] + scales * (positive - outputs["negative"])

        return Bound(self.branches, combine)

    def scales(self, output: Tensor) -> Tensor:
        """One for each frame, shaped to be multiplied with a network's output."""
        import torch

        frames = output.shape[self.axis]
        share = torch.linspace(0, 1, frames, device=output.device)
        if self.curve == "triangle":
            share = 1 - (2 * share - 1).abs()
        shape = [1] * output.ndim
        shape[self.axis] = frames
        return (self.first + (self.scale - self.first) * share).view(shape)
