"""Embeddings of a picture that a network fills in with detail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    Extent,
    FileName,
    Input,
    LatentSpace,
    ModelInfo,
    Request,
    Run,
    Unequal,
)
from ldm_core.contracts.image_embeddings import ImageEmbeddingsAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.pictures import different
from ldm_plugins.conditioning.shared.prior_folder import find_prior
from ldm_plugins.conditioning.shared.prompts import Prompts, as_long
from ldm_plugins.conditioning.shared.tensors import one_shape, read_tensor
from ldm_plugins.conditioning.text import INPUTS

if TYPE_CHECKING:
    from torch import Tensor

NAME = "image_embeddings"
EMBEDDINGS = Input(
    Path, REQUIRED, help="embeddings of the picture: a .safetensors file that holds one tensor"
)
AtLeastOne = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(gt=0)]
SIDES = ("height", "width")


def image_embeddings(
    *,
    prior: FileName | None = None,
    prior_steps: AtLeastOne = 20,
    prior_guidance_scale: float = 4.0,
    channels: AtLeastOne = 16,
    scale: Scale = 10.67,
) -> Conditioning:
    """What a picture shows, in few places of many channels, to a network that fills in the detail:
    Stable Cascade's second stage (Pernias et al. 2023, arXiv:2306.00637).

    Where a prior is named it draws them of the prompt, by ancestral sampling and noise of the
    image's seed, before the model draws. Else reads ``image_embeddings`` for each image: a tensor
    (channels, height, width), or a safetensors file with one; files alone can be named in a
    manifest. Under the negative branch they are zeros.

    Args:
        prior: folder of a StableCascadePriorPipeline.
        prior_steps: of the prior.
        prior_guidance_scale: of classifier-free guidance of the prior; none at 1 or below.
        channels: of the embeddings; the model's own where its recipe has it.
        scale: how many places of the latent stand beside one of the embeddings; likewise.
    """
    return ImageEmbeddings(prior, prior_steps, prior_guidance_scale, channels, scale)


@dataclass(frozen=True)
class ImageEmbeddings(Conditioning):
    """
    Attributes:
        folder: of the prior, once the model is known.
        space: of the model's latents, likewise.
    """

    prior: str | None
    steps: int
    guidance_scale: float
    channels: int
    scale: float
    folder: Path | None = None
    space: LatentSpace | None = None

    @property
    def ability(self) -> str:
        return NAME

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS if self.prior else {NAME: replace(EMBEDDINGS, example=self._example)}

    def fit(self, info: ModelInfo) -> ImageEmbeddings:
        folder = None if self.prior is None else find_prior(self.prior, info, self.channels)
        return replace(self, folder=folder, space=info.latents)

    def files(self) -> Sequence[Path]:
        return () if self.folder is None else (self.folder,)

    def check(self, request: Request) -> None:
        shape = self._shape(request.extent)
        if self.prior is None:
            for (value,) in different(request.inputs[NAME]):
                one_shape(NAME, read_tensor(NAME, value), shape)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        import torch

        shape = self._shape(run.request.extent)
        silent = torch.zeros((len(run.request.seeds), *shape), device=run.device)
        rows = dict.fromkeys(branches, silent)
        if others := [branch for branch in branches if branch != "negative"]:
            shown = self._given(run, shape) if self.folder is None else self._drawn(run, shape)
            rows |= dict.fromkeys(others, shown)
        return {branch: {NAME: value} for branch, value in rows.items()}

    def _given(self, run: Run, shape: tuple[int, ...]) -> Tensor:
        import torch

        values = run.request.inputs[NAME]
        each = {id(v): one_shape(NAME, read_tensor(NAME, v), shape) for v in values}
        return torch.stack([each[id(v)] for v in values]).to(run.device)

    def _drawn(self, run: Run, shape: tuple[int, ...]) -> Tensor:
        assert self.folder is not None
        ability: ImageEmbeddingsAbility = run.model.abilities[NAME]
        names = ["prompt", "negative_prompt"] if self.guidance_scale > 1 else ["prompt"]
        texts = [run.request.inputs[name] for name in names]
        images = list(zip(*texts, strict=True))
        reading = Prompts(ability.prior_text(self.folder), images, "warn", True)
        conditions = [as_long(reading(text)) for text in texts]
        return ability.drawn(
            run, self.folder, shape, conditions, self.steps, self.guidance_scale
        ).to(run.device)

    def _shape(self, extent: Extent) -> tuple[int, ...]:
        """Of the embeddings of a picture of this extent.

        Raises:
            LdmError: no embeddings belong to such a picture.
        """
        assert self.space is not None
        sides = []
        for name in SIDES:
            axis = self.space.axis(name)
            places = axis.places(extent[name])
            few = math.ceil(places / self.scale)
            if int(few * self.scale) != places:
                near = [axis.length(int(n * self.scale)) for n in (few - 1, few) if n]
                raise LdmError(
                    f"no image embeddings belong to a {name} of {extent[name]}; such as "
                    f"{' and '.join(map(str, near))} can be drawn."
                )
            sides.append(few)
        return (self.channels, *sides)

    def _example(self, extent: Extent) -> Tensor:
        import torch

        return torch.zeros(self._shape(extent))
