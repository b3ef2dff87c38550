"""What a run gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldm_core.errors import LdmError


@dataclass(frozen=True)
class Output:
    """What a run gives.

    Attributes:
        images: a list of PIL images, or an array or tensor, by the run's ``output_type``; of video
            and sound what `ldm_core.media.shown.shown` says, under this name too.
        seeds, manifests: one for each image.
        kind: of medium: ``image``, ``video``, ``audio``, ...
        rate: frames or samples a second, of video and sound.
        beside: what belongs to it, such as the sound of a video, one entry an image too.
    """

    images: Any
    seeds: list[int]
    manifests: list[dict[str, Any]]
    kind: str = "image"
    rate: float | None = None
    beside: tuple[Output, ...] = ()

    @classmethod
    def join(cls, parts: Sequence[Output]) -> Output:
        """Several outputs as one, all of one kind and output type.

        Raises:
            LdmError: there are none.
        """
        if not parts:
            raise LdmError("nothing was made: every image that was asked for was left out.")
        first = parts[0]
        beside = zip(*(part.beside for part in parts), strict=True)
        return cls(
            _joined([part.images for part in parts]),
            [seed for part in parts for seed in part.seeds],
            [manifest for part in parts for manifest in part.manifests],
            first.kind,
            first.rate,
            tuple(cls.join(others) for others in beside),
        )


def _joined(batches: Sequence[Any]) -> Any:
    if isinstance(batches[0], list):
        return [image for batch in batches for image in batch]
    if isinstance(batches[0], Tensor):
        return torch.cat(list(batches))
    return np.concatenate(batches)
