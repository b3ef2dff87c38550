"""Pictures drawn in a terminal, by what it says that it can."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from struct import unpack
from typing import Any

from PIL import Image

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.media.sheet import CELL
from ldm_core.media.sixel import as_sixel

KITTY, ITERM, SIXEL, BLOCKS = "kitty", "iterm2", "sixel", "blocks"
PROTOCOLS = (KITTY, ITERM, SIXEL, BLOCKS)
CHOSEN = "LDM_TERMINAL"
"""The variable of the environment that says which of them, where a terminal does not."""
SIXEL_TERMS = ("foot", "mlterm", "yaft", "contour")
"""How ``TERM`` begins in terminals that draw sixels."""
KONSOLE = 220400
"""The version of Konsole since which it draws them."""
CELL_SIZE = 10, 20
"""Pixels of a letter's cell, across and down, where a terminal does not say: those of a VT340."""
CHUNK = 4096
"""Letters that the Kitty protocol takes at once."""
MOST_ROWS = 24
"""Lines that a picture takes at most."""


def protocol_of(environment: Mapping[str, str]) -> str:
    """What a terminal draws pictures by: its own protocol where it says that it has one, and
    otherwise half blocks in 24-bit colours; within tmux and screen, which hand no pictures on,
    always those; and before all what the variable `CHOSEN` says.

    Raises:
        LdmError: that is none of `PROTOCOLS`.
    """
    if chosen := environment.get(CHOSEN):
        if chosen not in PROTOCOLS:
            raise LdmError(
                f"{CHOSEN} is '{chosen}', and should be one of {', '.join(PROTOCOLS)}."
                f"{did_you_mean(chosen, PROTOCOLS)}"
            )
        return chosen
    if environment.get("TMUX") or environment.get("TERM", "").startswith(("screen", "tmux")):
        return BLOCKS
    program = environment.get("TERM_PROGRAM", "")
    if environment.get("KITTY_WINDOW_ID") or program == "ghostty":
        return KITTY
    if environment.get("TERM") in ("xterm-kitty", "xterm-ghostty"):
        return KITTY
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return ITERM
    version = environment.get("KONSOLE_VERSION", "")
    konsole = version.isdecimal() and int(version[:9]) >= KONSOLE
    if konsole or program == "mintty" or environment.get("TERM", "").startswith(SIXEL_TERMS):
        return SIXEL
    return BLOCKS


def cell_size(stream: Any) -> tuple[int, int]:
    """Pixels of a letter's cell in the terminal that a stream is, across and down; `CELL_SIZE`
    where it does not say."""
    try:
        from fcntl import ioctl
        from termios import TIOCGWINSZ

        lines, columns, wide, high = unpack("HHHH", ioctl(stream.fileno(), TIOCGWINSZ, b"\0" * 8))
    except (ImportError, OSError, ValueError):  # another system, or no terminal of it
        return CELL_SIZE
    return (
        (wide // columns, high // lines) if 0 < columns <= wide and 0 < lines <= high else CELL_SIZE
    )


def in_terminal(
    image: Image.Image,
    protocol: str,
    columns: int,
    lines: int,
    cell: tuple[int, int] = CELL_SIZE,
) -> tuple[str, int]:
    """What draws a picture where it is printed, and how many lines it takes.

    Args:
        columns, lines: of the terminal; the picture is as large as fits with two lines left.
        cell: pixels of a letter's cell, across and down, which sixels are drawn by.
    """
    if protocol == SIXEL:
        return _sixels(image, max(columns - 1, 1), max(min(lines - 2, MOST_ROWS), 1), cell)
    across, rows = _fitted(image, max(columns - 1, 1), max(min(lines - 2, MOST_ROWS), 1))
    if protocol == BLOCKS:
        return _blocks(image, across, rows), rows
    small = image.convert("RGB")
    small.thumbnail((4 * CELL, 4 * CELL))
    file = io.BytesIO()
    small.save(file, format="PNG", compress_level=1)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    if protocol == KITTY:
        return f"{_kitty(data, across, rows)}\n", rows
    size = f"size={len(file.getvalue())};width={across};height={rows}"
    return f"\x1b]1337;File=inline=1;preserveAspectRatio=1;{size}:{data}\x07\n", rows


def _fitted(image: Image.Image, columns: int, rows: int) -> tuple[int, int]:
    """Columns and rows of a picture, whose cells are twice as high as they are wide."""
    scale = min(columns / image.width, 2 * rows / image.height)
    return max(1, round(image.width * scale)), max(1, min(rows, round(image.height * scale / 2)))


def _blocks(image: Image.Image, columns: int, rows: int) -> str:
    """Half blocks, of which each shows two pixels."""
    small = image.convert("RGB").resize((columns, 2 * rows), Image.Resampling.BOX)
    pixels = small.tobytes()

    def at(x: int, y: int) -> str:
        start = 3 * (y * columns + x)
        return ";".join(map(str, pixels[start : start + 3]))

    drawn = [
        "".join(f"\x1b[38;2;{at(x, 2 * y)}m\x1b[48;2;{at(x, 2 * y + 1)}m▀" for x in range(columns))
        for y in range(rows)
    ]
    return "".join(f"{line}\x1b[0m\x1b[K\n" for line in drawn)


def _sixels(image: Image.Image, columns: int, rows: int, cell: tuple[int, int]) -> tuple[str, int]:
    """Sixels, in lines that are made free for them first: terminals differ in where the cursor is
    when a picture is drawn, so that it goes back to where it was."""
    scale = min(columns * cell[0] / image.width, rows * cell[1] / image.height)
    size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
    taken = -(-size[1] // cell[1])
    drawn = as_sixel(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    return "\n" * taken + f"\x1b[{taken}A\x1b7{drawn}\x1b8\x1b[{taken}B\r", taken


def _kitty(data: str, columns: int, rows: int) -> str:
    """The Kitty graphics protocol: a PNG in chunks, in the place of the one before."""
    parts = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    head, drawn = f"a=T,f=100,i=1,p=1,q=2,c={columns},r={rows},", ""
    for left, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
        drawn += f"\x1b_G{head}m={int(left > 0)};{part}\x1b\\"
        head = ""
    return drawn
