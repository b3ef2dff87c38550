"""``ldm video-to-video``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.contracts import InputPath
from ldm_core.contracts.files import in_full
from ldm_core.errors import LdmError
from ldm_core.media.video_files import read_video
from ldm_core.run.call import CallArguments
from ldm_core.run.in_batches import skipping
from ldm_pipelines.parts import (
    arguments,
    channels_of,
    check_fits,
    conditioned,
    size_in,
    with_size,
)
from ldm_pipelines.timed import (
    check_makes,
    check_reads,
    longest,
    rate_of,
    time_of,
    with_length,
    with_seconds,
)

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


@skipping
def video_to_video(
    pipe: Pipeline,
    video: InputPath,
    *prompts: str,
    strength: float | None = None,
    repaint: str | None = None,
    seconds: float | None = None,
    **call: Any,
) -> Iterator[Output]:
    """Make videos that start from a given one, or make a part of its time anew.

    Args:
        video: The video to start from; its frames are scaled to --size where that is given, and as
            many are taken, from the first on, as are made: the model's own number, or what the
            video has where that is less.
        prompts: What the new videos should show.
        strength: Share of the way from noise that is walked, 0 to 1 (0.8, or 1 with --repaint).
        repaint: The times in seconds that are made anew, as 0.5-1.5,2-3; the rest stays.
        seconds: How long the new videos are, as near as the model can.
    """
    check_makes(pipe, "video", "video-to-video")
    check_reads(pipe, "video")
    whole = with_seconds(pipe, arguments(pipe, call, prompts), seconds)
    value, whole = _fitted(pipe, video, whole)
    walked = strength if strength is not None else 0.8 if repaint is None else 1.0
    whole = whole.with_inputs(video=value, strength=walked, repaint=repaint)
    return conditioned(pipe, "ldm-core:video").batches_of(whole)


def _fitted(pipe: Pipeline, source: Path, call: CallArguments) -> tuple[Any, CallArguments]:
    """A video at the size that is made, and the call for its length and size. A file that has the
    size stays a file, so that a manifest can name it."""
    import numpy as np

    timed, axis, rate = read_video(source), time_of(pipe), rate_of(pipe, call)
    if rate is None and timed.rate is not None:
        rate = timed.rate
    there = len(timed.frames) if rate is None else timed.count_at(rate)
    if axis.name not in call.extent:
        own = pipe.composition.extent(call.extent)[axis.name]
        call = with_length(call, axis, own if own <= there else longest(axis, there))
    count = call.extent[axis.name]
    if there < count:
        raise LdmError(
            f"the video has {there} frames at the rate that is made, and {count} are to be made.",
            "ask for fewer (--frames, --seconds), or give a longer one.",
        )
    size = size_in(call) or timed.frames[0].size
    check_fits(pipe, size, "video")
    call = with_size(call, size)
    if size == timed.frames[0].size:
        return in_full(source), call
    frames = list(timed.frames) if rate is None else timed.at_rate(rate, count)
    mode = "L" if channels_of(pipe) == 1 else "RGB"
    several = [f.convert(mode).resize(size, Image.Resampling.LANCZOS) for f in frames[:count]]
    return np.stack([np.asarray(frame) for frame in several]), call
