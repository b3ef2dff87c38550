"""The frame with which a video begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ldm_core.contracts import (
    LED_FROM,
    REQUIRED,
    Condition,
    Conditioning,
    Input,
    ModelInfo,
    Request,
    Run,
    RunHooks,
    Unequal,
)
from ldm_core.contracts.abilities import FirstFrameAbility, Keyframe, KeyframesAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.keyframes import NAME as KEYFRAMES
from ldm_plugins.conditioning.keyframes import NOISE_SCALE, NoiseScale
from ldm_plugins.conditioning.shared.compression import MOST, check_codec, compressed
from ldm_plugins.conditioning.shared.pictures import (
    check_size,
    different,
    mode_of,
    read_picture,
    to_pixels,
)

if TYPE_CHECKING:
    from torch import Tensor

TRAINED_CRF = 33
"""Of the frames that LTX-2 was trained on (Diffusers, pipelines/ltx2/utils.py)."""
BOTH = "first_and_last_frame"
FRAME = "a picture of the video's size with which it {}: a file"


def first_frame(*, crf: int | None = None, noise_scale: NoiseScale | None = None) -> Conditioning:
    """Image to video: a video that begins with a picture and, where the model can be shown that
    too, ends with another.

    Reads a ``first_frame`` and, where it is wanted, a ``last_frame`` for each video, of its size: a
    file, a PIL image, a tensor (channels, height, width) or an array (height, width, channels);
    only files can be named in a manifest. How the network sees them is the model's own: as further
    channels (Wan 2.1), in the place of the first latents (LTX-Video, LTX-2, and Wan 2.2 of 5
    billion weights), a last one as more tokens (LTX-Video from 0.9.5 on), or beside those of each
    frame (Stable Video Diffusion). All branches of a guidance see them, where a network did not
    learn to do without.

    Args:
        crf: how much the frames are compressed first, as H.264 does the frame of a video: from 0
            for not at all to 51. Left out, it is what the model was trained with: 33 for LTX-2, as
            in Diffusers, and 0 for the others. It needs PyAV.
        noise_scale: for LTX-Video from 0.9.5 on: the frames have noise before each step, this much
            times the square of sigma, so that things move (0.15, as in Diffusers).
    """
    if crf is not None and not 0 <= crf <= MOST:
        raise LdmError(f"the crf of 'first_frame' should be a number from 0 to {MOST}, not {crf}.")
    return FirstFrame(chosen=crf, noise_scale=noise_scale)


@dataclass(frozen=True)
class FirstFrame(Conditioning):
    """
    Attributes:
        mode: of the model's frames.
        last: whether a last frame may be shown.
        both: whether it must be.
        model: for messages.
        chosen: crf of a recipe.
        crf: that of the frames.
        noise_scale: of a recipe.
    """

    inputs: ClassVar[Mapping[str, Input]] = {
        "first_frame": Input(Path, REQUIRED, help=FRAME.format("begins")),
        "last_frame": Input(Path | None, None, help=FRAME.format("ends")),
    }

    mode: str = "RGB"
    last: bool = False
    both: bool = False
    model: str = ""
    chosen: int | None = None
    crf: int = 0
    noise_scale: float | None = None

    @property
    def ability(self) -> str:
        return BOTH if self.both else "first_frame"

    def fit(self, info: ModelInfo) -> FirstFrame:
        both = BOTH in info.abilities
        last = both or "last_frame" in info.abilities
        mode = mode_of(info.image_channels)
        own = TRAINED_CRF if "compressed_frames" in info.abilities else 0
        crf = own if self.chosen is None else self.chosen
        if crf and mode != "RGB":
            raise LdmError(f"frames of '{info.source}' have no colours that H.264 compresses.")
        fitted = replace(self, mode=mode, last=last, both=both, model=info.source, crf=crf)
        if KEYFRAMES in info.abilities:
            return AtTheEnds(**{**vars(fitted), "last": True})
        if self.noise_scale is not None:
            raise LdmError(
                f"the noise_scale of 'first_frame' is for models that are shown noisy frames, as "
                f"LTX-Video's from 0.9.5 on, and '{info.source}' (family {info.family}) is not.",
                "leave noise_scale out.",
            )
        return fitted

    def check(self, request: Request) -> None:
        if self.crf:
            check_codec(self.crf)
        firsts, lasts = (request.inputs[name] for name in self.inputs)
        for first, last in different(firsts, lasts):
            check_size("first_frame", read_picture("first_frame", first, self.mode), request)
            if last is not None:
                self._check_last(request)
                check_size("last_frame", read_picture("last_frame", last, self.mode), request)
            elif self.both:
                raise LdmError(f"'{self.model}' needs a last_frame beside each first_frame.")

    def _check_last(self, request: Request) -> None:
        if not self.last:
            raise LdmError(
                f"'{self.model}' is shown the first frame of a video alone.",
                "leave last_frame out.",
            )
        if request.extent["frames"] < 2:
            raise LdmError("a video of one frame has no last_frame beside its first_frame.")

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        lasts = [
            None if frame is None else self._pixels("last_frame", [frame])[0]
            for frame in run.request.inputs["last_frame"]
        ]
        ability = self._of(run)
        condition = ability.encode(run, self._first(run), lasts)
        return {
            branch: ability.silenced(condition) if branch in LED_FROM else condition
            for branch in branches
        }

    def bind(self, run: Run) -> RunHooks:
        return Framed(run, self._of(run), self._first(run))

    def _of(self, run: Run) -> FirstFrameAbility:
        ability: FirstFrameAbility = run.model.abilities[self.ability]
        return ability

    def _first(self, run: Run) -> Tensor:
        return self._pixels("first_frame", run.request.inputs["first_frame"])

    def _pixels(self, name: str, values: Sequence[object]) -> Tensor:
        pixels = to_pixels(name, values, self.mode)
        return (compressed(pixels, self.crf) if self.crf else pixels) * 2 - 1


class AtTheEnds(FirstFrame):
    """The frames as keyframes, of models that are shown any."""

    @property
    def ability(self) -> str:
        return KEYFRAMES

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        return dict.fromkeys(branches, self._shown_by(run).encode(run, self._keyframes(run)))

    def bind(self, run: Run) -> RunHooks:
        scale = NOISE_SCALE if self.noise_scale is None else self.noise_scale
        return self._shown_by(run).bind(run, self._keyframes(run), scale)

    def _shown_by(self, run: Run) -> KeyframesAbility:
        ability: KeyframesAbility = run.model.abilities[KEYFRAMES]
        return ability

    def _keyframes(self, run: Run) -> list[list[Keyframe]]:
        """Of each video; the same objects where the same pictures are given."""
        frames, made = (run.request.inputs[name] for name in self.inputs), {}
        end = run.request.extent["frames"] - 1

        def keyframe(name: str, frame: int, picture: object) -> Keyframe:
            key = frame, id(picture)
            if key not in made:

                def read() -> Tensor:
                    return self._pixels(name, [picture])[0].unsqueeze(1)

                made[key] = Keyframe(frame, 1, 1.0, read)
            return made[key]

        return [
            [
                keyframe("first_frame", 0, first),
                *([] if last is None else [keyframe("last_frame", end, last)]),
            ]
            for first, last in zip(*frames, strict=True)
        ]


class Framed(RunHooks):
    """Sees that a video begins with its first frame where the network does not draw that.

    Args:
        first: (batch, channels, height, width) in [-1, 1].
    """

    def __init__(self, run: Run, ability: FirstFrameAbility, first: Tensor) -> None:
        self._run = run
        self._ability = ability
        self._first = first

    def finish(self, x: Tensor) -> Tensor:
        return self._ability.finish(self._run, x, self._first)
