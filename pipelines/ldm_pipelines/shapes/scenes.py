"""What the `shapes` world is made of, in words: shapes, colours, sizes, places, and captions.

Nothing here draws and nothing here reads a picture; whoever does either takes its words from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

from ldm_core.errors import LdmError

SIDE = 64
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = {
    "red": (220, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (245, 220, 50),
    "green": (50, 170, 70),
    "blue": (40, 90, 210),
    "purple": (140, 60, 180),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
}
SIZES = {"small": (24, 28), "large": (40, 48)}  # bounding box in pixels, both ends included
PLACES = {  # direction of the shape's centre from the picture's, in (x, y), y downwards
    "in the center": (0, 0),
    "at the top left": (-1, -1),
    "at the top right": (1, -1),
    "at the bottom left": (-1, 1),
    "at the bottom right": (1, 1),
}
CAPTION = re.compile(
    f"a (?P<size>{'|'.join(SIZES)}) (?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)})"
    f"(?: (?P<place>{'|'.join(PLACES)}))? on a (?P<background>{'|'.join(COLOURS)}) background"
)
MARGIN = 1  # a shape never touches the picture's edge


@dataclass(frozen=True)
class Scene:
    """What a caption says: one shape, its size, its colours and, perhaps, its place."""

    shape: str
    colour: str
    background: str
    size: str
    place: str | None = None

    @classmethod
    def from_caption(cls, caption: str) -> Scene:
        """The scene that a caption of this world describes.

        Raises:
            LdmError: the caption is not worded as this world's are.
        """
        match = CAPTION.fullmatch(caption)
        if match is None:
            raise LdmError(
                f"{caption!r} is not worded like 'a large red circle on a blue background' or "
                "'a small yellow star at the top left on a black background'"
            )
        return cls(**match.groupdict())

    @property
    def caption(self) -> str:
        """The scene in words: ``a small yellow star at the top left on a black background``."""
        place = f" {self.place}" if self.place else ""
        return f"a {self.size} {self.colour} {self.shape}{place} on a {self.background} background"

    @property
    def held_out(self) -> bool:
        """Whether training never shows this combination of shape, colour and background."""
        names = list(COLOURS)
        number = (
            SHAPES.index(self.shape)
            + 2 * names.index(self.colour)
            + 3 * names.index(self.background)
        )
        return number % 10 == 0


def combinations(*, held_out: bool) -> list[tuple[str, str, str]]:
    """Every (shape, colour, background) that is held out of training, or every one that is not."""
    return [
        (shape, colour, background)
        for shape, colour, background in product(SHAPES, COLOURS, COLOURS)
        if colour != background and Scene(shape, colour, background, "small").held_out == held_out
    ]


@dataclass(frozen=True)
class Reading:
    """What a checker says that a picture shows, in the words of a scene; None where nothing."""

    background: str | None
    colour: str | None
    shape: str | None
    size: str | None
    place: str | None

    def agrees(self, scene: Scene) -> dict[str, bool]:
        """Which of the scene's words the picture obeys; a scene without a place leaves it free."""
        return {
            "background": self.background == scene.background,
            "colour": self.colour == scene.colour,
            "size": self.size == scene.size,
            "place": scene.place is None or self.place == scene.place,
            "shape": self.shape == scene.shape,
        }
