"""One layer on the device at a time."""

from __future__ import annotations

from typing import ClassVar

from ldm_core.contracts import Converter, Model, Part
from ldm_plugins.converters.shared.placement import (
    READ_WHOLE,
    Place,
    Placement,
    one_at_a_time,
    pieces,
)


def sequential_offload(*, parts: list[str] | None = None) -> Converter:
    """Bring a layer's weights to the device when it computes, and away after.

    By Accelerate's hooks. The device holds the largest layer alone, and waits for each of them;
    `group_offload` brings the next layer while one computes.

    Args:
        parts: names of the model's components, or roles: network, autoencoder, text, side; all
            where left out.
    """
    return SequentialOffload(chosen=None if parts is None else tuple(parts))


class SequentialOffload(Placement):
    """Layers of its parts come to the device one after the other."""

    name: ClassVar[str] = "sequential_offload"

    def begin(self, model: Model) -> Place:
        def place(part: Part) -> Part:
            from accelerate import cpu_offload

            for piece in pieces(part.module, part.device, whole=()):
                cpu_offload(piece, part.device, preload_module_classes=list(READ_WHOLE))
            return one_at_a_time(part)

        return place
