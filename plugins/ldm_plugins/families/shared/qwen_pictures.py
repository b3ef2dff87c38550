"""Pictures as Qwen-Image's edits see them: scaled, and cut into patches for the text encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.model.loading import reading
from ldm_core.model.reading import read_json
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.shared.quiet import quiet

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_UNIT = 32
"""The sides of a scaled picture are multiples of so many pixels."""
PLACE = "processor"
FILES = ("preprocessor_config.json", "processor_config.json")
"""Where a processor's settings are, the second from newer versions of Transformers."""
PATCHES = {
    "patch_size": ("patch_size", 14),
    "merge_size": ("spatial_merge_size", 2),
    "temporal_patch_size": ("temporal_patch_size", 2),
}
"""The settings that the text encoder has too, with its names and both classes' defaults."""
MOST_PIXELS = 2**24


def resized(picture: Image, area: int, unit: int = SIDE_UNIT) -> Image:
    """A picture of about so many pixels, whose sides are multiples of `SIDE_UNIT`, and of the unit.

    Raises:
        LdmError: it is too long for its height, or too high for its width.
    """
    from PIL.Image import Resampling

    width, height = sides(picture, area)
    size = (width // unit * unit, height // unit * unit)
    if 0 in size:
        raise LdmError(
            f"a reference picture of {picture.width}x{picture.height} pixels is too long for its "
            "other side."
        )
    return picture.resize(size, Resampling.LANCZOS)


def sides(picture: Image, area: int) -> tuple[int, int]:
    """Width and height of about so many pixels, in multiples of `SIDE_UNIT`."""
    ratio = picture.width / picture.height
    width = math.sqrt(area * ratio)
    wide, high = (round(side / SIDE_UNIT) * SIDE_UNIT for side in (width, width / ratio))
    return wide, high


def check_processor(folder: Folder) -> None:
    """See that what cuts pictures into patches is there, and goes with the text encoder.

    Raises:
        LdmError: it is not, or does not.
    """
    config = _config(folder.path / PLACE)
    if config is None:
        raise folder.error(f"it has no {PLACE}/{FILES[0]}.")
    vision = folder.config("text_encoder").get("vision_config") or {}
    for key, (name, usual) in PATCHES.items():
        cuts, takes = config.get(key, usual), vision.get(name, usual)
        if cuts != takes:
            raise folder.error(
                f"its {PLACE} cuts pictures with {key} = {cuts}, and the text encoder takes "
                f"{takes}."
            )
    for name in ("image_mean", "image_std"):
        colours = config.get(name)
        if colours is not None and not (isinstance(colours, list) and len(colours) == 3):
            raise folder.error(f"its {PLACE} says {name} = {colours!r}, which should be 3 numbers.")
    sizes = config.get("size") or {}
    for name, value in {**sizes, "min_pixels": config.get("min_pixels")}.items():
        if value is not None and not (type(value) is int and 1 <= value <= MOST_PIXELS):
            raise folder.error(
                f"its {PLACE} says {name} = {value!r}, which should be a number of pixels up to "
                f"{MOST_PIXELS}."
            )


def read_processor(folder: Path) -> Any:
    """What scales pictures for the text encoder and cuts them into patches, of a model folder."""
    # the one in PIL, so that pictures do not depend on whether torchvision is installed
    try:
        from transformers import Qwen2VLImageProcessorPil as Qwen2VLImageProcessor
    except ImportError:  # in versions that have this one alone
        from transformers import Qwen2VLImageProcessor

    with reading(f"the {PLACE} in {folder / PLACE}"), quiet():
        return Qwen2VLImageProcessor.from_pretrained(folder / PLACE, local_files_only=True)


def _config(place: Path) -> Mapping[str, Any] | None:
    """A processor's settings for pictures; None where it has none."""
    if (place / FILES[0]).is_file():
        return read_json(place / FILES[0])
    if (place / FILES[1]).is_file():
        config = read_json(place / FILES[1]).get("image_processor")
        return config if isinstance(config, Mapping) else None
    return None
