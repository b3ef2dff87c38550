"""Pictures as the frame of a video that H.264 compressed, for models that were trained on those."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.media.video_files import pyav

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MOST = 51
"""The crf of the worst picture that H.264 of 8 bits knows."""


def check_codec(crf: int) -> Any:
    """PyAV, once it is seen that it can compress.

    Raises:
        LdmError: it is not installed, or was built without x264.
    """
    what = f"a first frame that is compressed (crf {crf}; 0 leaves it as it is)"
    av = pyav(what)
    if "libx264" not in av.codecs_available:
        raise LdmError(
            f"{what} needs the codec libx264, which the installed PyAV lacks.",
            "pip install 'ldm-core[video]' brings one that has it.",
        )
    return av


def compressed(pixels: Tensor, crf: int) -> Tensor:
    """Pictures, each compressed by H.264 and read again, as Diffusers does it for LTX-2, but by one
    thread.

    Args:
        pixels: (pictures, 3, height, width) in [0, 1], of even sides, as those of latents are.
        crf: from 1 to 51, less and less like the picture.
    Returns:
        The same shape, in steps of 255ths.
    """
    import numpy as np
    import torch

    eight = (pixels * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    frames = np.stack([_one(picture, crf) for picture in eight])
    return torch.from_numpy(frames).permute(0, 3, 1, 2).to(pixels) / 255


def _one(picture: np.ndarray[Any, Any], crf: int) -> np.ndarray[Any, Any]:
    """(height, width, 3) of 8 bits."""
    av = check_codec(crf)
    file = BytesIO()
    with av.open(file, "w", format="mp4") as written:
        options = {"crf": str(crf), "preset": "veryfast"}
        stream = written.add_stream("libx264", rate=1, options=options)
        stream.height, stream.width = picture.shape[:2]
        stream.codec_context.thread_count = 1  # of more, which a machine has, comes another picture
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        written.mux(stream.encode(frame))
        written.mux(stream.encode())
    file.seek(0)
    with av.open(file) as read:
        again: np.ndarray[Any, Any] = next(read.decode(video=0)).to_ndarray(format="rgb24")
    return again
