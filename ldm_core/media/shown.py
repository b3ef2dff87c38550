"""A medium as the caller of a pipeline wants it."""

from __future__ import annotations

from typing import Any

from ldm_core.arguments import checks_arguments
from ldm_core.contracts import Medium
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.media.pixels import OUTPUT_TYPES, check_shown, from_pixels


def check_output_type(output_type: str, kind: str, channels: int) -> None:
    """See that what is drawn can be given so.

    Args:
        kind: of the medium.
        channels: of its pictures.
    Raises:
        LdmError: there is no such output type, or images cannot show it.
    """
    if output_type not in OUTPUT_TYPES:
        raise LdmError(
            f"no output type '{output_type}'.{did_you_mean(output_type, OUTPUT_TYPES)} "
            f"There are {', '.join(OUTPUT_TYPES)}."
        )
    if output_type == "pil" and kind in ("image", "video"):
        check_shown(channels)


@checks_arguments
def shown(medium: Medium, output_type: str) -> Any:
    """What a medium holds.

    Args:
        output_type: images as of `from_pixels`. Video alike, with a list of images for each, or
            arrays (batch, frames, height, width, channels) and tensors (batch, frames, channels,
            height, width). All else, such as audio (batch, channels, samples), as it is, a tensor
            for ``pt`` and an array otherwise.
    """
    data = medium.data.cpu().float()
    if medium.kind == "image":
        return from_pixels(data, output_type)
    if medium.kind == "video":
        frames = data.transpose(1, 2)  # (batch, frames, channels, height, width)
        parts = [from_pixels(video, output_type) for video in frames]
        if output_type == "pil":
            return parts
        import numpy as np
        import torch

        return np.stack(parts) if output_type == "np" else torch.stack(parts)
    return data if output_type == "pt" else data.numpy()
