"""Pictures and pieces of video at places in a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from ldm_core.contracts import (
    Axis,
    Condition,
    Conditioning,
    Input,
    ModelInfo,
    Request,
    Run,
    RunHooks,
    Unequal,
)
from ldm_core.contracts.abilities import Keyframe, KeyframesAbility
from ldm_plugins.conditioning.shared.keyframe_tables import Reading, read_keyframes
from ldm_plugins.conditioning.shared.pictures import different, mode_of

NAME = "keyframes"
KEYFRAMES = Input(
    list[dict[str, Any]] | None,
    None,
    file_keys=("image", "video"),
    help='tables of an image or a video and where it is seen: [{image = "a.png", frame_index = 8}]',
)
NOISE_SCALE = 0.15
"""Of Diffusers' pipelines where nothing is chosen."""
NoiseScale = Annotated[float, Field(ge=0)]


def keyframes(*, noise_scale: NoiseScale = NOISE_SCALE) -> Conditioning:
    """Pictures and pieces of video that a video shows at places in time, for models that were
    trained to: LTX-Video from 0.9.5 on (HaCohen et al. 2024, arXiv:2501.00103, Section 2.5).

    Reads ``keyframes``, a list of tables for all videos, or a list of such lists, one for each:
    ``[{image = "a.png"}, {image = "b.png", frame_index = 40}, {video = "c.mp4", strength = 0.8}]``.
    An image is a file, a PIL image, a tensor or an array, as of ``first_frame``; a video as of
    ``video``, of which as many frames are taken as there is room for, 1 and then every so many as a
    latent stands for. Both have the size that is made. ``frame_index`` is where it begins (0), and
    ``strength`` how much of it is kept, from 0 to 1 (1): less than all of what begins the video
    alone, of which the rest is drawn.

    Args:
        noise_scale: what is kept whole has noise before each step, this much times the square of
            sigma, so that things move.
    """
    return Keyframes(noise_scale)


@dataclass(frozen=True)
class Keyframes(Conditioning):
    """
    Attributes:
        mode: of the model's pictures.
        rate: frames a second that the model makes where nobody says another.
        time: its axis.
    """

    noise_scale: float
    mode: str = "RGB"
    rate: float | None = None
    time: Axis | None = None

    @property
    def ability(self) -> str:
        return NAME

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {NAME: KEYFRAMES}

    def fit(self, info: ModelInfo) -> Keyframes:
        if NAME not in info.abilities:
            return self
        time, mode = info.latents.axis("frames"), mode_of(info.image_channels)
        return replace(self, mode=mode, rate=info.rate, time=time)

    def check(self, request: Request) -> None:
        reading = self._reading(request)
        for (entry,) in different(request.inputs[NAME]):
            for keyframe in read_keyframes(entry, reading):
                keyframe.read()

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        return dict.fromkeys(branches, self._of(run).encode(run, self._each(run.request)))

    def bind(self, run: Run) -> RunHooks:
        return self._of(run).bind(run, self._each(run.request), self.noise_scale)

    def _of(self, run: Run) -> KeyframesAbility:
        ability: KeyframesAbility = run.model.abilities[NAME]
        return ability

    def _each(self, request: Request) -> list[list[Keyframe]]:
        """The keyframes of each video; the same objects where the same are given."""
        reading, entries = self._reading(request), request.inputs[NAME]
        read = {id(entry): read_keyframes(entry, reading) for (entry,) in different(entries)}
        return [read[id(entry)] for entry in entries]

    def _reading(self, request: Request) -> Reading:
        assert self.time is not None
        rate = self.rate if request.frame_rate is None else request.frame_rate
        return Reading(request.extent, self.time, rate, self.mode)
