"""Prompts for parts of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.contracts import Conditioning, Edit, Request, Run
from ldm_core.contracts.family import Condition, Network
from ldm_core.numerics.point import Point
from ldm_plugins.conditioning.shared.areas import Area, read_areas
from ldm_plugins.conditioning.shared.pictures import coverage
from ldm_plugins.conditioning.text import Prompts, Text, TooLong

if TYPE_CHECKING:
    from torch import Tensor

IMAGE = "region_image"
"""Key of the condition that says which image's regions a row has; -1 for none."""


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
    def inputs(self) -> Mapping[str, Any]:
        return {**super().inputs, "regions": None}

    def check(self, request: Request) -> None:
        super().check(request)
        given = request.inputs["regions"]
        for entry in {id(entry): entry for entry in given}.values():
            for area in read_areas(entry, request.width, request.height):
                self.check_prompt("prompt", area.prompt)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """What ``text`` gives, and key ``region_image`` (batch,), on the CPU."""
        import torch

        found = super().encode(run, branches)
        images = torch.arange(len(run.request.seeds))
        nowhere = torch.full_like(images, -1)
        return {
            branch: {**condition, IMAGE: nowhere if branch == "negative" else images}
            for branch, condition in found.items()
        }

    def texts(self, request: Request) -> list[str | None]:
        areas = [area for image in self._areas(request) for area in image]
        return [*super().texts(request), *(area.prompt for area in areas)]

    def edit(self, run: Run) -> Edit:
        areas = self._areas(run.request)
        if not any(areas):
            return Edit()
        prompts = [area.prompt for image in areas for area in image]
        encoder = Prompts(self, run.model.abilities["text"], self.texts(run.request))
        return Blend(run, areas, encoder(prompts), self.base)

    def _areas(self, request: Request) -> list[list[Area]]:
        size = request.width, request.height
        return [read_areas(entry, *size) for entry in request.inputs["regions"]]


class Blend(Edit):
    """Answers for each region's prompt, blended.

    Args:
        areas: of each image.
        condition: what the network is told in each area, image by image.
        base: weight of the prompt for all of the picture where there are areas.
    """

    def __init__(
        self, run: Run, areas: Sequence[Sequence[Area]], condition: Condition, base: float
    ) -> None:
        import torch

        model, request = run.model, run.request
        like = torch.empty(model.info.latent_shape(request.width, request.height))
        self._condition = condition
        self._of_image: list[list[int]] = []
        """Each image's areas, by their places in the condition."""
        shares, wholes, count = [], [], 0
        for image in areas:
            cover = torch.zeros(len(image), 1, *like.shape[-2:])
            if image:
                cover = coverage(
                    torch.stack([torch.from_numpy(a.cover)[None] for a in image]), like
                )
            weight = torch.tensor([area.weight for area in image])[:, None, None, None]
            uncovered = (1 - cover.sum(dim=0)).clamp(min=0)
            whole = uncovered + (base if image else 0.0)
            total = whole + (weight * cover).sum(dim=0)
            shares.append(weight * cover / total)
            wholes.append(whole / total)
            self._of_image.append(list(range(count, count + len(image))))
            count += len(image)
        self._shares = torch.cat(shares).to(model.device)
        # the last is for rows without regions
        self._wholes = torch.stack([*wholes, torch.ones_like(wholes[0])]).to(model.device)

    def network(self, network: Network) -> Network:
        def regional(x: Tensor, point: Point, condition: Condition) -> Tensor:
            import torch

            images = condition[IMAGE].tolist()
            plain = {key: value for key, value in condition.items() if key != IMAGE}
            asked = [
                (row, area)
                for row, image in enumerate(images)
                if image >= 0
                for area in self._of_image[image]
            ]
            if not asked:
                return network(x, point, plain)
            rows, areas = ([pair[i] for pair in asked] for i in (0, 1))
            told = {}
            for key, value in plain.items():
                more = self._condition[key][areas] if key in self._condition else value[rows]
                told[key] = torch.cat([value, more])
            answers = network(torch.cat([x, x[rows]]), point, told)
            blended = answers[: len(x)] * self._wholes[images]
            where = torch.tensor(rows, device=x.device)
            return blended.index_add(0, where, answers[len(x) :] * self._shares[areas])

        return regional
