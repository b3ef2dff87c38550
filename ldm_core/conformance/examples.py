"""Examples of inputs, for checks."""

from __future__ import annotations

import types
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from ldm_core.composition.composition import Composition
from ldm_core.conformance.checks import NotApplicable
from ldm_core.contracts import Input
from ldm_core.contracts.files import FileName
from ldm_core.errors import LdmError, LdmWarning, PartError, PluginError

IMAGES = 3
TEXTS = ("a red circle", "a large blue star on a white ground", "green")
OTHER_TEXTS = ("grey", "a blurred photograph of too many things", "two words")
"""Of differing length, so that padding shows."""
EXAMPLES: Mapping[Any, Any] = {str: "a blue square", bool: True, int: 1, float: 0.5}


def _example(annotation: Any) -> Any:
    """A value of a type.

    Raises:
        LookupError: there is no example of it.
    """
    if annotation in (FileName, Path):
        raise LookupError(annotation)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return inner[0]
    if origin in (list, tuple, Sequence) and inner:
        return [_example(inner[0])]
    if origin in (Union, types.UnionType):
        return next(_example(one) for one in inner if one is not type(None))
    if origin is not None and inner:  # Annotated
        return _example(inner[0])
    return EXAMPLES[annotation]


def example_inputs(composition: Composition) -> dict[str, list[Any]]:
    """A value of each input for each of three images: its default where it has one, but for texts
    that it does not refuse, as those that name one of a few.

    Raises:
        NotApplicable: one must be given, and is of a type of which there is no example.
    """
    declared, extent = composition.inputs, composition.extent()
    classes = len(composition.info.classes)
    values = {name: _values(name, one, classes, extent) for name, one in declared.items()}
    if _refused(composition, values):
        defaults = {n: [one.default] * IMAGES for n, one in declared.items() if not one.required}
        for name, default in defaults.items():
            odd = {**values, **defaults, name: values[name]}
            if values[name] != default and _refused(composition, odd):
                values[name] = default
    return values


def _refused(composition: Composition, values: Mapping[str, Sequence[Any]]) -> bool:
    """Whether such inputs are refused when they are planned."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LdmWarning)
            composition.plan(values, [*range(IMAGES)], None, None)
    except (PartError, PluginError):  # which is no refusal
        return False
    except LdmError:
        return True
    return False


def _values(name: str, one: Input, classes: int, extent: Mapping[str, int]) -> list[Any]:
    text = one.each and one.type in (str, str | None)
    if not one.required and not text:
        return [one.default] * IMAGES
    kinds = {one.type, *get_args(one.type)}
    if "class" in name and int in kinds:
        values: list[Any] = [1, 0, max(classes - 1, 2)]
    elif str in kinds:
        values = list(OTHER_TEXTS if name.startswith("negative_") else TEXTS)
    elif Path in kinds:
        values = [example_picture(extent, number) for number in range(IMAGES)]
    else:
        try:
            values = [_example(one.type)] * IMAGES
        except LookupError:
            raise NotApplicable(f"reads the input '{name}', of which there is no example") from None
    return values if one.each else values[:1] * IMAGES


def other_values(name: str, one: Input, extent: Mapping[str, int]) -> list[Any] | None:
    """Values for three images of an input that may be left out: its default and others, so that
    what it does is seen, and that each image has its own; None where there is no example."""
    kinds = {one.type, *get_args(one.type)}
    others: list[Any]
    if one.required or "class" in name:
        return None
    if bool in kinds:
        others = [not one.default] * 2
    elif float in kinds:
        others = [0.25, 0.75]
    elif int in kinds:
        others = [1, 2]
    elif Path in kinds:
        others = [example_picture(extent, number) for number in range(2)]
    else:
        return None
    return [one.default, *others] if one.each else others[:1] * IMAGES


def example_picture(extent: Mapping[str, int], number: int) -> Any:
    """A picture, smooth and in colour, that is white in a part, so that it serves as a mask too."""
    import numpy as np
    from PIL import Image

    height, width = extent.get("height", 16), extent.get("width", 16)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(3 * rows * (number + k + 1)) * np.cos(4 * columns * (k + 1)) for k in range(3)]
    pixels = np.stack(waves, axis=-1) * 0.5 + 0.5
    pixels[: height // 2, : width // 2] = 1.0
    return Image.fromarray((pixels * 255).round().astype(np.uint8))
