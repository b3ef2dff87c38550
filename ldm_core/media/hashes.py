"""Hashes of what is shown, whatever the file around it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from ldm_core.media.integers import to_integers

if TYPE_CHECKING:
    import numpy as np

OF_PIXELS = "pixels_sha256"
"""What a manifest says of the pixels of a picture, or of all frames of a video one after the other,
which is known only once they are there."""
OF_SAMPLES = "samples_sha256"
"""What it says of the samples of a sound, or of that of a video, in 24 bits."""


def hashes_of(kind: str, data: Any) -> dict[str, str]:
    """What a manifest says of an entry's pixels or samples; nothing of another kind of medium.

    Args:
        data: as a writer gets it, see `Shown`.
    """
    if kind == "image":
        return {OF_PIXELS: pixel_hash(data)}
    if kind == "video":
        return {OF_PIXELS: frames_hash(data)}
    return {OF_SAMPLES: samples_hash(data)} if kind == "audio" else {}


def pixel_hash(image: Image) -> str:
    """SHA-256 of an image's RGB values, whatever the file around them."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def frames_hash(frames: Iterable[Image]) -> str:
    """SHA-256 of the RGB values of a video's frames, one after the other."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(frame.convert("RGB").tobytes())
    return digest.hexdigest()


def samples_hash(samples: np.ndarray[Any, Any]) -> str:
    """SHA-256 of samples (channels, samples) in [-1, 1], as whole numbers of 24 bits in four bytes,
    the low one first, those of one moment together."""
    integers, _ = to_integers(samples)
    return hashlib.sha256(integers.astype("<i4").tobytes()).hexdigest()
