"""Latents decoded as memory allows: together, one by one, or in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ldm_core.composition.composition import Composition
from ldm_core.contracts import (
    FrameRate,
    LatentSpace,
    Medium,
    Model,
    Request,
    Seed,
    request_of,
)
from ldm_core.errors import LdmError, MachineError
from ldm_core.media.arrays import check_latents
from ldm_core.model.copied import follow_originals
from ldm_core.model.libraries import heard
from ldm_core.run.allowance import WOULD_HELP, allowance, attempt, note
from ldm_core.run.attention import in_force
from ldm_core.run.call import seeds_for
from ldm_core.run.guards import check_medium, left_alone
from ldm_core.run.output import Output
from ldm_core.run.part_errors import computing
from ldm_core.run.tf32 import tf32_in_force

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

Latents = Tensor | Output
Seeds = Seed | Sequence[Seed]
Rate = FrameRate | None
FRAMES = "frames"

LEAST_TILE = 16
"""Latents a side: smaller tiles show little of what is around a place."""
FAR_OUT = 10.0
"""Root mean square of what a decoder gave that is no picture: one in [0, 255] has about 100."""
IN_TILES = (
    "the memory does not suffice to decode an image whole: it is decoded in overlapping tiles of "
    "{tile}x{tile} latents, which may differ a little in colour and sharpness; the manifest says "
    "so."
)
Decoded = tuple[Medium, list[int | None]]
"""What was decoded, and the side of the tiles of each entry; None where it was decoded whole."""


@torch.no_grad()
def decoded(
    pipe: Pipeline,
    latents: Tensor,
    request: Request | None = None,
    seed: int | Sequence[int] = 0,
) -> Decoded:
    """What the decoder gives of latents (batch, channels, ...): all at once, and where memory does
    not suffice for that one by one, and at last in tiles.

    Args:
        request: of which they are; latents by themselves where not given.
        seed: of latents by themselves, of the first or one for each.
    Raises:
        MachineError: it does not suffice for a single one in the smallest tiles; its ``output`` is
            what was `Decoded` of those before.
    """
    if request is not None:
        pipe = pipe.at_rate(request.frame_rate)
    seeds = seeds_for(len(latents), seed)
    if not pipe.composition.decoder.sees_request:
        request = None
    elif request is None or len(request.seeds) != len(latents):
        request = request_of(latents, pipe.composition.info.latents, seeds)
    allowed = allowance()
    said = allowed.tile
    parts: list[Medium] = []
    tiles: list[int | None] = []
    while len(tiles) < len(latents):
        left = latents[len(tiles) :]
        some = left[:1] if allowed.alone else left
        asked = request and request.images(len(tiles), len(tiles) + len(some))
        medium, refusal = attempt(partial(_decode, pipe, some, asked, allowed.tile))
        if medium is not None:
            if allowed.tile != said:
                said = allowed.tile
                note(IN_TILES.format(tile=said))
            parts.append(medium)
            tiles += [said] * len(some)
        elif not allowed.alone and len(left) > 1:
            allowed.alone = True
            note(f"the memory does not suffice to decode {len(left)} images at once: one by one.")
        else:
            allowed.alone, allowed.tile = True, _smaller(pipe, some, allowed.tile)
            if allowed.tile is None:
                what = f"the memory does not suffice to decode a single image: {refusal}"
                error = MachineError(what, WOULD_HELP)
                error.output = (_joined(parts), tiles) if parts else None
                raise error
    return _joined(parts), tiles


def _is_of(request: Request, latents: Tensor, space: LatentSpace) -> bool:
    """Whether latents are of a request's extent: a tile is not, nor what is decoded to see how
    latents look."""
    return tuple(latents.shape[1:]) == tuple(space.shape(request.extent))


def _decode(pipe: Pipeline, latents: Tensor, request: Request | None, tile: int | None) -> Medium:
    parts = pipe.composition
    follow_originals(pipe.model.parts.values())
    tf32 = tf32_in_force(parts.recipe)
    with in_force(parts.attention), tf32, heard(), computing(pipe.model):
        decode = partial(_medium, parts, pipe.model, request)
        # laid out otherwise, group norms over many pixels lose four digits of float32 on a CPU
        latents = latents.to(pipe.model.latents_device).contiguous()
        return decode(latents) if tile is None else _in_tiles(decode, latents, tile)


def _medium(parts: Composition, model: Model, request: Request | None, latents: Tensor) -> Medium:
    """What the decoder gives of latents, seen to be a medium for each of them."""
    space = parts.info.latents
    if request is not None and not _is_of(request, latents, space):
        request = request_of(latents, space, request.seeds)
    with parts.owners.blamed(parts.decoder, "while latents were decoded"):
        with left_alone(parts.owners, parts.decoder, latents, "latents"):
            medium = parts.decoder.medium(model, latents, request)
        if medium.rate is None and medium.kind != "image":
            medium = replace(medium, rate=parts.info.rate)
        check_medium(medium, latents, parts.decoder)
        if medium.data.requires_grad:
            medium = replace(medium, data=medium.data.detach())
    if not parts.owners.is_ours(parts.decoder):
        name = parts.owners.called(parts.decoder, "the decoder")
        for odd in _oddities(medium, latents, parts):
            note(f"{name} gave {odd}")
    return medium


def decoder_for(pipe: Pipeline, request: Request) -> Callable[[Tensor], Medium]:
    """What decodes latents of a request on their way."""
    return lambda latents: at_rate(decoded(pipe, latents, request)[0], request.frame_rate)


def at_rate(medium: Medium, frame_rate: float | None) -> Medium:
    """A video at the frame rate of a call, where it says one; its sound keeps its own."""
    return medium if frame_rate is None else replace(medium, rate=frame_rate)


def _oddities(medium: Medium, latents: Tensor, parts: Composition) -> Iterator[str]:
    """What is strange in a medium, though it can be shown."""
    size = medium.data.detach().float().square().mean().sqrt().item()
    if size > FAR_OUT:
        yield (
            f"numbers of a root mean square of {size:.3g}, and what is shown lies in about "
            "[-1, 1]: nothing is to be seen beyond."
        )
    pairs = zip(parts.info.latents.axes, latents.shape[2:], strict=False)
    lengths = tuple(axis.length(places) for axis, places in pairs)
    gave = tuple(medium.data.shape[2:])
    if gave != lengths and len(gave) == len(latents.shape[2:]) == len(lengths):
        yield f"{medium.kind}s of {_by(gave)}, and these latents are of {_by(lengths)}."
    channels = medium.data.shape[1]
    if medium.kind == "image" and channels != parts.info.image_channels:
        yield f"pictures of {channels} channels, and the model's have {parts.info.image_channels}."


def _by(lengths: Sequence[int]) -> str:
    return "x".join(map(str, lengths))


def _in_tiles(decode: Callable[[Tensor], Medium], latents: Tensor, tile: int) -> Medium:
    """What latents (batch, channels, ..., height, width) show, by way of tiles of which each fades
    in over the last quarter of those before it, as in Diffusers' `AutoencoderKL.tiled_decode`.

    A decoder is asked for each tile as for a picture of its size, and need not know of it.
    """
    step = tile * 3 // 4
    rows: list[list[Medium]] = []
    for top in range(0, latents.shape[-2], step):
        lefts = range(0, latents.shape[-1], step)
        rows.append([decode(latents[..., top : top + tile, n : n + tile]) for n in lefts])
    first = rows[0][0]
    if first.beside:
        raise MachineError(
            f"the memory does not suffice to decode a whole {first.kind}, and one with something "
            "beside it is not decoded in tiles.",
            WOULD_HELP,
        )
    stride = first.data.shape[-1] // min(tile, latents.shape[-1])
    shown, overlap = step * stride, (tile - step) * stride
    tiles = [[medium.data for medium in row] for row in rows]
    for i, row in enumerate(tiles):
        for j in range(len(row)):
            if i > 0:
                row[j] = _faded(tiles[i - 1][j], row[j], -2, overlap)
            if j > 0:
                row[j] = _faded(row[j - 1], row[j], -1, overlap)
    joined = [torch.cat([data[..., :shown, :shown] for data in row], -1) for row in tiles]
    return replace(first, data=torch.cat(joined, -2))


def _faded(before: Tensor, tile: Tensor, dim: int, overlap: int) -> Tensor:
    """A tile whose beginning along an axis fades in over the end of the one before it."""
    size = min(before.shape[dim], tile.shape[dim], overlap)
    weight = torch.arange(size, device=tile.device) / size
    weight = weight[:, None] if dim == -2 else weight
    end = before.narrow(dim, before.shape[dim] - size, size)
    both = end * (1 - weight) + tile.narrow(dim, 0, size) * weight
    return torch.cat([both, tile.narrow(dim, size, tile.shape[dim] - size)], dim)


def _smaller(pipe: Pipeline, latents: Tensor, tile: int | None) -> int | None:
    """The side of the next smaller tiles; None where there are none, or the latents have no height
    and width."""
    longest = max(latents.shape[-2:]) if tile is None else tile
    half = -(-longest // 8) * 4  # a multiple of 4, so that a quarter overlaps
    if {*pipe.axes[-2:]} != {"height", "width"} or half < LEAST_TILE or half >= longest:
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


def decoded_alone(
    pipe: Pipeline, latents: Latents, seed: int | Sequence[int], frame_rate: float | None
) -> Medium:
    """What the decoder gives of latents by themselves, at the rate that they were drawn at.

    Raises:
        LdmError: as of `latents_and_rate`, or they are of another shape.
    """
    info = pipe.composition.info
    data, rate = latents_and_rate(latents, frame_rate, info.latents)
    pipe = pipe.at_rate(rate)
    space = pipe.composition.info.latents
    check_latents("latents", data, space.shape(info.default_extent))
    return at_rate(decoded(pipe, data, seed=seed)[0], None if rate == info.rate else rate)


def latents_and_rate(
    latents: Latents, frame_rate: float | None, space: LatentSpace
) -> tuple[Tensor, float | None]:
    """Latents by themselves, and the frame rate at which they were drawn, None for the model's own.

    Raises:
        LdmError: an output is not of latents, or says another rate, or a tensor says none and the
            latents of each rate are others.
    """
    if isinstance(latents, Output):
        if not isinstance(latents.images, Tensor):
            raise LdmError(
                "what is decoded of an Output are its latents, and this one has none.",
                'output_type="latent" gives them.',
            )
        if frame_rate is not None and latents.rate not in (None, frame_rate):
            raise LdmError(
                f"the latents were drawn at {latents.rate:g} frames a second, and not at "
                f"{frame_rate:g}; leave frame_rate out."
            )
        frame_rate = latents.rate if frame_rate is None else frame_rate
        latents = latents.images
    if frame_rate is not None and FRAMES not in space.names:
        raise LdmError("these latents have no frames, and so no frame_rate; leave it out.")
    if frame_rate is None and space.follows_rate:
        raise LdmError(
            f"in these latents {' and '.join(space.beside_each_other)} lie at places that follow "
            "the frame rate that they were drawn at, and a tensor does not say it: of another rate "
            "it would be read wrong.",
            "say it, as in decode(latents, frame_rate=24), or give the Output that holds them: "
            "decode(output).",
        )
    return latents, frame_rate
