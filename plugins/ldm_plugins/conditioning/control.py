"""Pictures that say where things are: edges, depth, poses, sketches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from ldm_core.contracts import (
    REQUIRED,
    Conditioning,
    FileName,
    Input,
    ModelInfo,
    Request,
    Run,
    RunHooks,
)
from ldm_core.contracts.abilities import ControlAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.beside import Beside, Side
from ldm_plugins.conditioning.shared.pictures import (
    check_size,
    different,
    read_picture,
    size_of,
)
from ldm_plugins.conditioning.shared.side_choices import SideChoice, read_choices
from ldm_plugins.conditioning.shared.side_folders import SideFolder, find_side_folder

PICTURES = Input(
    Path | list[Path],
    REQUIRED,
    help="a picture of the image's size, such as edges: a file, or one for each control model",
)
MASK = Input(
    Path | None,
    None,
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

    inputs: ClassVar[Mapping[str, Input]] = {"control_image": PICTURES, "control_mask": MASK}

    choices: tuple[SideChoice, ...]
    folders: tuple[SideFolder, ...] = ()

    @property
    def ability(self) -> str:
        return "control"

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
        self._check_masks(request)

    def _check_masks(self, request: Request) -> None:
        """See that there is a mask for each image where one is read, and none elsewhere."""
        masks, masked = request.inputs["control_mask"], any(side.masked for side in self.folders)
        if masked and any(value is None for value in masks):
            raise LdmError(
                "a control model that inpaints needs a control_mask for each image, white where "
                "its control_image is to be made anew."
            )
        for (value,) in different(masks):
            if value is None:
                continue
            if not masked:
                raise LdmError("no control model here reads a control_mask; leave it out.")
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
