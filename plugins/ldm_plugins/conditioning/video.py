"""Starting from a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import (
    REQUIRED,
    Axis,
    Conditioning,
    Extent,
    Grid,
    Input,
    ModelInfo,
    Request,
    Run,
    RunHooks,
)
from ldm_core.errors import LdmError
from ldm_core.media.clips import read_clip, said_before
from ldm_core.numerics.strength import cut, on_flow
from ldm_plugins.conditioning.shared.blend import Blend
from ldm_plugins.conditioning.shared.pictures import different, mode_of
from ldm_plugins.conditioning.shared.spans import REPAINT, read_spans, share_along, spread
from ldm_plugins.conditioning.shared.strength import FromPicture, check_strength, strength

if TYPE_CHECKING:
    from torch import Tensor

VIDEO = Input(Path, REQUIRED, help="a video of the size that is made: a file")
TIME = "frames"


def video() -> Conditioning:
    """Start from a video in place of noise alone (SDEdit, Meng et al. 2021, arXiv:2108.01073,
    Algorithm 1), or make a part of its time anew.

    Reads a ``video`` for each one that is made, of its size: a file (MP4, Matroska, WebP, GIF), an
    array (frames, height, width, channels) or a tensor (frames, channels, height, width); only
    files can be named in a manifest. Of a file so many frames are taken, from the first on, as are
    made, at the rate that is made; one that is shorter is refused.

    ``strength``, from 0 to 1 (0.8), says how much of the way is walked, as
    from a picture. ``repaint``, such as ``0.5-1.5,2-3``, are the times in seconds that are made
    anew; what lies between is blended in at every step, and is kept exactly, in latents (Avrahami
    et al. 2022, arXiv:2206.02779, Section 4.1). A latent that stands for frames of both is a share
    of both.

    Models that draw a video and its sound at once are refused: the sound of the file is not
    encoded.
    """
    return VideoStart()


@dataclass(frozen=True)
class VideoStart(Conditioning):
    """
    Attributes:
        mode: of the model's pictures.
        flow: the model is one of rectified flow.
        rate: frames a second that the model makes where nobody says another.
        time: its axis.
        at: of the time among the axes of the latents.
    """

    mode: str = "RGB"
    flow: bool = False
    rate: float | None = None
    time: Axis | None = None
    at: int = 0

    @property
    def inputs(self) -> Mapping[str, Input]:
        clip = replace(VIDEO, example=self._example)
        return {"video": clip, "strength": strength(0.8), "repaint": REPAINT}

    def _example(self, extent: Extent) -> Tensor:
        import torch

        sides = (extent[TIME], len(self.mode), extent["height"], extent["width"])
        return torch.zeros(sides)

    def fit(self, info: ModelInfo) -> VideoStart:
        names = info.latents.names
        if {*names} != {TIME, "height", "width"}:
            raise LdmError(
                f"the conditioning 'video' is for models that make video, and '{info.source}' "
                f"(family {info.family}) makes what has {', '.join(names)}."
            )
        info.latents.check_one(
            "the conditioning 'video'",
            "the sound of a file is not encoded either; 'first_frame' goes on from a picture.",
        )
        return replace(
            self,
            mode=mode_of(info.image_channels),
            flow=on_flow(info.noise_schedule),
            rate=info.rate,
            time=info.latents.axis(TIME),
            at=names.index(TIME),
        )

    def check(self, request: Request) -> None:
        check_strength(request, self.flow)
        for (clip,) in different(request.inputs["video"]):
            read_clip(clip, request.extent, self._rate(request), len(self.mode))
        for (text,) in different(request.inputs["repaint"]):
            self._shares([text], request)

    def cut(self, grid: Grid, request: Request) -> Grid:
        return cut(grid, request.num_inference_steps, request.inputs["strength"][0])

    def bind(self, run: Run) -> RunHooks:
        import torch

        request = run.request
        rate, channels = self._rate(request), len(self.mode)
        each = different(request.inputs["video"])
        with said_before():
            clips = {id(clip): read_clip(clip, request.extent, rate, channels) for (clip,) in each}
        data = torch.stack([clips[id(clip)] for clip in request.inputs["video"]]) * 2 - 1
        texts = request.inputs["repaint"]
        if not any(texts):
            return FromPicture(run, data)
        shares = self._shares(texts, request)

        def share(x0: Tensor) -> Tensor:
            return spread(shares, self.at, x0)

        return Blend(run, data, share, request.inputs["strength"][0] == 1)

    def _shares(self, texts: Sequence[str | None], request: Request) -> list[list[float]]:
        """How much of each place in time is made anew, of each entry."""
        assert self.time is not None
        count = request.extent[TIME]
        places = self.time.places(count)
        if not any(texts):
            return [[1.0] * places for _ in texts]
        rate = self._rate(request)
        if rate is None:
            raise LdmError(
                "'repaint' is said in seconds, and this model says no frame_rate; give one."
            )
        return [
            [1.0] * places
            if not text
            else share_along(read_spans(text, count / rate), self.time, count, rate)
            for text in texts
        ]

    def _rate(self, request: Request) -> float | None:
        return self.rate if request.frame_rate is None else request.frame_rate
