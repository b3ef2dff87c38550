"""Prompts for parts of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from ldm_core.contracts import Conditioning, Input, ModelInfo, Request, Run, RunHooks
from ldm_plugins.conditioning.shared.areas import Area, read_areas
from ldm_plugins.conditioning.shared.pictures import check_draws_pictures
from ldm_plugins.conditioning.shared.prompts import TooLong
from ldm_plugins.conditioning.shared.regional_answers import Blend
from ldm_plugins.conditioning.text import Text

REGIONS = Input(
    list[dict[str, Any]] | None,
    None,
    file_keys=("mask",),
    help='tables of a prompt and its box or mask: [{prompt = "a star", box = [0, 0, 0.5, 1]}]',
)


def regions(
    *,
    too_long: TooLong = "warn",
    weights: bool = True,
    base: Annotated[float, Field(ge=0)] = 0.0,
) -> Conditioning:
    """Prompts for regions of the picture beside the prompt for all of it: MultiDiffusion of one
    view (Bar-Tal et al. 2023, arXiv:2302.08113).

    Does all that ``text`` does, and takes its place. Reads ``regions``, a list of tables for all
    images, or a list of such lists, one for each: ``[{prompt = "a red circle", box = [0, 0, 0.5,
    1]}, {prompt = "a blue star", mask = "right.png", weight = 2}]``. A box is left, top, right and
    bottom, as shares of the picture or, where one is above 1, in pixels; a mask is a picture of
    the image's size, white where the prompt holds. The network answers for each region's prompt,
    and each latent gets the mean of its regions' answers, by their weights (1). The ``prompt`` has
    what no region covers. The negative prompt holds everywhere.

    Args:
        too_long, weights: as in ``text``.
        base: weight of the prompt where regions are, beside theirs.
    """
    return Regions(too_long, weights, base=base)


@dataclass(frozen=True)
class Regions(Text):
    base: float = 0.0

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {**super().inputs, "regions": REGIONS}

    def fit(self, info: ModelInfo) -> Regions:
        check_draws_pictures("regions", info)
        fitted = super().fit(info)
        assert isinstance(fitted, Regions)
        return fitted

    def check(self, request: Request) -> None:
        super().check(request)
        tables = request.inputs["regions"]
        for entry in {id(entry): entry for entry in tables}.values():
            for area in read_areas(entry, request.width, request.height):
                self.check_prompt("prompt", area.prompt)

    def texts(self, request: Request) -> list[list[str | None]]:
        images = zip(super().texts(request), self._areas(request), strict=True)
        return [[*texts, *(area.prompt for area in areas)] for texts, areas in images]

    def bind(self, run: Run) -> RunHooks:
        areas = self._areas(run.request)
        if not any(areas):
            return RunHooks()
        texts = [(number, area.prompt) for number, image in enumerate(areas) for area in image]
        return Blend(run, areas, self.prompts(run).rows(texts), self.base)

    def _areas(self, request: Request) -> list[list[Area]]:
        size = request.width, request.height
        return [read_areas(entry, *size) for entry in request.inputs["regions"]]
