"""Videos that pipelines of Diffusers make from the same folders and the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from ldm_core import Pipeline
from peers import apart

PROMPTS = ("a red star", "a blue circle on the green background")


def picture(seed: int, width: int, height: int) -> Image.Image:
    """One of random pixels."""
    noise = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(noise.to(torch.uint8).numpy())


def pixels(image: Image.Image) -> torch.Tensor:
    """A picture as a video of one frame, (1, channels, 1, height, width) in [-1, 1]."""
    values = torch.from_numpy(np.asarray(image, dtype=np.float32)) / 127.5 - 1
    return values.permute(2, 0, 1)[None, :, None]


def generators(count: int, first: int = 3) -> list[torch.Generator]:
    """Of the seeds from `first` on."""
    return [torch.Generator().manual_seed(first + i) for i in range(count)]


def video_distance(
    ours: Pipeline,
    peer: Any,
    own: dict[str, Any] | None = None,
    their: dict[str, Any] | None = None,
    prompts: Sequence[str] = PROMPTS,
    frames: int = 5,
    **call: Any,
) -> float:
    """Relative distance to a pipeline of Diffusers whose latents have the axes of ours, in the
    final latents or in the frames, whichever is larger."""
    peer.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": 3, **call}
    distances = []
    for output_type in ("latent", "np"):
        both = {"prompt": list(prompts), "output_type": output_type, **call}
        theirs = peer(
            generator=generators(len(prompts)), num_frames=frames, **both, **(their or {})
        ).frames
        images = ours(seed=3, frames=frames, **both, **(own or {})).images
        distances.append(apart(images, theirs))
    return max(distances)


def alone(pipe: Pipeline, inputs: dict[str, list[Any]], **call: Any) -> float:
    """The largest relative distance of the entries of a batch to single runs."""
    count = len(next(iter(inputs.values())))
    call = {"num_inference_steps": 2, "output_type": "latent", **call}
    together = pipe(**inputs, seed=[3 + i for i in range(count)], **call).images
    return max(
        apart(
            pipe(**{k: [v[i]] for k, v in inputs.items()}, seed=3 + i, **call).images[0],
            together[i],
        )
        for i in range(count)
    )
