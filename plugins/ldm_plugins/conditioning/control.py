"""Pictures that say where things are: edges, depth, poses, sketches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Conditioning, Edit, Request, Run
from ldm_core.contracts.abilities import ControlAbility, SideNetwork
from ldm_core.contracts.family import Condition, ModelInfo, Network
from ldm_core.errors import LdmError
from ldm_core.numerics.grid import intervals_behind
from ldm_core.numerics.point import Point
from ldm_plugins.conditioning.shared.pictures import (
    check_size,
    different,
    read_picture,
    size_of,
    to_pixels,
)
from ldm_plugins.conditioning.shared.side_folders import (
    SideChoice,
    SideFolder,
    find_side_folder,
    read_choices,
)

if TYPE_CHECKING:
    from torch import Tensor

TOLD = "told"


def control(*, models: list[str | dict[str, Any]]) -> Conditioning:
    """ControlNets and T2I-Adapters: side networks that read a picture such as edges or depth
    (Zhang et al. 2023, arXiv:2302.05543; Mou et al. 2023, arXiv:2302.08453).

    Reads a ``control_image`` for each image, of its size: a file, PIL image or tensor (channels,
    height, width) in [0, 1]; or a list of them, one for each model. What several models tell is
    summed.

    Args:
        models: folders of ControlNetModel or T2IAdapter, by path, or as tables of ``path``,
            ``weight`` (1.0), ``start`` (0.0) and ``end`` (1.0), the shares of the steps between
            which it is asked, and ``guess_mode`` (false).
    """
    return Control(read_choices(models))


@dataclass(frozen=True)
class Control:
    """
    Attributes:
        folders: those of the choices, once the model is known.
    """

    choices: tuple[SideChoice, ...]
    folders: tuple[SideFolder, ...] = ()
    ability: str = "control"

    def for_model(self, info: ModelInfo) -> Control:
        """The conditioning with its folders, seen to fit the model."""
        if self.ability not in info.abilities:
            return self
        found = tuple(find_side_folder(choice.path, info) for choice in self.choices)
        return replace(self, folders=found)

    @property
    def inputs(self) -> Mapping[str, Any]:
        return {"control_image": ...}

    def check(self, request: Request) -> None:
        each = [self._each(given) for given in request.inputs["control_image"]]
        for number, side in enumerate(self.folders):
            for (value,) in different([pictures[number] for pictures in each]):
                picture = read_picture("control_image", value, side.mode)
                check_size("control_image", picture, request)
                if any(length % side.unit for length in picture.shape[:2]):
                    raise LdmError(
                        f"the control_image is {size_of(picture)} pixels, and the control model "
                        f"'{side.folder}' reads multiples of {side.unit}."
                    )

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """What each model makes of its pictures, by keys such as ``control_0_picture``, and
        ``control_0_told`` (batch,), whether it speaks to this branch."""
        import torch

        each = [self._each(given) for given in run.request.inputs["control_image"]]
        found: dict[str, dict[str, Tensor]] = {branch: {} for branch in branches}
        for number, (side, folder) in enumerate(zip(self.load(run), self.folders, strict=True)):
            given = [pictures[number] for pictures in each]
            pixels = to_pixels("control_image", given, folder.mode)
            known = side.read(pixels.to(run.model.device))
            for branch in branches:
                silent = branch == "negative" and self._guess(number, side)
                # left where Python can look at it without waiting for the device
                told = torch.full((len(each),), not silent)
                found[branch] |= {
                    f"control_{number}_{key}": value for key, value in {**known, TOLD: told}.items()
                }
        return found

    def edit(self, run: Run) -> Edit:
        return Beside(self, run)

    def load(self, run: Run) -> list[SideNetwork]:
        """The side networks of a run's model."""
        ability: ControlAbility = run.model.abilities["control"]
        return [ability.load(side.folder, side.cls) for side in self.folders]

    def _each(self, given: Any) -> list[Any]:
        """An image's pictures, one for each model; one alone serves them all."""
        if not isinstance(given, list | tuple):
            return [given] * len(self.choices)
        if len(given) != len(self.choices):
            raise LdmError(
                f"an image has {len(given)} pictures in control_image, and there are "
                f"{len(self.choices)} control models; give one for each, or one for all."
            )
        return list(given)

    def _guess(self, number: int, side: SideNetwork) -> bool:
        return self.choices[number].guess_mode or side.guess


class Beside(Edit):
    """A run whose network is told by the side networks, each within its share of the steps."""

    def __init__(self, control: Control, run: Run) -> None:
        self._grid = run.grid
        self._sides = list(zip(control.choices, control.load(run), strict=True))

    def network(self, network: Network) -> Network:
        def controlled(x: Tensor, point: Point, condition: Condition) -> Tensor:
            steps = len(self._grid) - 1
            step = min(intervals_behind(self._grid, point), steps - 1)
            found: dict[str, Tensor] = {}
            for number, (choice, side) in enumerate(self._sides):
                if choice.asked(step, steps):
                    prefix = f"control_{number}_"
                    for key, value in _ask(choice, side, x, point, condition, prefix).items():
                        found[key] = found[key] + value if key in found else value
            return network(x, point, {**condition, **found})

        return controlled


def _ask(
    choice: SideChoice,
    side: SideNetwork,
    x: Tensor,
    point: Point,
    condition: Condition,
    prefix: str,
) -> Condition:
    """What one side network tells; zeros in the rows of branches that it does not speak to."""
    own = {key: value for key, value in condition.items() if key.startswith(prefix)}
    known = {key.removeprefix(prefix): value for key, value in own.items()}
    rows = known.pop(TOLD)
    if rows.all():
        return side(x, point, condition, known, choice.weight, choice.guess_mode)
    if not rows.any():
        return {}
    some = side(
        x[rows],
        point,
        {key: value[rows] for key, value in condition.items()},
        {key: value[rows] for key, value in known.items()},
        choice.weight,
        choice.guess_mode,
    )
    told = {}
    for key, value in some.items():
        told[key] = value.new_zeros((len(x), *value.shape[1:]))
        told[key][rows] = value
    return told
