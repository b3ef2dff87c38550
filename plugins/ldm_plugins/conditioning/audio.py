"""Starting from a sound."""

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
from ldm_core.media.clips import read_samples, said_before
from ldm_core.numerics.strength import cut, on_flow
from ldm_plugins.conditioning.shared.blend import Blend
from ldm_plugins.conditioning.shared.pictures import different
from ldm_plugins.conditioning.shared.spans import REPAINT, read_spans, share_along, spread
from ldm_plugins.conditioning.shared.strength import FromPicture, check_strength, strength

if TYPE_CHECKING:
    from torch import Tensor

AUDIO = Input(Path, REQUIRED, help="a sound: a file")


def audio() -> Conditioning:
    """Start from a sound in place of noise alone (SDEdit, Meng et al. 2021, arXiv:2108.01073,
    Algorithm 1), or make a part of its time anew.

    Reads an ``audio`` for each one that is made: a file (FLAC, WAV, Ogg, MP3, or a video with
    sound), or an array or tensor (channels, samples) of the model's rate in [-1, 1]; only files can
    be named in a manifest. One of another rate or other channels is brought to the model's, one
    that is longer is cut, and one that is shorter is followed by silence: each is said.

    ``strength``, from 0 to 1 (0.8), says how much of the way is walked, as
    from a picture. ``repaint``, such as ``4-6``, are the times in seconds that are made anew; what
    lies between is blended in at every step, and is kept exactly, in latents (Avrahami et al. 2022,
    arXiv:2206.02779, Section 4.1). With times behind its end a sound is gone on with.
    """
    return AudioStart()


@dataclass(frozen=True)
class AudioStart(Conditioning):
    """
    Attributes:
        flow: the model is one of rectified flow.
        rate: samples a second that the model makes.
        time: its axis.
        channels: of the sound that the model makes; None where it does not say.
    """

    flow: bool = False
    rate: float = 1.0
    time: Axis | None = None
    channels: int | None = None

    @property
    def inputs(self) -> Mapping[str, Input]:
        sound = replace(AUDIO, example=self._example)
        return {"audio": sound, "strength": strength(0.8), "repaint": REPAINT}

    def _example(self, extent: Extent) -> Tensor:
        import torch

        assert self.time is not None
        return torch.zeros(self.channels or 1, extent[self.time.name])

    def fit(self, info: ModelInfo) -> AudioStart:
        axes = info.latents.axes
        if len(axes) != 1 or info.rate is None:
            raise LdmError(
                f"the conditioning 'audio' is for models whose latents are places in the time of a "
                f"sound, and those of '{info.source}' (family {info.family}) have "
                f"{', '.join(info.latents.names)}."
            )
        return replace(
            self,
            flow=on_flow(info.noise_schedule),
            rate=info.rate,
            time=axes[0],
            channels=info.audio_channels,
        )

    def check(self, request: Request) -> None:
        check_strength(request, self.flow)
        for (sound,) in different(request.inputs["audio"]):
            self._read(sound, request)
        for (text,) in different(request.inputs["repaint"]):
            self._shares([text], request)

    def cut(self, grid: Grid, request: Request) -> Grid:
        return cut(grid, request.num_inference_steps, request.inputs["strength"][0])

    def bind(self, run: Run) -> RunHooks:
        request = run.request
        data, texts = self._samples(request), request.inputs["repaint"]
        if not any(texts):
            return FromPicture(run, data)
        shares = self._shares(texts, request)

        def share(x0: Tensor) -> Tensor:
            return spread(shares, 0, x0)

        return Blend(run, data, share, request.inputs["strength"][0] == 1)

    def _samples(self, request: Request) -> Tensor:
        """The sounds of a request, (batch, channels, samples)."""
        import torch

        each = different(request.inputs["audio"])
        with said_before():
            sounds = {id(sound): self._read(sound, request) for (sound,) in each}
        several = [sounds[id(sound)] for sound in request.inputs["audio"]]
        if len({len(sound) for sound in several}) > 1:
            raise LdmError("the sounds of a run should have the same channels.")
        return torch.stack(several)

    def _read(self, sound: object, request: Request) -> Tensor:
        return read_samples(sound, self._count(request), self.rate, self.channels)

    def _count(self, request: Request) -> int:
        assert self.time is not None
        return request.extent[self.time.name]

    def _shares(self, texts: Sequence[str | None], request: Request) -> list[list[float]]:
        """How much of each place in time is made anew, of each entry."""
        assert self.time is not None
        count = self._count(request)
        places, length = self.time.places(count), count / self.rate
        return [
            [1.0] * places
            if not text
            else share_along(read_spans(text, length), self.time, count, self.rate)
            for text in texts
        ]
