"""Pictures that say where things are: edges, depth, poses, sketches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import (
    REQUIRED,
    Call,
    Condition,
    Conditioning,
    Input,
    ModelInfo,
    Network,
    Request,
    Row,
    Run,
    RunHooks,
)
from ldm_core.contracts.abilities import ControlAbility, SideNetwork
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.calls import select
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

PICTURES = Input(
    Path | list[Path],
    REQUIRED,
    help="a picture of the image's size, such as edges: a file, or one for each control model",
)


def control(*, models: list[str | dict[str, Any]]) -> Conditioning:
    """ControlNets and T2I-Adapters: side networks that read a picture such as edges or depth
    (Zhang et al. 2023, arXiv:2302.05543; Mou et al. 2023, arXiv:2302.08453).

    Reads a ``control_image`` for each image, of its size: a file, PIL image or tensor (channels,
    height, width) in [0, 1]; or a list of them, one for each model. What several models give is
    summed.

    Args:
        models: folders of ControlNetModel or T2IAdapter, by path, or as tables of ``path``,
            ``weight`` (1.0), ``start`` (0.0) and ``end`` (1.0), the shares of the steps between
            which it is asked, and ``guess_mode`` (false).
    """
    return Control(read_choices(models))


@dataclass(frozen=True)
class Control(Conditioning):
    """
    Attributes:
        folders: those of the choices, once the model is known.
    """

    choices: tuple[SideChoice, ...]
    folders: tuple[SideFolder, ...] = ()

    @property
    def ability(self) -> str:
        return "control"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {"control_image": PICTURES}

    def fit(self, info: ModelInfo) -> Control:
        """The conditioning with its folders, seen to fit the model."""
        if self.ability not in info.abilities:
            return self
        folders = tuple(find_side_folder(choice.path, info) for choice in self.choices)
        return replace(self, folders=folders)

    def check(self, request: Request) -> None:
        each = [self._each(entry) for entry in request.inputs["control_image"]]
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
        """What each model makes of its pictures, by keys such as ``control_0_picture``."""
        each = [self._each(entry) for entry in run.request.inputs["control_image"]]
        condition: dict[str, Tensor] = {}
        for number, (side, folder) in enumerate(zip(self.load(run), self.folders, strict=True)):
            pictures = [several[number] for several in each]
            pixels = to_pixels("control_image", pictures, folder.mode)
            features = side.read(pixels.to(run.device))
            condition |= {f"{_prefix(number)}{key}": value for key, value in features.items()}
        return dict.fromkeys(branches, condition)

    def bind(self, run: Run) -> RunHooks:
        return Beside(self.choices, self.load(run))

    def load(self, run: Run) -> list[SideNetwork]:
        """The side networks of a run's model."""
        ability: ControlAbility = run.model.abilities["control"]
        return [ability.load(side.folder, side.cls) for side in self.folders]

    def _each(self, entry: Any) -> list[Any]:
        """An image's pictures, one for each model; one alone serves them all."""
        if not isinstance(entry, list | tuple):
            return [entry] * len(self.choices)
        if len(entry) != len(self.choices):
            raise LdmError(
                f"an image has {len(entry)} pictures in control_image, and there are "
                f"{len(self.choices)} control models; give one for each, or one for all."
            )
        return list(entry)


class Beside(RunHooks):
    """A run whose network gets what side networks make of its rows, each within its share of the
    steps."""

    def __init__(self, choices: Sequence[SideChoice], sides: Sequence[SideNetwork]) -> None:
        self._sides = list(zip(choices, sides, strict=True))

    def network(self, network: Network) -> Network:
        def with_sides(call: Call) -> Tensor:
            residuals: dict[str, Tensor] = {}
            for number, (choice, side) in enumerate(self._sides):
                for key, value in _ask(choice, side, call, _prefix(number)).items():
                    residuals[key] = residuals[key] + value if key in residuals else value
            return network(call._replace(condition={**call.condition, **residuals}))

        return with_sides


def _prefix(number: int) -> str:
    """Of the keys under which a condition holds the features of a side network."""
    return f"control_{number}_"


def _ask(choice: SideChoice, side: SideNetwork, call: Call, prefix: str) -> Condition:
    """What one side network gives the rows of a call; zeros in those that it has nothing for."""
    rows = [place for place, row in enumerate(call.rows) if _speaks_to(row, choice, side)]
    if not rows:
        return {}
    part = call if len(rows) == len(call.rows) else select(call, rows)
    features = {
        key.removeprefix(prefix): value
        for key, value in part.condition.items()
        if key.startswith(prefix)
    }
    residuals = side(part, features, choice.weight, choice.guess_mode)
    if part is call:
        return residuals
    return {key: _spread(value, rows, len(call.rows)) for key, value in residuals.items()}


def _speaks_to(row: Row, choice: SideChoice, side: SideNetwork) -> bool:
    """Whether a side network is asked about a row."""
    silent = row.branch == "negative" and (choice.guess_mode or side.guess)
    return not silent and choice.covers(row.step, row.steps)


def _spread(values: Tensor, rows: Sequence[int], count: int) -> Tensor:
    """Values (rows, ...) at their places among so many rows, and zeros elsewhere."""
    whole = values.new_zeros((count, *values.shape[1:]))
    whole[list(rows)] = values
    return whole
