"""The frame rate of a call."""

from __future__ import annotations

from collections.abc import Iterable

from ldm_core.contracts import Conditioning, ModelInfo
from ldm_core.errors import LdmError

ABILITY = "frame_rate"


def check_frame_rate(
    frame_rate: float | None, info: ModelInfo, kind: str, conditioning: Iterable[Conditioning]
) -> None:
    """See that what is made can have this frame rate; None is the model's own.

    Args:
        kind: of medium, that the decoder makes.
        conditioning: of the pipeline.
    Raises:
        LdmError: it has no frames; its latents do not go with the rate; or its network takes a
            frame rate, and no conditioning would tell it this one.
    """
    if frame_rate is None:
        return
    if kind != "video":
        own = info.rate if kind == "audio" else None
        rate = "" if own is None else f" at the {own:g} samples a second that it was trained on"
        raise LdmError(
            f"the model '{info.source}' makes {kind}{rate}, which has no frame_rate.",
            "leave it out; it is for models that make video.",
        )
    info.latents.check_rate(frame_rate)
    told = any(part.ability == ABILITY for part in conditioning)
    if ABILITY in info.abilities and not told and frame_rate != info.rate:
        raise LdmError(
            f"the network of '{info.source}' moves things as fits the frame rate that it is told, "
            f"and no conditioning tells it {frame_rate:g}.",
            "add the conditioning 'frame_rate', or leave frame_rate out.",
        )
