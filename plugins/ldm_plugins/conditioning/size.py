"""Sizes of the picture, as networks are told that learnt from pictures of many sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, Conditioning, Input, ModelInfo, Request, Run
from ldm_core.contracts.abilities import SizeAbility, Sizes
from ldm_core.errors import LdmError
from ldm_core.values import brief, is_number, is_whole

if TYPE_CHECKING:
    from torch import Tensor

CROP = "crops_coords_top_left"
HELP = {
    "original_size": "width and height of a picture before it was cut, such as 1024x768",
    "target_size": "width and height of what was cut out of it, such as 1024x768",
    CROP: "where that began, in pixels from the top and from the left, such as 0,64",
}
NEGATIVE = "; of the branch that guidance leads away from, where it differs"
SCORES = {"aesthetic_score": 6.0, "negative_aesthetic_score": 2.5}


def size() -> Conditioning:
    """Micro-conditioning on sizes and crops (Podell et al. 2023, arXiv:2307.01952, Section 2.2).

    For each image the network is told the ``original_size`` of a picture, the corner
    ``crops_coords_top_left`` of what was cut out of it and the ``target_size`` of that; of itself
    that is a picture as large as the image and not cut. The negative branch is told the same,
    unless ``negative_original_size`` and so on say otherwise. A size is "1024x768", width by
    height, and a corner "0,64", from the top and from the left; or either is a pair in Diffusers'
    order, (height, width) and (top, left), one for each image in a list. A network that was
    trained on aesthetic scores also reads ``aesthetic_score`` (6.0) and
    ``negative_aesthetic_score`` (2.5).
    """
    return Size()


@dataclass(frozen=True)
class Size(Conditioning):
    """
    Attributes:
        scored: the model takes an aesthetic score.
    """

    scored: bool = False

    @property
    def ability(self) -> str:
        return "size"

    @property
    def inputs(self) -> Mapping[str, Input]:
        pair = str | tuple[int, int] | None
        sizes = {name: Input(pair, help=words) for name, words in HELP.items()}
        negative = {f"negative_{n}": Input(pair, help=w + NEGATIVE) for n, w in HELP.items()}
        scores = {
            name: Input(
                float | None, help=f"how beautiful a picture the network is to think of ({score})"
            )
            for name, score in SCORES.items()
        }
        return {**sizes, **negative, **(scores if self.scored else {})}

    def fit(self, info: ModelInfo) -> Size:
        return replace(self, scored="aesthetic_score" in info.abilities)

    def check(self, request: Request) -> None:
        for image in range(len(request.seeds)):
            for negative in (False, True):
                read_sizes(request, image, negative)
                if self.scored:
                    read_score(request, image, negative)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        import torch

        ability: SizeAbility = run.model.abilities["size"]
        images = range(len(run.request.seeds))
        conditions: dict[str, dict[str, Tensor]] = {}
        for branch in branches:
            negative = branch == "negative"
            sizes = ability.encode([read_sizes(run.request, image, negative) for image in images])
            conditions[branch] = {**sizes}
            if self.scored:
                scores = [read_score(run.request, image, negative) for image in images]
                conditions[branch]["aesthetic_score"] = torch.tensor(
                    scores, dtype=torch.float32, device=run.device
                )
        return conditions


def read_sizes(request: Request, image: int, negative: bool) -> Sizes:
    """The sizes that a branch is told of one image.

    Raises:
        LdmError: one is no pair of whole numbers, or a size is 0.
    """

    def read(name: str, default: tuple[int, int]) -> tuple[int, int]:
        prefixed = (f"negative_{name}", name) if negative else (name,)
        for own in prefixed:
            if (value := request.inputs[own][image]) is not None:
                return _pair(own, value)
        return default

    whole = (request.height, request.width)
    return Sizes(
        original=read("original_size", whole),
        crop=read(CROP, (0, 0)),
        target=read("target_size", whole),
    )


def read_score(request: Request, image: int, negative: bool) -> float:
    """The aesthetic score that a branch is told of one image.

    Raises:
        LdmError: it is no number.
    """
    name = "negative_aesthetic_score" if negative else "aesthetic_score"
    value = request.inputs[name][image]
    if value is None:
        return SCORES[name]
    if not is_number(value):
        raise LdmError(f"{name} should be a number, such as {SCORES[name]}, not {brief(value)}.")
    return float(value)


def _pair(name: str, value: Any) -> tuple[int, int]:
    """Two whole numbers, from the top and from the left, of text or of a pair."""
    corner = name.endswith(CROP)
    pair: Any = value
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*" if corner else r"(\d+)\s*x\s*(\d+)", value)
        numbers = tuple(map(int, match.groups())) if match else ()
        pair = numbers if corner else numbers[::-1]
    whole = isinstance(pair, list | tuple) and all(map(is_whole, pair))
    if not whole or len(pair) != 2 or min(pair) < (0 if corner else 1):
        form = (
            'text such as "0,64" (top, left)'
            if corner
            else 'text such as "1024x768" (width, height)'
        )
        listed = "[(0, 64)]" if corner else "[(768, 1024)]"
        raise LdmError(
            f"{name} should be {form}, or a list with a pair for each image, such as {listed}; "
            f"not {brief(value)}."
        )
    return int(pair[0]), int(pair[1])
