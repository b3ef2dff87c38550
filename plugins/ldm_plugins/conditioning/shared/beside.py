"""Side networks in a run: asked beside the model's own about its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import LED_FROM, Call, Condition, Network, Row, RunHooks, take
from ldm_core.contracts.abilities import SideNetwork
from ldm_plugins.conditioning.shared.calls import Selection, Whose, whose
from ldm_plugins.conditioning.shared.pictures import to_pixels
from ldm_plugins.conditioning.shared.side_choices import SideChoice

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Beside(RunHooks):
    """A run whose network gets what side networks make of its rows, each within its share of the
    steps."""

    def __init__(self, sides: Sequence[Side]) -> None:
        self._sides = sides

    def network(self, network: Network) -> Network:
        def with_sides(call: Call) -> Tensor:
            residuals: dict[str, Tensor] = {}
            for side in self._sides:
                for key, value in side(call).items():
                    residuals[key] = residuals[key] + value if key in residuals else value
            return network(call._replace(condition={**call.condition, **residuals}))

        return with_sides


class Side:
    """One side network in a run; its pictures are read once, when rows first need them.

    Args:
        pictures: of each image of the run.
        masks: one for each image, of a network that reads them.
        mode: how they are read, see `mode_of`.
        device: where x and the conditions are.
    """

    def __init__(
        self,
        choice: SideChoice,
        network: SideNetwork,
        pictures: Sequence[Sequence[Any]],
        masks: Sequence[Any],
        mode: str,
        device: torch.device,
    ) -> None:
        self._choice = choice
        self._network = network
        self._pictures = pictures
        self._masks = masks
        self._mode = mode
        self._device = device
        self._features: dict[tuple[int, ...], Condition] = {}
        """Of the images of rows; first those of all images, as they are read."""
        self._selections: dict[tuple[Whose, tuple[int, ...]], Selection] = {}

    def __call__(self, call: Call) -> Condition:
        """What the network gives the rows of a call; zeros in those that it has nothing for."""
        places = tuple([place for place, row in enumerate(call.rows) if self._speaks_to(row)])
        if not places:
            return {}
        part = call if len(places) == len(call.rows) else self._select(call, places)
        features, choice = self._features_of(part.rows), self._choice
        residuals = self._network(part, features, choice.weight, choice.guess_mode)
        if part is call:
            return residuals
        return {key: _spread(value, places, len(call.rows)) for key, value in residuals.items()}

    def _speaks_to(self, row: Row) -> bool:
        """Whether the network is asked about a row."""
        silent = row.branch in LED_FROM and (self._choice.guess_mode or self._network.guess)
        return not silent and self._choice.covers(row.step, row.steps)

    def _select(self, call: Call, places: tuple[int, ...]) -> Call:
        key = whose(call), places
        if key not in self._selections:
            self._selections[key] = Selection(places)
        return self._selections[key](call)

    def _features_of(self, rows: Sequence[Row]) -> Condition:
        """The features of each row's pictures, by its image."""
        every = tuple(range(len(self._pictures)))
        if not self._features:
            self._features[every] = self._network.read(self._pixels().to(self._device))
        images = tuple([row.image for row in rows])
        if images not in self._features:
            self._features[images] = take(self._features[every], list(images))
        return self._features[images]

    def _pixels(self) -> Tensor:
        """The pictures of each image and its mask, their channels one behind the other."""
        import torch

        each = zip(*self._pictures, strict=True)
        pixels = [to_pixels("control_image", pictures, self._mode) for pictures in each]
        if self._masks:
            pixels.append(to_pixels("control_mask", self._masks, "L", mask=True))
        return torch.cat(pixels, dim=1)


def _spread(values: Tensor, places: Sequence[int], count: int) -> Tensor:
    """Values (rows, ...) at their places among so many rows, and zeros elsewhere."""
    whole = values.new_zeros((count, *values.shape[1:]))
    whole[list(places)] = values
    return whole
