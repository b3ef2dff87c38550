"""Repainting a part of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    Denoise,
    Grid,
    Input,
    ModelInfo,
    Request,
    Run,
    RunHooks,
)
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_core.numerics.strength import cut, on_flow
from ldm_plugins.conditioning.shared.pictures import (
    IMAGE,
    check_draws_pictures,
    check_size,
    coverage,
    different,
    mode_of,
    read_picture,
    size_of,
    to_pixels,
)
from ldm_plugins.conditioning.shared.strength import (
    FromPicture,
    add_noise,
    check_strength,
    noised,
    strength,
)

if TYPE_CHECKING:
    from torch import Tensor

MASK = Input(
    Path, REQUIRED, help="a picture of the image's size, white where to paint anew: a file"
)


def mask() -> Conditioning:
    """Repaint a picture where a mask is white, and keep it elsewhere (Rombach et al. 2022,
    arXiv:2112.10752, Section 4.5).

    Reads an ``image`` and a ``mask`` for each image that is made, both of its size. They are
    files, PIL images, tensors (channels, height, width) or arrays (height, width, channels); only
    files can be named in a manifest. ``strength``, from 0 to 1 (1), says how much of the way is
    walked: below 1, x starts from the picture with noise in place of noise alone.

    A network for inpainting is told the picture and the mask, black or white from middle grey on.
    With every other model, and any scheduler, the picture is blended in (Avrahami et al. 2022,
    arXiv:2206.02779, Section 4.1): where the mask is black, the network sees the picture with as
    much noise as x has, and its estimate gives way to the picture; what is kept there is kept
    exactly, in latents. Grey is a share of both.
    """
    return Mask()


@dataclass(frozen=True)
class Mask(Conditioning):
    """
    Attributes:
        strides: so many pixels share one latent, from the top and from the left.
        mode: of the model's pictures.
        inpaints: the model's network takes a mask; else the picture is blended in.
        flow: the model is one of rectified flow.
    """

    strides: tuple[int, int] = (1, 1)
    mode: str = "RGB"
    inpaints: bool = True
    flow: bool = False

    @property
    def ability(self) -> str | None:
        return "inpainting" if self.inpaints else None

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {"image": IMAGE, "mask": MASK, "strength": strength(1.0)}

    def fit(self, info: ModelInfo) -> Mask:
        check_draws_pictures("mask", info)
        high, wide = (info.latents.axis(side).stride for side in ("height", "width"))
        return replace(
            self,
            strides=(high, wide),
            mode=mode_of(info.image_channels),
            inpaints="inpainting" in info.abilities,
            flow=on_flow(info.noise_schedule),
        )

    def check(self, request: Request) -> None:
        check_strength(request, self.flow)
        for image, painting in different(request.inputs["image"], request.inputs["mask"]):
            picture = read_picture("image", image, self.mode)
            cover = read_picture("mask", painting, "L", mask=True)
            if picture.shape[:2] != cover.shape[:2]:
                raise LdmError(
                    f"the image is {size_of(picture)} pixels and the mask {size_of(cover)}; they "
                    "should be of one size."
                )
            check_size("image", picture, request, " and its mask")
            white = cover >= 0.5 if self.inpaints else cover > 0
            if not white.any():
                raise LdmError("the mask is empty; paint white what should be made anew.")
            high, wide = self.strides
            if self.inpaints and not white[::high, ::wide].any():
                raise LdmError(
                    "the mask is too small: nothing is left of it where "
                    f"{wide}x{high} pixels share one latent; paint more of it white."
                )

    def cut(self, grid: Grid, request: Request) -> Grid:
        return cut(grid, request.num_inference_steps, request.inputs["strength"][0])

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """``mask`` (batch, 1, height, width) of latents, 1 where to repaint, and the latents
        ``masked_image`` (batch, channels, height, width) of what is kept, on grey."""
        import torch

        if not self.inpaints:
            return {}
        pictures, masks = self._pixels(run.request)
        masks = (masks >= 0.5).float()
        rest = run.to_latents(pictures * (1 - masks))
        small = torch.nn.functional.interpolate(masks.to(rest.device), size=rest.shape[-2:])
        return {branch: {"mask": small, "masked_image": rest} for branch in branches}

    def bind(self, run: Run) -> RunHooks:
        pictures, masks = self._pixels(run.request)
        whole = run.request.inputs["strength"][0] == 1
        if not self.inpaints:
            return Blend(run, pictures, masks, whole)
        return RunHooks() if whole else FromPicture(run, pictures)

    def _pixels(self, request: Request) -> tuple[Tensor, Tensor]:
        """Pictures in [-1, 1] and masks in [0, 1], (batch, channels, height, width)."""
        pictures = to_pixels("image", request.inputs["image"], self.mode)
        return pictures * 2 - 1, to_pixels("mask", request.inputs["mask"], "L", mask=True)


class Blend(RunHooks):
    """Keeps pictures where masks are 0, whatever the scheduler does there.

    Where a mask is grey, x follows estimates that are a share of both, and so is nothing but
    itself.

    Args:
        pictures: (batch, channels, height, width) in [-1, 1].
        masks: (batch, 1, height, width) in [0, 1], 1 where to repaint.
        whole: x starts as noise; else it starts from the pictures.
    """

    def __init__(self, run: Run, pictures: Tensor, masks: Tensor, whole: bool) -> None:
        self._run = run
        self._x0 = run.to_latents(pictures)
        self._noise = run.noise()
        run.noise()  # Diffusers' pipelines encode the masked picture next, which draws once
        self._share = coverage(masks, self._x0)
        self._black = self._share == 0
        self._whole = whole

    def start(self) -> Tensor:
        if self._whole:
            return self._noise * self._run.initial_scale
        return noised(self._run, self._x0, lambda: self._noise)

    def denoise(self, denoise: Denoise) -> Denoise:
        first = self._run.grid[0]

        def blend(x: Tensor, point: Point) -> Tensor:
            import torch

            # At the first point of the whole way x is noise alone, as a model expects it there.
            if not (self._whole and point == first):
                x = torch.where(self._black, add_noise(self._x0, self._noise, point), x)
            return torch.lerp(self._x0, denoise(x, point), self._share)

        return blend

    def finish(self, x: Tensor) -> Tensor:
        import torch

        return torch.where(self._black, self._x0, x)
