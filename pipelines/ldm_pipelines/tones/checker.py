"""A judge for the `tones` world: hears what sounds, how often, and which way its pitch goes.

It knows nothing of captions or of how a sound came to be. Whether something sounds is read from the
loudness of each 20 ms; which pitch, from where the spectrum of each 32 ms is greatest; whether it
is a tone or noise, from how much of that spectrum lies there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ldm_core.errors import LdmError
from ldm_pipelines.tones.captions import LEVELS, NOISE, RATE, SAMPLES, Sound

Floats = npt.NDArray[np.floating[Any]]

STEP = 40  # samples from one reading to the next, 5 ms
SHORT, WINDOW, FINE = 160, 256, 2048  # samples: of loudness, of a spectrum, and with its zeros
SILENCE = 0.03  # loudness (root mean square) of which a sound has more
QUIET = 0.3  # of the loudness of its loud part, below which it pauses
CLEAR = 0.5  # of it, above which its pitch is heard
LEAST = 0.05  # seconds that a pause and a sound last
NEAR = 80.0  # Hz from the greatest place that still belong to a tone
TONE, HISS = 0.55, 0.35  # share of the spectrum there, above which a tone is heard, below noise
STILL = 0.2  # octaves from the middle within which nine tenths of a steady pitch lie: in 32 ms
# frequencies are told apart by 31 Hz, which are 0.17 octaves at 250 Hz
FAR, STRAIGHT = 0.8, 0.9  # octaves that a pitch rises; its correlation with time


@dataclass(frozen=True)
class Hearing:
    """What a checker says that it hears, in the words of a sound; None is a pitch of no word."""

    pitch: str | None
    times: int

    def agrees(self, sound: Sound) -> dict[str, bool]:
        """Which of the sound's words are heard."""
        return {"pitch": self.pitch == sound.pitch, "times": self.times == sound.times}


def hear(samples: npt.NDArray[np.generic]) -> Hearing:
    """Hear one sound: floats in [-1, 1] at 8 kHz, shape (8192,).

    Raises:
        LdmError: the sound has another shape.
    """
    if samples.shape != (SAMPLES,):
        raise LdmError(f"a sound must have shape ({SAMPLES},), not {samples.shape}")
    wave = samples.astype(np.float64)
    loudness = np.sqrt(np.square(_pieces(wave, SHORT)).mean(1))
    usual = float(np.quantile(loudness, 0.9))
    if usual < SILENCE:
        return Hearing(None, 0)
    runs = _runs(loudness > QUIET * usual)
    spectra = np.abs(np.fft.rfft(_pieces(wave, WINDOW) * np.hanning(WINDOW), FINE)) ** 2
    inner = [np.arange(a, b)[2:-2] for a, b in runs]  # the ends are heard beside silence
    heard = np.concatenate([np.empty(0, np.int64), *inner])
    heard = heard[loudness[heard] > CLEAR * usual]
    return Hearing(_pitch(heard * STEP / RATE, spectra[heard]), len(runs))


def _pieces(wave: Floats, length: int) -> Floats:
    """The pieces (readings, length) around every `STEP`th sample."""
    padded = np.pad(wave, (length // 2, length - length // 2 - 1))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::STEP]


def _runs(loud: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where something sounds, begin and end: shorter pauses are none, nor are shorter sounds."""
    least = LEAST * RATE / STEP
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    joined: list[tuple[int, int]] = []
    for begin, end in edges.reshape(-1, 2).tolist():
        if joined and begin - joined[-1][1] < least:
            begin = joined.pop()[0]
        joined.append((begin, end))
    return [(begin, end) for begin, end in joined if end - begin >= least]


def _pitch(seconds: Floats, spectra: Floats) -> str | None:
    """The word for what is heard at these times, (readings,); spectra (readings, frequencies)."""
    if len(seconds) < 2:
        return None
    frequencies = np.arange(spectra.shape[1]) * RATE / FINE
    peaks = frequencies[spectra.argmax(1)]
    near = np.abs(frequencies - peaks[:, None]) <= NEAR
    share = float(np.median((spectra * near).sum(1) / spectra.sum(1)))
    if share < TONE:
        return NOISE if share < HISS else None
    octaves = _smooth(np.log2(np.maximum(peaks, 1.0)))
    middle = float(np.median(octaves))
    if np.quantile(np.abs(octaves - middle), 0.9) <= STILL:
        return _level(2.0**middle)
    rise = np.polyfit(seconds, octaves, 1)[0] * np.ptp(seconds)
    if abs(rise) < FAR or abs(np.corrcoef(seconds, octaves)[0, 1]) < STRAIGHT:
        return None
    return "rising" if rise > 0 else "falling"


def _smooth(track: Floats) -> Floats:
    """The middle one of the 11 readings around each, which are 55 ms."""
    around = np.pad(track, 5, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(around, 11), axis=1))


def _level(frequency: float) -> str | None:
    """The level in whose frequencies it lies, or within a quarter of an octave of them."""
    for name, (low, high) in LEVELS.items():
        if low / 2**0.25 <= frequency <= high * 2**0.25:
            return name
    return None
