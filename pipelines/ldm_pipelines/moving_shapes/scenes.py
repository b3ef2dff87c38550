"""What the `moving-shapes` world is made of, in words: shapes, colours, directions, and captions.

Nothing here draws and nothing here reads a video; whoever does either takes its words from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

from ldm_core.errors import LdmError

FRAMES, SIDE = 8, 64
SHAPES = ("circle", "square", "triangle")
COLOURS = {
    "red": (220, 40, 40),
    "yellow": (245, 220, 50),
    "green": (50, 170, 70),
    "blue": (40, 90, 210),
    "purple": (140, 60, 180),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}
PAINTS = ("red", "yellow", "green", "blue", "purple", "white")
BACKGROUNDS = ("black",)  # darker than every paint: see `ldm_pipelines.moving_shapes.training`
DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}  # x, y downwards
CAPTION = re.compile(
    f"a (?P<colour>{'|'.join(PAINTS)}) (?P<shape>{'|'.join(SHAPES)}) "
    f"moving (?P<direction>{'|'.join(DIRECTIONS)}) on a (?P<background>{'|'.join(BACKGROUNDS)}) "
    "background"
)


@dataclass(frozen=True)
class Motion:
    """What a caption says: one shape, its colour, where it moves to, and its background."""

    shape: str
    colour: str
    direction: str
    background: str

    @classmethod
    def from_caption(cls, caption: str) -> Motion:
        """The motion that a caption of this world describes.

        Raises:
            LdmError: the caption is not worded as this world's are.
        """
        match = CAPTION.fullmatch(caption)
        if match is None:
            raise LdmError(
                f"{caption!r} is not worded like 'a red circle moving right on a black background'"
            )
        return cls(**match.groupdict())

    @property
    def caption(self) -> str:
        """In words: ``a red circle moving right on a black background``."""
        shown = f"a {self.colour} {self.shape} moving {self.direction}"
        return f"{shown} on a {self.background} background"

    @property
    def held_out(self) -> bool:
        """Whether training never shows this combination of all four words."""
        number = (
            SHAPES.index(self.shape)
            + 2 * PAINTS.index(self.colour)
            + 3 * BACKGROUNDS.index(self.background)
            + 5 * list(DIRECTIONS).index(self.direction)
        )
        return number % 7 == 0


def motions(*, held_out: bool) -> list[Motion]:
    """Every motion that is held out of training, or every one that is not."""
    every = (Motion(*words) for words in product(SHAPES, PAINTS, DIRECTIONS, BACKGROUNDS))
    return [m for m in every if m.held_out == held_out]


@dataclass(frozen=True)
class MotionReading:
    """What a checker says that a video shows, in the words of a motion; None where nothing."""

    colour: str | None
    direction: str | None
    background: str | None
    shape: str | None

    def agrees(self, motion: Motion) -> dict[str, bool]:
        """Which of the motion's words the video obeys."""
        return {
            "colour": self.colour == motion.colour,
            "direction": self.direction == motion.direction,
            "background": self.background == motion.background,
            "shape": self.shape == motion.shape,
        }
