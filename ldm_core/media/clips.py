"""Videos and sounds that a person gives, as long and of the rate that is made."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.composition.limits import available_bytes, in_words
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.arrays import is_array, read_array
from ldm_core.media.sound_files import read_sound
from ldm_core.media.video_files import Sound, read_video
from ldm_core.values import brief

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Array = np.ndarray[Any, np.dtype[Any]]

MOST_RATE = 10**6
"""Samples a second that a file may say; its sound is resampled from there."""
LOUDEST = 1.5
"""What lossy files reach of a sound within [-1, 1], and a little more."""
_said: ContextVar[bool] = ContextVar("said", default=False)
ALIKE = 1e-3
"""Rates that differ by no more than this share are one: 29.97 and 30000/1001."""


def read_clip(
    value: Any, extent: Mapping[str, int], rate: float | None, channels: int, name: str = "video"
) -> Tensor:
    """A video as pixels (channels, frames, height, width) float32 in [0, 1], of this extent.

    Of a file frames are taken at the rate that is made, from the first on; that it is another, or
    that more are there, is said.

    Args:
        value: a file, an array (frames, height, width, channels) or a tensor (frames, channels,
            height, width).
        rate: frames a second that are made; None where that is not known.
        channels: 1 or 3.
        name: what to call it in an error.
    Raises:
        LdmError: it is none of these, of another size, or has too few frames.
    """
    import numpy as np
    import torch

    count = extent["frames"]
    if is_array(value):
        pixels = read_array(name, value, channels)
        there = len(pixels)
    else:
        if not isinstance(value, str | Path):
            raise LdmError(
                f"the {name} should be a file, an array (frames, height, width, {channels}) or a "
                f"tensor (frames, {channels}, height, width), not {brief(value)}."
            )
        timed = read_video(value, name)
        rate = timed.rate if rate is None else rate
        every = len(timed.frames) if rate is None else timed.count_at(rate)
        there = every
        if rate and timed.rate and abs(timed.rate - rate) > ALIKE * rate:
            _note(
                f"the {name} has {timed.rate:.4g} frames a second, and {rate:.4g} are made: "
                "of each moment the frame then shown is taken"
            )
        frames = list(timed.frames) if rate is None else timed.at_rate(rate, count)
        mode = "L" if channels == 1 else "RGB"
        arrays = [np.asarray(frame.convert(mode)) for frame in frames[:count]]
        batch = np.stack(arrays).reshape(len(arrays), *arrays[0].shape[:2], channels)
        pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
    if there < count:
        raise LdmError(
            f"the {name} has {there} frames at the rate that is made, and {count} are to be made.",
            "ask for fewer (--frames), or give a longer one.",
        )
    if there > count:
        _note(f"the {name} has {there} frames at that rate, and the first {count} are taken")
    high, wide = pixels.shape[-2:]
    height, width = extent["height"], extent["width"]
    if (high, wide) != (height, width):
        raise LdmError(
            f"the {name} is {wide}x{high} pixels and {width}x{height} is to be made; scale the "
            f"{name}, or ask for its size."
        )
    return pixels[:count].permute(1, 0, 2, 3).contiguous()


def read_samples(
    value: Any, count: int, rate: float, channels: int | None, name: str = "audio"
) -> Tensor:
    """A sound as samples (channels, samples) float32, so many and of the rate that is made.

    That it is resampled, cut, lengthened by silence, or of other channels is said.

    Args:
        value: a file, or an array or tensor (channels, samples) of the rate that is made.
        count: samples that are made.
        channels: that the model makes; None for those that the sound has.
        name: what to call it in an error.
    Raises:
        LdmError: as `read_all_samples`.
    """
    import numpy as np
    import torch

    samples = read_all_samples(value, rate, channels, name).numpy()
    there = samples.shape[1]
    if there > count:
        _note(
            f"the {name} is {there / rate:.4g} seconds long, and the first {count / rate:.4g} count"
        )
    elif there < count:
        _note(
            f"the {name} is {there / rate:.4g} seconds long, and {count / rate:.4g} are made: "
            "silence follows it"
        )
    full = np.zeros((samples.shape[0], count), np.float32)
    full[:, : min(there, count)] = samples[:, :count]
    return torch.from_numpy(full)


def read_all_samples(value: Any, rate: float, channels: int | None, name: str = "audio") -> Tensor:
    """A sound as samples (channels, samples) float32 of the rate that is made, as long as it is.

    That it is resampled or of other channels is said.

    Args:
        value: a file, or an array or tensor (channels, samples) of the rate that is made.
        channels: that the model makes; None for those that the sound has.
        name: what to call it in an error.
    Raises:
        LdmError: it is none of these, or holds numbers that are not finite.
    """
    import numpy as np
    import torch

    if is_array(value):
        samples = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
        if samples.ndim != 2 or samples.dtype.kind != "f" or not samples.size:
            raise LdmError(
                f"the {name} should be floating-point samples (channels, samples) in [-1, 1], not "
                f"{brief(value)}."
            )
        sound = Sound(samples.astype(np.float32), rate)
    elif isinstance(value, str | Path):
        sound = read_sound(value, name)
    else:
        raise LdmError(
            f"the {name} should be a file, or samples (channels, samples), not {brief(value)}."
        )
    if not np.isfinite(sound.samples).all():
        raise LdmError(f"the {name} holds numbers that are not finite (NaN or infinite).")
    loudest = float(np.abs(sound.samples).max())
    if loudest > LOUDEST:
        _note(
            f"the {name} reaches {loudest:.4g}, and models were trained on sounds within [-1, 1]: "
            "make it quieter, or expect noise"
        )
    return torch.from_numpy(_of_channels(_at_rate(sound, rate, name), channels, name))


def _at_rate(sound: Sound, rate: float, name: str) -> Array:
    """Samples at another rate, by a polyphase filter, which is said."""
    if sound.rate == rate:
        return sound.samples
    if not 1 <= sound.rate <= MOST_RATE:
        raise LdmError(
            f"the {name} has {sound.rate:,.10g} samples a second by its header, and no sound has "
            f"more than {MOST_RATE:,}: it is damaged."
        )
    needed = sound.samples.size * max(rate / sound.rate, 1) * 12
    if needed > (free := available_bytes()):
        raise LdmError(
            f"the {name} is {sound.samples.shape[1] / sound.rate:,.4g} seconds long, and bringing "
            f"it to {rate:,.10g} samples a second takes more than the {in_words(free)} of memory "
            "that are free.",
            "cut out what is to count.",
        )
    from fractions import Fraction

    from scipy.signal import resample_poly

    _note(
        f"the {name} has {sound.rate:,.10g} samples a second, and {rate:,.10g} are made: it is "
        "resampled"
    )
    ratio = Fraction(rate).limit_denominator(10**6) / Fraction(sound.rate).limit_denominator(10**6)
    samples: Array = resample_poly(
        sound.samples, ratio.numerator, ratio.denominator, axis=1
    ).astype("float32")
    return samples


def _of_channels(samples: Array, channels: int | None, name: str) -> Array:
    import numpy as np

    there = samples.shape[0]
    if channels is None or there == channels:
        return samples
    if there == 1:
        _note(f"the {name} has one channel, and each of the {channels} that are made gets it")
        return np.repeat(samples, channels, axis=0)
    if channels == 1:
        _note(f"the {name} has {there} channels, and their mean is taken")
        mean: Array = samples.mean(axis=0, keepdims=True)
        return mean
    raise LdmError(
        f"the {name} has {there} channels, and this model makes {channels}.",
        "mix it down with another program; one channel, and as many as are made, are taken.",
    )


@contextmanager
def said_before() -> Iterator[None]:
    """A block that reads what was read before: what there was to say of it is not said again."""
    token = _said.set(True)
    try:
        yield
    finally:
        _said.reset(token)


def _note(text: str) -> None:
    if not _said.get():
        warnings.warn(text, LdmWarning, stacklevel=3)
