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
    Grid,
    Input,
    LatentSpace,
    ModelInfo,
    Request,
    Run,
    RunHooks,
)
from ldm_core.errors import LdmError
from ldm_core.numerics.strength import cut, on_flow
from ldm_plugins.conditioning.shared.blend import Blend
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
from ldm_plugins.conditioning.shared.strength import FromPicture, check_strength, strength
from ldm_plugins.conditioning.shared.tensors import one_shape, read_tensor

if TYPE_CHECKING:
    from torch import Tensor

MASK = Input(
    Path, REQUIRED, help="a picture of the image's size, white where to paint anew: a file"
)

MASKED = Input(
    Path | None,
    None,
    help="latents of the masked picture, for a network that takes them, in place of the encoder's: "
    "a .safetensors file that holds one tensor",
)
NAME = "masked_image_latents"


def mask() -> Conditioning:
    """Repaint a picture where a mask is white, and keep it elsewhere (Rombach et al. 2022,
    arXiv:2112.10752, Section 4.5).

    Reads an ``image`` and a ``mask`` for each image that is made, both of its size. They are
    files, PIL images, tensors (channels, height, width) or arrays (height, width, channels); only
    files can be named in a manifest. ``strength``, from 0 to 1 (1), says how much of the way is
    walked: below 1, x starts from the picture with noise in place of noise alone.

    A network for inpainting is told the picture and the mask, black or white from middle grey on;
    ``masked_image_latents``, a tensor of the latents' shape for each image or a safetensors file
    with it, is told in place of what the encoder makes of the picture without what the mask covers.
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
        pixels: it takes the mask's own pixels, not those of latents.
        flow: the model is one of rectified flow.
    """

    strides: tuple[int, int] = (1, 1)
    mode: str = "RGB"
    inpaints: bool = True
    pixels: bool = False
    flow: bool = False
    space: LatentSpace | None = None

    @property
    def ability(self) -> str | None:
        return "inpainting" if self.inpaints else None

    @property
    def inputs(self) -> Mapping[str, Input]:
        inputs = {"image": IMAGE, "mask": MASK, "strength": strength(1.0)}
        return {**inputs, NAME: MASKED} if self.inpaints else inputs

    def fit(self, info: ModelInfo) -> Mask:
        check_draws_pictures("mask", info)
        high, wide = (info.latents.axis(side).stride for side in ("height", "width"))
        return replace(
            self,
            strides=(high, wide),
            mode=mode_of(info.image_channels),
            inpaints="inpainting" in info.abilities,
            pixels="pixel_mask" in info.abilities,
            flow=on_flow(info.noise_schedule),
            space=info.latents,
        )

    def check(self, request: Request) -> None:
        check_strength(request, self.flow)
        self._masked(request)
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
            if self.inpaints and not self.pixels and not white[::high, ::wide].any():
                raise LdmError(
                    "the mask is too small: nothing is left of it where "
                    f"{wide}x{high} pixels share one latent; paint more of it white."
                )

    def cut(self, grid: Grid, request: Request) -> Grid:
        return cut(grid, request.num_inference_steps, request.inputs["strength"][0])

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """``mask`` (batch, 1, height, width) of latents or of pixels, 1 where to repaint, and the
        latents ``masked_image`` (batch, channels, height, width) of what is kept, on grey."""
        import torch

        if not self.inpaints:
            return {}
        pictures, masks = self._pixels(run.request)
        masks = (masks >= 0.5).float()
        own = self._masked(run.request)
        rest = torch.stack(own).to(run.device) if own else run.to_latents(pictures * (1 - masks))
        masks = masks.to(rest.device)
        if not self.pixels:
            masks = torch.nn.functional.interpolate(masks, size=rest.shape[-2:])
        return {branch: {"mask": masks, "masked_image": rest} for branch in branches}

    def bind(self, run: Run) -> RunHooks:
        pictures, masks = self._pixels(run.request)
        whole = run.request.inputs["strength"][0] == 1
        if not self.inpaints:
            return Blend(run, pictures, lambda x0: coverage(masks, x0), whole)
        if whole:
            return AfterPicture(run) if self.flow else RunHooks()
        return FromPicture(run, pictures)

    def _masked(self, request: Request) -> list[Tensor]:
        """The latents of each image's masked picture, where a person gives them; else none."""
        values = request.inputs[NAME] if self.inpaints else ()
        own = [value for value in values if value is not None]
        if not own:
            return []
        if len(own) < len(values):
            # else the noise that an image draws would depend on what is given of others
            raise LdmError(f"{NAME} should be given for all images of a run or for none.")
        assert self.space is not None
        shape = self.space.shape(request.extent)
        return [one_shape(NAME, read_tensor(NAME, value), shape) for value in own]

    def _pixels(self, request: Request) -> tuple[Tensor, Tensor]:
        """Pictures in [-1, 1] and masks in [0, 1], (batch, channels, height, width)."""
        pictures = to_pixels("image", request.inputs["image"], self.mode)
        return pictures * 2 - 1, to_pixels("mask", request.inputs["mask"], "L", mask=True)


class AfterPicture(RunHooks):
    """A start from noise alone that is drawn second: Diffusers' pipelines of flow models encode the
    picture first, which draws once, whatever its share is."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def start(self) -> Tensor:
        self._run.noise()
        return self._run.noise() * self._run.initial_scale
