"""The `tones` world drawn: 8192 samples at 8 kHz, a second of one sound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ldm_pipelines.tones.captions import LEVELS, NOISE, RATE, SAMPLES, WAYS, Sound

Floats = npt.NDArray[np.float64]

MARGIN = (0.03, 0.08)  # seconds of silence before the first and after the last
EDGE = 0.02  # seconds in which a sound comes and goes
SHARE = 0.6  # of its time that a beep sounds
PITCHES = RATE / 256 * (np.arange(64) + 0.5)
"""Of tones that stay, in Hz: the middle of each channel of `ldm_pipelines.tones.lapped`. What a
latent is then, its second next is turned round, whatever the pitch; and so a network that compares
the two hears through noise what it must learn channel by channel where tones lie anywhere."""
LOUD, HISS = (0.4, 0.6), 0.25  # amplitude of tones; deviation of noise


def draw_sound(sound: Sound, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw one sound, shape (8192,), in [-1, 1].

    Frequencies, phase, loudness and both ends vary.
    """
    seconds = np.arange(SAMPLES) / RATE
    begin, end = rng.uniform(*MARGIN), SAMPLES / RATE - rng.uniform(*MARGIN)
    slots = np.linspace(begin, end, sound.times + 1)
    length = (end - begin) * (1 if sound.times == 1 else SHARE / sound.times)
    envelope = sum(_heard(seconds - start, length) for start in slots[:-1])
    if sound.pitch == NOISE:
        wave = HISS * rng.standard_normal(SAMPLES)
    else:
        wave = rng.uniform(*LOUD) * np.sin(_phase(sound.pitch, (seconds - begin) / length, rng))
    return np.clip(envelope * wave, -1, 1).astype(np.float32)


def _heard(seconds: Floats, length: float) -> Floats:
    """How loud a sound is that begins at 0 and has this length: 0 … 1, with soft edges."""
    inside = np.minimum(seconds, length - seconds)
    return np.asarray(np.sin(np.clip(inside / EDGE, 0, 1) * np.pi / 2) ** 2)


def _phase(pitch: str, way: Floats, rng: np.random.Generator) -> Floats:
    """The phase, in radians, at each sample; way is 0 where the sound begins and 1 where a single
    one ends. A rising or falling pitch goes evenly in octaves."""
    if pitch in WAYS:
        ends = [np.log(rng.uniform(*LEVELS[level])) for level in ("low", "high")]
        log_frequency = np.interp(way, [0, 1], ends if pitch == "rising" else ends[::-1])
    else:
        low, high = LEVELS[pitch]
        choices = PITCHES[(low <= PITCHES) & (high >= PITCHES)]
        log_frequency = np.full(SAMPLES, np.log(rng.choice(choices)))
    turns = np.cumsum(np.exp(log_frequency)) / RATE
    return np.asarray(2 * np.pi * (turns + rng.random()))
