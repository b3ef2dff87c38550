"""A picture as the one vector that CLIP makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import REQUIRED, Condition, Conditioning, Input, ModelInfo, Request, Run
from ldm_core.contracts.network import NEGATIVE
from ldm_core.contracts.picture_embedding import PictureEmbeddingAbility
from ldm_core.errors import LdmError
from ldm_core.values import brief, is_whole
from ldm_plugins.conditioning.shared.pictures import different, in_eight_bits, read_picture
from ldm_plugins.conditioning.shared.prompts import Prompts, as_long
from ldm_plugins.conditioning.text import INPUTS

if TYPE_CHECKING:
    from torch import Tensor

NAME = "picture_embedding"
PICTURE = Input(Path, REQUIRED, help="a picture of any size, to vary: a file")
LEVEL = Input(
    int | None, None, help="how noisy it is made, a timestep; the model's own if left out"
)
AtLeastOne = Annotated[int, Field(ge=1)]


def picture_embedding(
    *, prior_steps: AtLeastOne = 25, prior_guidance_scale: float = 4.0
) -> Conditioning:
    """What CLIP sees in a picture, to networks that draw one in which it sees the same: unCLIP
    (Ramesh et al. 2022, arXiv:2204.06125).

    Where the model has a prior, that draws it of the prompt, by ancestral sampling and noise of the
    image's seed, before the model draws. Else reads a ``prompt_image`` for each image, of any size:
    a file, a PIL image, a tensor (channels, height, width) or an array (height, width, channels);
    only files can be named in a manifest. Models that learnt to vary it (Stable unCLIP) take a
    ``noise_level`` too: the more noise, drawn from the image's seed, is mixed in, the freer the
    image is. The negative branch sees none.

    Args:
        prior_steps: of the prior.
        prior_guidance_scale: of classifier-free guidance of the prior, which leads away from the
            empty prompt; none at 1 or below.
    """
    return PictureEmbedding(prior_steps, prior_guidance_scale)


@dataclass(frozen=True)
class PictureEmbedding(Conditioning):
    """
    Attributes:
        prior: the model draws the embedding of the prompt.
        noisy: noise is mixed into it.
    """

    prior_steps: int
    prior_guidance_scale: float
    prior: bool = False
    noisy: bool = False

    @property
    def ability(self) -> str:
        return NAME

    @property
    def inputs(self) -> Mapping[str, Input]:
        shown = {"prompt": INPUTS["prompt"]} if self.prior else {"prompt_image": PICTURE}
        return {**shown, "noise_level": LEVEL} if self.noisy else shown

    def fit(self, info: ModelInfo) -> PictureEmbedding:
        prior, noisy = (f"embedding_{name}" in info.abilities for name in ("prior", "noise"))
        return replace(self, prior=prior, noisy=noisy)

    def check(self, request: Request) -> None:
        if not self.prior:
            for (picture,) in different(request.inputs["prompt_image"]):
                read_picture("prompt_image", picture)
        for level in self._levels(request):
            if level is not None and (not is_whole(level) or level < 0):
                raise LdmError(f"a noise_level should be a whole number, not {brief(level)}.")

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        ability: PictureEmbeddingAbility = run.model.abilities[NAME]
        embeddings = self._drawn(run, ability) if self.prior else _seen(run, ability)
        condition = ability.encode(run, embeddings, self._levels(run.request))
        silent = ability.silent(condition)
        return {branch: silent if branch == NEGATIVE else condition for branch in branches}

    def _levels(self, request: Request) -> Sequence[int | None]:
        return request.inputs["noise_level"] if self.noisy else [None] * len(request.seeds)

    def _drawn(self, run: Run, ability: PictureEmbeddingAbility) -> Tensor:
        prompts = run.request.inputs["prompt"]
        texts = [prompts]
        if self.prior_guidance_scale > 1:
            texts.append([""] * len(prompts))
        images = list(zip(*texts, strict=True))
        reading = Prompts(ability.prior_text(), images, "warn", True)
        conditions = [as_long(reading(text)) for text in texts]
        return ability.drawn(run, conditions, self.prior_steps, self.prior_guidance_scale)


def _seen(run: Run, ability: PictureEmbeddingAbility) -> Tensor:
    """What CLIP sees in each image's picture, each read once."""
    pictures = run.request.inputs["prompt_image"]
    once = {id(picture): picture for picture in pictures}
    rows = {key: row for row, key in enumerate(once)}
    embeddings = ability.seen([in_eight_bits("prompt_image", p) for p in once.values()])
    return embeddings[[rows[id(picture)] for picture in pictures]]
