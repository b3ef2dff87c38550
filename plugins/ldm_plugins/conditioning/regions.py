"""Prompts for parts of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.contracts import (
    Call,
    Condition,
    Conditioning,
    Input,
    ModelInfo,
    Network,
    Request,
    Run,
    RunHooks,
    concatenate,
)
from ldm_plugins.conditioning.shared.areas import Area, read_areas
from ldm_plugins.conditioning.shared.calls import Shapes, join, select, shapes
from ldm_plugins.conditioning.shared.pictures import check_draws_pictures, coverage
from ldm_plugins.conditioning.shared.prompts import TooLong
from ldm_plugins.conditioning.text import Text

if TYPE_CHECKING:
    from torch import Tensor

REGIONS = Input(
    list[dict[str, Any]] | None,
    None,
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
        return self

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


Pair = tuple[int, int]
"""A row of a call, and an area of its image by its place among those of all images."""


class Blend(RunHooks):
    """Answers for each region's prompt, blended.

    Args:
        areas: of each image.
        conditions: what the network reads in each area, image by image, each of a single row.
        base: weight of the prompt for all of the picture where there are areas.
    """

    def __init__(
        self,
        run: Run,
        areas: Sequence[Sequence[Area]],
        conditions: Sequence[Condition],
        base: float,
    ) -> None:
        import torch

        like = torch.empty(run.model.info.latents.shape(run.request.extent))
        self._conditions = conditions
        self._of_image: list[range] = []
        """Each image's areas, by their places in the conditions."""
        shares, wholes, count = [], [], 0
        for image in areas:
            cover = torch.zeros(len(image), 1, *like.shape[-2:])
            if image:
                cover = coverage(
                    torch.stack([torch.from_numpy(a.cover)[None] for a in image]), like
                )
            weight = torch.tensor([area.weight for area in image])[:, None, None, None]
            rest = (1 - cover.sum(dim=0)).clamp(min=0)
            whole = rest + (base if image else 0.0)
            total = whole + (weight * cover).sum(dim=0)
            shares.append(weight * cover / total)
            wholes.append(whole / total)
            self._of_image.append(range(count, count + len(image)))
            count += len(image)
        self._shares = torch.cat(shares).to(run.device)
        # the last is for rows without regions
        self._wholes = torch.stack([*wholes, torch.ones_like(wholes[0])]).to(run.device)

    def network(self, network: Network) -> Network:
        def regional(call: Call) -> Tensor:
            import torch

            images = [-1 if row.branch == "negative" else row.image for row in call.rows]
            pairs = [
                (place, area)
                for place, image in enumerate(images)
                if image >= 0
                for area in self._of_image[image]
            ]
            if not pairs:
                return network(call)
            beside, *others = self._by_shape(call, pairs)
            whole = join(call, self._asking(call, beside)) if beside else call
            answers = network(whole)
            result = answers[: len(call.x)] * self._wholes[images]
            parts = [(beside, answers[len(call.x) :])] if beside else []
            parts += [(group, network(self._asking(call, group))) for group in others]
            for group, answer in parts:
                places = torch.tensor([place for place, _ in group], device=call.x.device)
                share = self._shares[[area for _, area in group]]
                result = result.index_add(0, places, answer * share)
            return result

        return regional

    def _by_shape(self, call: Call, pairs: Sequence[Pair]) -> list[list[Pair]]:
        """The pairs whose conditions are of the call's own shape, and then those of each other
        shape."""
        groups: dict[Shapes, list[Pair]] = {}
        for pair in pairs:
            groups.setdefault(shapes(self._conditions[pair[1]]), []).append(pair)
        keys = self._conditions[0]
        own = groups.pop(shapes({key: call.condition[key] for key in keys}), [])
        return [own, *groups.values()]

    def _asking(self, call: Call, pairs: Sequence[Pair]) -> Call:
        """What the network is asked in these areas: under each one's prompt, and all else as in
        its row."""
        rows = select(call, [place for place, _ in pairs])
        prompts = concatenate([self._conditions[area] for _, area in pairs])
        branches = [
            row._replace(branch=f"{row.branch}, region {area - self._of_image[row.image].start}")
            for row, (_, area) in zip(rows.rows, pairs, strict=True)
        ]
        return rows._replace(condition={**rows.condition, **prompts}, rows=tuple(branches))
