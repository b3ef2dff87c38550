"""Pictures such as edges or depth, as more channels of a network that was trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ldm_core.contracts import (
    REQUIRED,
    Call,
    Conditioning,
    Input,
    Network,
    Request,
    Run,
    RunHooks,
)
from ldm_plugins.conditioning.shared.pictures import (
    check_size,
    different,
    read_picture,
    to_pixels,
)

if TYPE_CHECKING:
    from torch import Tensor

PICTURE = Input(
    Path, REQUIRED, help="a picture of the image's size, such as its edges or its depth: a file"
)


def control_channels() -> Conditioning:
    """A picture that says where things are, to a network that was trained to see one kind of them
    beside x, such as FLUX.1 Canny and Depth.

    Reads a ``control_image`` for each image, of its size: a file, PIL image, tensor (channels,
    height, width) or array (height, width, channels). The network gets its latents under every
    branch. Side networks that read such pictures are the conditioning ``control``'s.
    """
    return ControlChannels()


class ControlChannels(Conditioning):
    inputs: ClassVar[Mapping[str, Input]] = {"control_image": PICTURE}

    @property
    def ability(self) -> str:
        return "control_channels"

    def check(self, request: Request) -> None:
        for (picture,) in different(request.inputs["control_image"]):
            check_size("control_image", read_picture("control_image", picture), request)

    def bind(self, run: Run) -> RunHooks:
        pictures = to_pixels("control_image", run.request.inputs["control_image"])
        return Beside(run.to_latents(pictures * 2 - 1))


class Beside(RunHooks):
    """A run whose network sees latents beside x.

    Made before the first x, for which the seeds draw next, as in Diffusers' pipelines.

    Args:
        latents: of each image, (images, channels, height, width).
    """

    def __init__(self, latents: Tensor) -> None:
        self._latents = latents
        self._rows: dict[tuple[int, ...], Tensor] = {}

    def network(self, network: Network) -> Network:
        def seeing(call: Call) -> Tensor:
            control = self._of(tuple([row.image for row in call.rows]))
            return network(call._replace(condition={**call.condition, "control": control}))

        return seeing

    def _of(self, images: tuple[int, ...]) -> Tensor:
        """The latents of each row's image."""
        if images not in self._rows:
            self._rows[images] = self._latents[list(images)]
        return self._rows[images]
