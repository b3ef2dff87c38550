"""Guidance of a video and its sound at once, each with scales of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.contracts import Bound, Evaluation, Guidance, ModelInfo, Network, Run
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.classifier_free import NotNegative, Share, at_least_one, rescaled
from ldm_plugins.guidance.modality import apart, check_both
from ldm_plugins.guidance.shared.altered import altered
from ldm_plugins.guidance.shared.layers import check_layers
from ldm_plugins.guidance.shared.self_attention import self_attention, with_values
from ldm_plugins.shared.video_and_sound import VideoAndSound

if TYPE_CHECKING:
    from torch import Tensor

NAME = "multimodal"
PERTURBED, APART = "perturbed", "apart"


class Scales(NamedTuple):
    """Of the video, or of its sound.

    Attributes:
        text: of classifier-free guidance; 1 is none.
        skipped: of spatio-temporal guidance; 0 is none.
        modality: of modality guidance; 1 is none.
        rescale: how far the spread of the positive x0 is kept.
    """

    text: float
    skipped: float
    modality: float
    rescale: float


def multimodal(
    *,
    scale: NotNegative = 3.0,
    audio_scale: NotNegative | None = None,
    modality_scale: NotNegative = 3.0,
    audio_modality_scale: NotNegative | None = None,
    stg_scale: NotNegative | None = None,
    audio_stg_scale: NotNegative | None = None,
    layers: list[int | str] | None = None,
    rescale: Share = 0.7,
    audio_rescale: Share | None = None,
) -> Guidance:
    """Three guidances of a model that draws a video and its sound (HaCohen et al. 2026,
    arXiv:2601.03233), each part with scales of its own: away from the negative prompt
    (`classifier_free`), from a network without some of its self-attention (`spatio_temporal`), and
    from one in which video and sound do not hear of each other (`modality`).

    The answer is positive + (scale - 1)·(positive - negative) + stg_scale·(positive - perturbed) +
    (modality_scale - 1)·(positive - apart), all as estimates of x0, whose standard deviation is
    then brought back to that of the positive one. What has no scale is not computed.

    Args:
        scale, audio_scale: of the first, for the video and for its sound; 1 is none. Of the sound,
            the video's where not given, as of all that follow.
        modality_scale, audio_modality_scale: of the third; 1 is none.
        stg_scale, audio_stg_scale: of the second, which needs `layers`; 0 is none. 1 where
            there are layers and it is not given.
        layers: numbers of the blocks whose self-attention is left out; none where not given.
        rescale, audio_rescale: phi of Lin et al. 2023 (arXiv:2305.08891, Section 3.4); 0 is none.
    """

    def of_sound(own: float | None, videos: float) -> float:
        return videos if own is None else own

    if not layers and (stg_scale or audio_stg_scale):
        raise LdmError(
            f"{NAME} has an stg_scale, and no layers whose self-attention is left out for it.",
            "give layers, such as layers=[28]; or leave stg_scale and audio_stg_scale out.",
        )
    skips = float(bool(layers)) if stg_scale is None else stg_scale
    skipped = (skips, of_sound(audio_stg_scale, skips))
    texts = (scale, of_sound(audio_scale, scale))
    modalities = (modality_scale, of_sound(audio_modality_scale, modality_scale))
    video, sound = (
        Scales(at_least_one(NAME, texts[i]), skipped[i], at_least_one(NAME, modalities[i]), phi)
        for i, phi in enumerate((rescale, of_sound(audio_rescale, rescale)))
    )
    return Multimodal(video, sound, tuple(layers or ()))


@dataclass(frozen=True)
class Multimodal(Guidance):
    """
    Attributes:
        layers: of the perturbed network.
        space: of the latents; known once the model is.
    """

    video: Scales
    sound: Scales
    layers: tuple[int | str, ...]
    space: VideoAndSound | None = None

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        off = {"scale": 1.0, "modality_scale": 1.0, "stg_scale": 0.0}
        return {**off, **{f"audio_{name}": value for name, value in off.items()}}

    def fit(self, info: ModelInfo) -> Multimodal:
        space = check_both(info, NAME)
        if self.layers:
            check_layers(info, self.layers, NAME)
        return Multimodal(self.video, self.sound, self.layers, space)

    def branches(self, point: Point) -> tuple[str, ...]:
        both = (self.video, self.sound)
        asked = {
            "negative": any(part.text != 1 for part in both),
            "positive": True,
            PERTURBED: any(part.skipped for part in both),
            APART: any(part.modality != 1 for part in both),
        }
        return tuple(branch for branch, needed in asked.items() if needed)

    def bind(self, run: Run) -> Bound:
        branches = self.branches(run.grid[0])
        networks: dict[str, Network] = {}
        if PERTURBED in branches:
            names = partial(self_attention, layers=self.layers, what=NAME)
            networks[PERTURBED] = altered(run.model, names, with_values)
        if APART in branches:
            networks[APART] = apart(run)
        return Bound(
            self.branches,
            self.combine,
            networks=networks,
            inputs={branch: {} for branch in networks},
            gives_x0=True,
        )

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        """An estimate of x0."""
        space = self.space
        if space is None:
            raise LdmError(f"{NAME} is fitted to a model before it guides one.")
        x0 = {branch: space.split(at.x0(output)) for branch, output in outputs.items()}
        video = guided({branch: both.video for branch, both in x0.items()}, self.video)
        sound = guided({branch: both.sound for branch, both in x0.items()}, self.sound)
        return space.join(x0["positive"]._replace(video=video, sound=sound))


def guided(x0: Mapping[str, Tensor], scales: Scales) -> Tensor:
    """What one part's estimates of x0, each (batch, ...), by branch, make together."""
    positive = x0["positive"]
    weights = {
        "negative": scales.text - 1,
        PERTURBED: scales.skipped,
        APART: scales.modality - 1,
    }
    total = positive
    for branch, weight in weights.items():
        if branch in x0:
            total = total + weight * (positive - x0[branch])
    return rescaled(total, positive, scales.rescale)
