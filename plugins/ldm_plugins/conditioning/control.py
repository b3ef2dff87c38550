"""Pictures that say where things are: edges, depth, poses, sketches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import (
    LED_FROM,
    REQUIRED,
    Call,
    Condition,
    Conditioning,
    FileName,
    Input,
    ModelInfo,
    Network,
    Request,
    Row,
    Run,
    RunHooks,
    take,
)
from ldm_core.contracts.abilities import ControlAbility, SideNetwork
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.calls import Selection, Whose, whose
from ldm_plugins.conditioning.shared.pictures import (
    check_size,
    different,
    read_picture,
    size_of,
    to_pixels,
)
from ldm_plugins.conditioning.shared.side_choices import SideChoice, read_choices
from ldm_plugins.conditioning.shared.side_folders import SideFolder, find_side_folder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PICTURES = Input(
    Path | list[Path],
    REQUIRED,
    help="a picture of the image's size, such as edges: a file, or one for each control model",
)
MASK = Input(
    Path,
    REQUIRED,
    help="for a control model that inpaints, white where the control_image is to be made anew: a "
    "file",
)


def control(*, models: list[FileName | dict[str, Any]]) -> Control:
    """ControlNets and T2I-Adapters: side networks that read a picture such as edges or depth
    (Zhang et al. 2023, arXiv:2302.05543; Mou et al. 2023, arXiv:2302.08453).

    Reads a ``control_image`` for each image, of its size: a file, PIL image, tensor (channels,
    height, width) or array (height, width, channels); or a list of them, one for each model. What
    several models give is summed. A model that inpaints, of Stable Diffusion 3, reads a
    ``control_mask`` for each image too.

    Args:
        models: folders of ControlNetModel, ControlNetUnionModel or T2IAdapter, and for Stable
            Diffusion 3 and Flux of SD3ControlNetModel or FluxControlNetModel, by path, or as tables
            of ``path``, ``weight`` (1.0), ``start`` (0.0) and ``end`` (1.0), the shares of the
            steps between which it is asked, ``guess_mode`` (false), and ``mode``, the number of the
            kind of picture for a network that reads several. For ControlNetUnionModel it may be a
            list, and ``weight`` too: then an image has a picture for each.
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
        masked = not self.folders or any(side.masked for side in self.folders)
        return {"control_image": PICTURES, **({"control_mask": MASK} if masked else {})}

    def fit(self, info: ModelInfo) -> Control:
        """The conditioning with its folders, seen to fit the model."""
        if self.ability not in info.abilities:
            return self
        folders = tuple(find_side_folder(choice, info) for choice in self.choices)
        return replace(self, folders=folders)

    def files(self) -> Sequence[Path]:
        return [side.folder for side in self.folders]

    def check(self, request: Request) -> None:
        each = [self._each(entry) for entry in request.inputs["control_image"]]
        for number, side in enumerate(self.folders):
            for (value,) in different([one for pictures in each for one in pictures[number]]):
                picture = read_picture("control_image", value, side.mode)
                check_size("control_image", picture, request)
                if any(length % side.unit for length in picture.shape[:2]):
                    raise LdmError(
                        f"the control_image is {size_of(picture)} pixels, and the control model "
                        f"'{side.folder}' reads multiples of {side.unit}."
                    )
        for (value,) in different(request.inputs.get("control_mask", ())):
            mask = read_picture("control_mask", value, "L", mask=True)
            check_size("control_mask", mask, request)
            if not (mask >= 0.5).any():
                raise LdmError("the control_mask is empty; paint white what should be made anew.")

    def bind(self, run: Run) -> RunHooks:
        ability: ControlAbility = run.model.abilities["control"]
        each = [self._each(entry) for entry in run.request.inputs["control_image"]]
        sides = []
        for number, (choice, folder) in enumerate(zip(self.choices, self.folders, strict=True)):
            mode = {} if choice.mode is None else {"mode": choice.mode}
            network = ability.load(folder.folder, folder.cls, **mode)
            pictures = [several[number] for several in each]
            masks = run.request.inputs["control_mask"] if folder.masked else ()
            sides.append(Side(choice, network, pictures, masks, folder.mode, run.device))
        return Beside(sides)

    def _each(self, entry: Any) -> list[list[Any]]:
        """An image's pictures, those of each model; one alone serves them all."""
        counts = [side.pictures for side in self.folders]
        if not isinstance(entry, list | tuple):
            return [[entry] * count for count in counts]
        if len(entry) != sum(counts):
            several = sum(counts) != len(counts)
            modes = f" of {sum(counts)} modes" if several else ""
            raise LdmError(
                f"an image has {len(entry)} pictures in control_image, and there are "
                f"{len(counts)} control models{modes}; give one for each, or one for all."
            )
        left = iter(entry)
        return [list(islice(left, count)) for count in counts]


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
