"""What a network with IP-Adapters is told of pictures, one tensor for each adapter."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, Part

if TYPE_CHECKING:
    from torch import Tensor

KEY = "ip_adapter_image_embeds"
"""The name of what pictures are to a transformer of Diffusers."""


def seen(condition: Condition, name: str, part: Part) -> list[Tensor]:
    """``name``, ``name_1``, ``name_2`` and so on, as far as they go; none where there is none."""
    names = (name if number == 0 else f"{name}_{number}" for number in count())
    present = takewhile(lambda key: key in condition, names)
    return [condition[key].to(part.device, part.dtype) for key in present]


def told_of_pictures(condition: Condition, part: Part) -> Mapping[str, Any]:
    """What the transformer of Flux or Chroma is told of the pictures; nothing where it sees none.

    Args:
        condition: ``image_embeds`` (rows, pictures, width) of the first adapter, ``image_embeds_1``
            of the second, and so on.
    """
    embeds = seen(condition, "image_embeds", part)
    return {"joint_attention_kwargs": {KEY: embeds}} if embeds else {}
