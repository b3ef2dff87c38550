"""What pipelines of video and sound share: lengths in seconds, and what a model makes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from ldm_core.contracts import Axis
from ldm_core.contracts.files import in_full
from ldm_core.errors import LdmError
from ldm_core.media.kinds import noun
from ldm_core.run.call import CallArguments
from ldm_pipelines.parts import Picture, channels_of, open_picture, size_in

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

COMMANDS = {"image": "text-to-image", "video": "text-to-video", "audio": "text-to-audio"}
MOST_SECONDS = 1e6


def check_makes(pipe: Pipeline, kind: str, command: str) -> None:
    """See that a pipeline makes this kind of medium.

    Raises:
        LdmError: it makes another.
    """
    composition = pipe.composition
    own = composition.decoder.kind
    if own != kind:
        other = COMMANDS.get(own, "generate")
        raise LdmError(
            f"{command} makes {noun(kind, 2)}, and the model '{composition.info.source}' makes "
            f"{noun(own, 2)}.",
            f"`ldm {other}` or `ldm generate` is for it.",
        )


def check_reads(pipe: Pipeline, kind: str) -> None:
    """See that a pipeline can start from this kind of medium.

    Raises:
        LdmError: its model has no encoder of it.
    """
    composition = pipe.composition
    if composition.encoder.kind != kind:
        raise LdmError(
            f"the model '{composition.info.source}' cannot start from a {noun(kind)}: it has no "
            f"encoder for {noun(kind, 2)}."
        )


def time_of(pipe: Pipeline) -> Axis:
    """The axis of what a pipeline makes that is its time.

    Raises:
        LdmError: none is.
    """
    axes = pipe.composition.info.latents.axes
    several = [axis for axis in axes if axis.name not in ("height", "width")]
    if len(several) != 1:
        names = ", ".join(axis.name for axis in axes)
        raise LdmError(f"this model makes what has {names}, none of which is time alone.")
    return several[0]


def rate_of(pipe: Pipeline, call: CallArguments) -> float | None:
    """The frames or samples a second that a call makes; None where nothing says them."""
    return pipe.composition.info.rate if call.frame_rate is None else call.frame_rate


def with_seconds(pipe: Pipeline, call: CallArguments, seconds: float | None) -> CallArguments:
    """The call for what is so long, as near as the model can.

    Raises:
        LdmError: it is no length, or is said in frames or samples too, or the rate is not known.
    """
    if seconds is None:
        return call
    axis, rate = time_of(pipe), rate_of(pipe, call)
    if not 0 < seconds < MOST_SECONDS:
        raise LdmError(f"'seconds' should be a length in time, not {seconds!r}.")
    if axis.name in call.extent:
        raise LdmError(f"the length is given twice, by 'seconds' and by '{axis.name}'.")
    if rate is None:
        raise LdmError(
            f"this model says no rate, so that a length in seconds means no number of {axis.name}.",
            f"give it as --{axis.name} N, or a --frame-rate too.",
        )
    return with_length(call, axis, axis.nearest(seconds * rate))


def with_length(call: CallArguments, axis: Axis, length: int) -> CallArguments:
    """The call for what has this length."""
    return replace(call, extent={**call.extent, axis.name: length})


def longest(axis: Axis, length: int) -> int:
    """The longest that a latent can have and that is no longer than this; the shortest of all
    where this is less."""
    first, step = axis.shortest, axis.stride * axis.unit
    return first + step * max(0, (length - first) // step)


def fitted_picture(
    pipe: Pipeline, source: Picture, call: CallArguments
) -> tuple[Picture, tuple[int, int]]:
    """A picture at the size that is made: that of the call, or the model's own; what has another
    shape is cut at its sides, evenly. A file that has the size stays a file.

    Returns:
        The picture, and the size.
    """
    image = open_picture(source, channels_of(pipe))
    extent = pipe.composition.extent(call.extent)
    size = size_in(call) or (extent["width"], extent["height"])
    if image.size == size:
        return (source if isinstance(source, Image.Image) else in_full(source)), size
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS), size
