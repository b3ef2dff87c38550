"""What comes of final latents: the images that are finite, and what is said of the others."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Medium, Model, Request
from ldm_core.errors import LdmError, LdmWarning, MachineError, PartError
from ldm_core.media.manifest_record import IN_TILES
from ldm_core.media.pixels import SHOWN
from ldm_core.media.shown import shown
from ldm_core.model.loading import unpacked
from ldm_core.run.decoding import at_rate, decoded
from ldm_core.run.finite import (
    AROUND,
    CONDITIONS,
    DECODER,
    ENCODER,
    ESTIMATE,
    FAR,
    FAR_AT_THE_END,
    GUIDANCE,
    LAST,
    NETWORK,
    SCHEDULER,
    START,
    Fault,
    Finiteness,
)
from ldm_core.run.observing import failing, finished
from ldm_core.run.output import Failure, Output

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

MUCH_GUIDANCE = 100.0
"""A guidance scale that is named as a likely cause; 3 to 15 are usual."""


def outcome(
    pipe: Pipeline,
    latents: Tensor,
    request: Request,
    manifests: Sequence[dict[str, Any]],
    output_type: str,
    walks: Sequence[Finiteness] = (),
) -> Output:
    """The output of final latents (batch, channels, ...), without the images that are not finite.

    Args:
        request: what was asked for.
        manifests: one for each entry.
        walks: what was heard of the walks that led there, one after the other.
    Raises:
        MachineError: memory does not suffice to decode an image in any way; it holds the output of
            those before.
    """
    with failing(walks):
        output = _outcome(pipe, latents, request, manifests, output_type, walks)
        asked = sum(walk.evaluations for walk in walks) if walks else None
        return finished(walks, replace(output, evaluations=asked))


def _outcome(
    pipe: Pipeline,
    latents: Tensor,
    request: Request,
    manifests: Sequence[dict[str, Any]],
    output_type: str,
    walks: Sequence[Finiteness],
) -> Output:
    seeds = request.seeds
    faults, steps = faults_of(walks)
    kind = pipe.composition.decoder.kind
    for index, finite in enumerate(finite_entries(latents)):
        if not finite:
            faults.setdefault(index, Fault("the final latents"))
    _warn_far(pipe, latents, [s for i, s in enumerate(seeds) if i not in faults], faults, walks)
    good = [index for index in range(len(seeds)) if index not in faults]
    medium = unfinished = None
    if good and output_type != "latent":
        try:
            medium, tiles = decoded(
                pipe,
                latents if not faults else latents[good],
                request if not faults else request.at(good),
            )
        except MachineError as error:
            if error.output is None:
                raise
            (medium, tiles), unfinished = error.output, error
            first = good[len(tiles)]
            good = good[: len(tiles)]
            faults = {index: fault for index, fault in faults.items() if index < first}
        medium = at_rate(medium, request.frame_rate)
        manifests = _with_tiles(manifests, good, tiles)
        _check_count(medium, len(good))
        whole = [finite_entries(part.data) for part in (medium, *medium.beside)]
        lost = [place for place in range(len(good)) if not all(part[place] for part in whole)]
        faults |= {good[place]: Fault(_lost_by(pipe, latents[good[place]])) for place in lost}
        if lost:
            left = [place for place in range(len(good)) if place not in lost]
            medium = _part(medium, left)
            good = [good[place] for place in left]
    failures = _failures(pipe, faults, steps, seeds, manifests)
    kept = [seeds[index] for index in good]
    records = [manifests[index] for index in good]
    if output_type == "latent":
        images = latents if not faults else latents[good]
        rate = request.frame_rate or pipe.composition.info.rate if kind == "video" else None
        return Output(images, kept, records, kind, rate, failures=failures)
    if medium is None:
        return Output(_nothing(pipe, output_type, kind), [], [], kind, failures=failures)
    _check_shown(pipe, medium, output_type)
    output = replace(_as_output(medium, kept, records, output_type), failures=failures)
    if unfinished is not None:
        unfinished.output = output
        raise unfinished
    return output


def _with_tiles(
    manifests: Sequence[dict[str, Any]], good: Sequence[int], tiles: Sequence[int | None]
) -> list[dict[str, Any]]:
    """Manifests that say of those that are decoded in tiles how large these are."""
    sides = dict(zip(good, tiles, strict=True))
    return [
        manifest if sides.get(index) is None else {**manifest, IN_TILES: sides[index]}
        for index, manifest in enumerate(manifests)
    ]


def noted(pipe: Pipeline, medium: Medium) -> Medium:
    """What a decoder gave, once it is said where it is not finite."""
    for part in (medium, *medium.beside):
        lost = [index for index, right in enumerate(finite_entries(part.data)) if not right]
        if lost:
            named = ", ".join(map(str, lost))
            cause = likely_cause(pipe)
            decoder = by_whom(pipe.composition, DECODER)
            warnings.warn(
                LdmWarning(
                    f"{decoder} gave {part.kind}s with numbers that are not finite (NaN or "
                    f"infinite): entry {named} of {len(part.data)}.{' ' + cause if cause else ''}"
                ),
                stacklevel=3,
            )
    return medium


def faults_of(walks: Sequence[Finiteness]) -> tuple[dict[int, Fault], int]:
    """The first fault of each image in several walks, and the steps of all of them, which count
    through."""
    faults: dict[int, Fault] = {}
    before = 0
    for walk in walks:
        for index, fault in walk.faults.items():
            step = None if fault.step is None else before + fault.step
            faults.setdefault(index, fault._replace(step=step))
        before += walk.steps
    return faults, before


def finite_entries(values: Tensor) -> list[bool]:
    """Of each entry of a batch, whether all of its numbers are finite."""
    answers: list[bool] = values.detach().reshape(len(values), -1).isfinite().all(1).tolist()
    return answers


def likely_cause(pipe: Pipeline) -> str:
    """Why numbers of a pipeline may not be finite, and what may help, in a sentence or two."""
    tensor = tensor_not_finite(pipe.model)
    if tensor is not None:
        return f"the weights hold such numbers: {tensor}; get the file anew."
    causes = []
    scale = pipe.recipe.get("guidance", {}).get("scale")
    if isinstance(scale, int | float) and abs(scale) > MUCH_GUIDANCE:
        causes.append(f"a guidance scale of {scale:g} is far beyond what is usual (3 to 15).")
    for converter in pipe.composition.converters:
        if converter.reading is not None:
            causes.append(f"the weights were read with {converter.reading}; full ones may help.")
    computed = pipe.model.place.compute_dtype
    if computed.itemsize < 4:
        name = str(computed).removeprefix("torch.")
        largest = torch.finfo(computed).max
        causes.append(
            f"the networks compute in {name}, whose numbers end at {largest:.3g}; "
            "compute_dtype='float32' (--compute-dtype float32) may help."
        )
    return " ".join(causes)


def tensor_not_finite(model: Model) -> str | None:
    """The first tensor of a model's parts that holds numbers that are not finite, in words."""
    for name, part in model.parts.items():
        module = part.at_rest  # not what a placement leaves of those that wait
        if not isinstance(module, torch.nn.Module):
            continue
        tensors = (*module.named_parameters(), *module.named_buffers())
        plain = (pair for key, tensor in tensors for pair in unpacked(key, tensor).items())
        for key, tensor in plain:
            if tensor.is_floating_point() and tensor.device.type != "meta" and _holds(tensor):
                return f"the tensor '{key}' of the {name}"
    return None


def _holds(tensor: Tensor) -> bool:
    """Whether a weight holds numbers that are not finite, as far as its type can say."""
    try:
        return not bool(tensor.detach().isfinite().all())
    except (RuntimeError, NotImplementedError, TypeError):
        return False  # packed, such as in 8 bits


def _lost_by(pipe: Pipeline, latent: Tensor) -> str:
    """The decoder; or a scheduler of others, whose latent lies so far out that none can show it."""
    far = float(latent.detach().double().square().mean().sqrt()) > FAR_AT_THE_END
    parts = pipe.composition
    return SCHEDULER if far and not parts.owners.is_ours(parts.scheduler) else DECODER


def _failures(
    pipe: Pipeline,
    faults: Mapping[int, Fault],
    steps: int,
    seeds: Sequence[int],
    manifests: Sequence[dict[str, Any]],
) -> tuple[Failure, ...]:
    if not faults:
        return ()
    hint, kind = likely_cause(pipe), pipe.composition.decoder.kind
    names = {fault.what: by_whom(pipe.composition, fault.what) for fault in faults.values()}
    return tuple(
        Failure(index, seeds[index], names[what], step, steps, hint, manifests[index], kind)
        for index, (what, step) in sorted(faults.items())
    )


def by_whom(parts: Composition, what: str) -> str:
    """Where numbers came from that are not finite, with the plugins of other packages that have a
    share in it."""
    shares: dict[str, tuple[Any, ...]] = {
        SCHEDULER: (parts.scheduler,),
        GUIDANCE: (parts.guidance,),
        ESTIMATE: (parts.guidance, parts.family),
        ENCODER: (parts.encoder,),
        DECODER: (parts.decoder,),
        AROUND: (*parts.denoisers, *parts.conditioning),
        LAST: (*parts.conditioning, *parts.converters),
        START: (*parts.conditioning, parts.scheduler),
    }
    network = (parts.attention, *parts.converters, *parts.conditioning, parts.family)
    several = shares.get(what, network if what.startswith((NETWORK, CONDITIONS)) else ())
    named = dict.fromkeys(parts.owners.called(part, "") for part in several)
    others = [name for name in named if name]
    if not others:
        return what
    return others[0] if len(several) == 1 else f"{what}, where {' and '.join(others)} had a share"


def _warn_far(
    pipe: Pipeline,
    latents: Tensor,
    seeds: Sequence[int],
    faults: Mapping[int, Fault],
    walks: Sequence[Finiteness],
) -> None:
    """Say it where what is finite lies so far out that it shows nothing."""
    sizes = latents.detach().float().flatten(1).square().mean(1).sqrt().tolist()
    ends = {i: size for i, size in enumerate(sizes) if size > FAR_AT_THE_END and i not in faults}
    on_the_way = {i: size for walk in walks for i, size in walk.far.items() if i not in faults}
    several = [i for i in range(len(latents)) if i not in faults]
    for far, what, limit in (
        (ends, "the final latents have a root mean square", FAR_AT_THE_END),
        (on_the_way, "estimates of x0 on the way have a size", FAR),
    ):
        if far:
            named = ", ".join(str(seeds[several.index(index)]) for index in sorted(far))
            hint = likely_cause(pipe)
            warnings.warn(
                LdmWarning(
                    f"{what} of {max(far.values()):.3g} (seed {named}), and that of pictures is "
                    f"about 1: above {limit:g} nothing is to be seen but black and white."
                    f"{' ' + hint if hint else ''}"
                ),
                stacklevel=4,
            )
            return


def _check_count(medium: Medium, count: int) -> None:
    if len(medium.data) != count:
        raise LdmError(
            f"the decoder gave a {medium.kind} for each of {len(medium.data)} images, and "
            f"{count} were asked for."
        )


def _part(medium: Medium, entries: Sequence[int]) -> Medium | None:
    """Some entries of a medium; None where there are none."""
    if not entries:
        return None
    beside = tuple(replace(other, data=other.data[list(entries)]) for other in medium.beside)
    return replace(medium, data=medium.data[list(entries)], beside=beside)


def _nothing(pipe: Pipeline, output_type: str, kind: str) -> Any:
    """An output's images where there are none."""
    if output_type == "pil" and kind in ("image", "video"):
        return []
    nothing = torch.empty(0, *(0 for _ in pipe.axes), pipe.composition.info.image_channels)
    return nothing if output_type == "pt" else nothing.numpy()


def _check_shown(pipe: Pipeline, medium: Medium, output_type: str) -> None:
    """See that images can be made of what a decoder gave; that of a model that makes none is
    refused before."""
    parts = pipe.composition
    if output_type != "pil" or medium.kind not in ("image", "video"):
        return
    with parts.owners.blamed(parts.decoder, "while latents were decoded"):
        channels = medium.data.shape[1]
        if channels not in SHOWN:
            raise PartError(
                parts.decoder,
                f"an image has 1 channel (grey) or 3 (red, green, blue), and the decoder gave "
                f"{channels}.",
                'in Python, output_type="np" or "pt" gives it as numbers.',
            )


def _as_output(
    medium: Medium, seeds: list[int], manifests: list[dict[str, Any]], output_type: str
) -> Output:
    _check_count(medium, len(seeds))
    return Output(
        shown(medium, output_type),
        seeds,
        manifests,
        medium.kind,
        medium.rate,
        tuple(_as_output(other, seeds, manifests, output_type) for other in medium.beside),
    )
