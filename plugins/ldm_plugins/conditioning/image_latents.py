"""Starting from latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import (
    REQUIRED,
    Conditioning,
    Extent,
    Grid,
    Input,
    LatentSpace,
    ModelInfo,
    Request,
    Run,
    RunHooks,
)
from ldm_core.numerics.strength import on_flow
from ldm_plugins.conditioning.shared.pictures import different
from ldm_plugins.conditioning.shared.strength import (
    DENOISING_START,
    FromLatents,
    check_strength,
    left_of,
    strength,
)
from ldm_plugins.conditioning.shared.tensors import one_shape, read_tensor

if TYPE_CHECKING:
    from torch import Tensor

LATENTS = Input(
    Path, REQUIRED, help="latents of what to start from: a .safetensors file that holds one tensor"
)
DEFAULT = 0.8


def image_latents() -> Conditioning:
    """Start from latents in place of noise alone, as ``image`` does from a picture, without the way
    through the encoder.

    Reads ``image_latents`` for each image that is made: a tensor (channels, height, width), or of
    the axes that the model's latents have, as ``Pipeline.encode`` and ``output_type="latent"`` give
    it, or a safetensors file with one such tensor. Files alone can be named in a manifest.
    ``strength`` and ``denoising_start`` are those of ``image``.
    """
    return ImageLatents()


@dataclass(frozen=True)
class ImageLatents(Conditioning):
    """
    Attributes:
        space: of the model's latents, once it is known.
        flow: the model is one of rectified flow.
    """

    space: LatentSpace | None = None
    flow: bool = False

    @property
    def inputs(self) -> Mapping[str, Input]:
        start = {"strength": strength(DEFAULT), "denoising_start": DENOISING_START}
        return {"image_latents": replace(LATENTS, example=self._example), **start}

    def _example(self, extent: Extent) -> Tensor:
        import torch

        assert self.space is not None
        return torch.zeros(self.space.shape(extent))

    def fit(self, info: ModelInfo) -> ImageLatents:
        return replace(self, space=info.latents, flow=on_flow(info.noise_schedule))

    def check(self, request: Request) -> None:
        check_strength(request, self.flow, DEFAULT)
        shape = self._shape(request)
        for (value,) in different(request.inputs["image_latents"]):
            one_shape("image_latents", read_tensor("image_latents", value), shape)

    def cut(self, grid: Grid, request: Request) -> Grid:
        return left_of(grid, request)

    def bind(self, run: Run) -> RunHooks:
        import torch

        shape, values = self._shape(run.request), run.request.inputs["image_latents"]
        each = {
            id(value): one_shape("image_latents", read_tensor("image_latents", value), shape)
            for value in values
        }
        x0 = torch.stack([each[id(value)] for value in values]).to(run.device)
        return FromLatents(run, lambda: x0)

    def _shape(self, request: Request) -> tuple[int, ...]:
        assert self.space is not None
        return self.space.shape(request.extent)
