"""Answers of a network to the prompts of areas, blended by where each holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_core.contracts import LED_FROM, Call, Condition, Network, Run, RunHooks, concatenate
from ldm_plugins.conditioning.shared.areas import Area
from ldm_plugins.conditioning.shared.calls import Selection, Shapes, Whose, shapes, whose
from ldm_plugins.conditioning.shared.pictures import coverage

if TYPE_CHECKING:
    from torch import Tensor

Pair = tuple[int, int]
"""A row of a call, and an area of its image by its place among those of all images."""


@dataclass(frozen=True)
class AreaRows:
    """Rows that are asked about areas in one call.

    Attributes:
        select: makes the call that asks.
        branches: under which it does, a name for each of its rows.
        places: (areas,) the rows of the call that get their answers.
        shares: (areas, 1, rows, columns) of the answers in those.
    """

    select: Selection
    branches: tuple[str, ...]
    places: Tensor
    shares: Tensor

    def of(self, call: Call) -> Call:
        """What the network is asked, of what it would be asked without areas."""
        rows = self.select(call)
        named = zip(rows.rows, self.branches, strict=True)
        return rows._replace(rows=tuple([row._replace(branch=branch) for row, branch in named]))

    def add_to(self, result: Tensor, answers: Tensor) -> Tensor:
        return result.index_add(0, self.places, answers * self.shares)


@dataclass(frozen=True)
class Layout:
    """How the rows of calls are asked about their areas.

    Attributes:
        wholes: (rows, 1, rows, columns), what the answer to its own prompt counts in each row.
        beside: the call's own rows and then those whose conditions have their shape; None where
            there are none, and the call itself is asked.
        others: those of each other shape.
    """

    wholes: Tensor
    beside: AreaRows | None
    others: tuple[AreaRows, ...]


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
        self._layouts: dict[Whose, Layout | None] = {}

    def network(self, network: Network) -> Network:
        def regional(call: Call) -> Tensor:
            layout = self._layout(call)
            if layout is None:
                return network(call)
            beside, count = layout.beside, len(call.x)
            answers = network(call if beside is None else beside.of(call))
            result = answers[:count] * layout.wholes
            if beside is not None:
                result = beside.add_to(result, answers[count:])
            for other in layout.others:
                result = other.add_to(result, network(other.of(call)))
            return result

        return regional

    def _layout(self, call: Call) -> Layout | None:
        """How a call is asked, laid out once for all that have its rows; None without areas."""
        key = whose(call)
        if key not in self._layouts:
            images = [-1 if row.branch in LED_FROM else row.image for row in call.rows]
            pairs = [
                (place, area)
                for place, image in enumerate(images)
                if image >= 0
                for area in self._of_image[image]
            ]
            self._layouts[key] = self._lay_out(call, images, pairs) if pairs else None
        return self._layouts[key]

    def _lay_out(self, call: Call, images: Sequence[int], pairs: Sequence[Pair]) -> Layout:
        groups: dict[Shapes, list[Pair]] = {}
        for pair in pairs:
            groups.setdefault(shapes(self._conditions[pair[1]]), []).append(pair)
        keys = self._conditions[0]
        beside = groups.pop(shapes({key: call.condition[key] for key in keys}), None)
        own = range(len(call.rows))
        return Layout(
            wholes=self._wholes[images],
            beside=None if beside is None else self._area_rows(call, own, beside),
            others=tuple([self._area_rows(call, (), group) for group in groups.values()]),
        )

    def _area_rows(self, call: Call, own: Sequence[int], pairs: Sequence[Pair]) -> AreaRows:
        """What the network is asked in these areas: under each one's prompt, and all else as in
        its row.

        Args:
            own: rows of the call that are asked with them, as they are.
        """
        import torch

        places = [place for place, _ in pairs]
        names = [call.rows[place].branch for place in own]
        for place, area in pairs:
            row = call.rows[place]
            names.append(f"{row.branch}, region {area - self._of_image[row.image].start}")
        prompts = concatenate([self._conditions[area] for _, area in pairs])
        return AreaRows(
            select=Selection([*own, *places], last=prompts),
            branches=tuple(names),
            places=torch.tensor(places, device=call.x.device),
            shares=self._shares[[area for _, area in pairs]],
        )
