"""The reference pictures of a run, as the families' encoders take them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import Input, Request
from ldm_plugins.conditioning.shared.pictures import in_eight_bits, several

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "reference"
REFERENCE = Input(
    Path | list[Path] | None,
    None,
    help="a picture of any size, or several, that the network sees while it draws: files",
)


def references_of(request: Request) -> list[list[Image]]:
    """The pictures of each image, each opened once; none where no conditioning reads any."""
    entries = request.inputs.get(NAME, [None] * len(request.seeds))
    each = [several(entry) for entry in entries]
    different = {id(picture): picture for pictures in each for picture in pictures}
    images = {key: in_eight_bits(NAME, picture) for key, picture in different.items()}
    return [[images[id(picture)] for picture in pictures] for pictures in each]
