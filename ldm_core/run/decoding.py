"""Latents decoded as memory allows: together, one by one, or in tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ldm_core.contracts import Medium
from ldm_core.errors import LdmError, MachineError
from ldm_core.model.libraries import heard
from ldm_core.run.allowance import WOULD_HELP, allowance, attempt, note
from ldm_core.run.attention import in_force
from ldm_core.run.part_errors import computing

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

LEAST_TILE = 16
"""Latents a side: smaller tiles show little of what is around a place."""
IN_TILES = (
    "memory does not suffice to decode an image whole: it is decoded in overlapping tiles of "
    "{tile}x{tile} latents, which may differ a little in colour and sharpness; the manifest says "
    "so."
)
Decoded = tuple[Medium, list[int | None]]
"""What was decoded, and the side of the tiles of each entry; None where it was decoded whole."""


@torch.no_grad()
def decoded(pipe: Pipeline, latents: Tensor) -> Decoded:
    """What the decoder gives of latents (batch, channels, ...): all at once, and where memory does
    not suffice for that one by one, and at last in tiles.

    Raises:
        MachineError: it does not suffice for a single one in the smallest tiles; its ``output`` is
            what was `Decoded` of those before.
    """
    allowed = allowance()
    said = allowed.tile
    parts: list[Medium] = []
    tiles: list[int | None] = []
    while len(tiles) < len(latents):
        left = latents[len(tiles) :]
        some = left[:1] if allowed.alone else left
        medium, refusal = _attempt(pipe, some, allowed.tile)
        if medium is not None:
            if allowed.tile != said:
                said = allowed.tile
                note(IN_TILES.format(tile=said))
            parts.append(medium)
            tiles += [said] * len(some)
        elif not allowed.alone and len(left) > 1:
            allowed.alone = True
            note(f"memory does not suffice to decode {len(left)} images at once: one by one.")
        else:
            allowed.alone, allowed.tile = True, _smaller(pipe, some, allowed.tile)
            if allowed.tile is None:
                what = f"memory does not suffice to decode a single image: {refusal}"
                error = MachineError(what, WOULD_HELP)
                error.output = (_joined(parts), tiles) if parts else None
                raise error
    return _joined(parts), tiles


def _attempt(pipe: Pipeline, latents: Tensor, tile: int | None) -> tuple[Medium | None, str | None]:
    try:
        return attempt(partial(_decode, pipe, latents, tile))
    except LdmError as error:
        if tile is None or isinstance(error, MachineError):
            raise
        return None, error.message  # this autoencoder knows no tiles


def _decode(pipe: Pipeline, latents: Tensor, tile: int | None) -> Medium:
    parts = pipe.composition
    with in_force(parts.attention), heard(), computing(pipe.model):
        return parts.decoder.medium(pipe.model, latents.to(pipe.model.latents_device), tile)


def _smaller(pipe: Pipeline, latents: Tensor, tile: int | None) -> int | None:
    """The side of the next smaller tiles; None where there are none, or the model knows none."""
    longest = max(latents.shape[2:]) if tile is None else tile
    half = -(-longest // 8) * 4  # a multiple of 4, so that a quarter overlaps
    if pipe.composition.decoder.in_tiles is None or half < LEAST_TILE or half >= longest:
        return None
    return half


def _joined(parts: Sequence[Medium]) -> Medium:
    """The entries of several media of one kind as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    data = torch.cat([part.data for part in parts])
    several = zip(*(part.beside for part in parts), strict=True)
    return replace(first, data=data, beside=tuple(_joined(others) for others in several))
