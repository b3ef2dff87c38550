"""Starting from a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ldm_core.contracts import Conditioning, Grid, Input, ModelInfo, Request, Run, RunHooks
from ldm_core.numerics.strength import on_flow
from ldm_plugins.conditioning.shared.pictures import (
    IMAGE,
    check_draws_pictures,
    check_size,
    different,
    mode_of,
    read_picture,
    to_pixels,
)
from ldm_plugins.conditioning.shared.strength import (
    DENOISING_START,
    FromLatents,
    check_strength,
    left_of,
    strength,
)

DEFAULT = 0.8


def image() -> Conditioning:
    """Start from a picture in place of noise alone: SDEdit, image-to-image (Meng et al. 2021,
    arXiv:2108.01073, Algorithm 1).

    Reads an ``image`` for each image that is made, of its size: a file, a PIL image, a tensor
    (channels, height, width) or an array (height, width, channels); only files can be named in a
    manifest. ``strength``, from 0 to 1 (0.8), says how much of the way is walked: so many of the
    steps, rounded down, or up for models of rectified flow, are taken, from the picture with the
    noise that belongs to the first of them. 0 gives the picture as the autoencoder has it, and 1
    keeps what signal the first point has.

    ``denoising_start`` in its place, from 0 to below 1, takes the picture for one that is so far on
    its way already: no noise is added, and what is less noisy than that share of the training's
    timesteps is walked. The more it is, the less changes; where the picture still shows noise, as
    that of a base model that stopped there, a chain of the two hands it over without a picture
    between.
    """
    return ImageStart()


@dataclass(frozen=True)
class ImageStart(Conditioning):
    """
    Attributes:
        mode: of the model's pictures.
        flow: the model is one of rectified flow.
    """

    mode: str = "RGB"
    flow: bool = False

    @property
    def inputs(self) -> Mapping[str, Input]:
        start = {"strength": strength(DEFAULT), "denoising_start": DENOISING_START}
        return {"image": IMAGE, **start}

    def fit(self, info: ModelInfo) -> ImageStart:
        check_draws_pictures("image", info)
        return replace(self, mode=mode_of(info.image_channels), flow=on_flow(info.noise_schedule))

    def check(self, request: Request) -> None:
        check_strength(request, self.flow, DEFAULT)
        for (picture,) in different(request.inputs["image"]):
            check_size("image", read_picture("image", picture, self.mode), request)

    def cut(self, grid: Grid, request: Request) -> Grid:
        return left_of(grid, request)

    def bind(self, run: Run) -> RunHooks:
        pictures = to_pixels("image", run.request.inputs["image"], self.mode)
        return FromLatents(run, lambda: run.to_latents(pictures * 2 - 1))
