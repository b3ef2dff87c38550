"""Data encoded as memory allows: together, or in halves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, strided

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Model, Noise, Seed
from ldm_core.errors import LdmError, NotFiniteError, PartError
from ldm_core.media import pixels
from ldm_core.model.copied import follow_originals
from ldm_core.model.libraries import heard
from ldm_core.numerics.seeded_noise import white
from ldm_core.plugins.looked_at import is_a
from ldm_core.run.allowance import in_halves
from ldm_core.run.attention import in_force
from ldm_core.run.call import seeds_for
from ldm_core.run.guards import described, has_shape, left_alone
from ldm_core.run.outcome import finite_entries, likely_cause
from ldm_core.run.output import Failure
from ldm_core.run.part_errors import computing
from ldm_core.run.tf32 import tf32_in_force
from ldm_core.values import brief

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline


ENCODING = "while data was encoded"


def encoded(pipe: Pipeline, data: Any, seed: Seed | Sequence[Seed]) -> Tensor:
    """The latents of images, or of other data, (batch, channels, ...) float32.

    Args:
        data, seed: as of `Pipeline.encode`.
    """
    parts, latents = pipe.composition, pipe.composition.info.latents
    if parts.encoder.kind == "image":
        data = pixels.to_pixels(data, parts.info.image_channels)
    elif not is_a(data, Tensor) or data.ndim != len(latents.names) + 2:
        axes = ", ".join(("batch", "channels", *latents.names))
        raise LdmError(f"the data should be a tensor ({axes}), not {brief(data)}.")
    extent = dict(zip(latents.names, data.shape[2:], strict=True))
    latents.check_fits(extent, parts.info.default_extent)
    seeds, device = seeds_for(len(data), seed), pipe.model.latents_device

    follow_originals(pipe.model.parts.values())

    def several(start: int, stop: int) -> Tensor:
        noise = pipe.noise(seeds[start:stop], extent)
        tf32 = tf32_in_force(parts.recipe)
        with in_force(parts.attention), tf32, heard(), computing(pipe.model):
            some = data[start:stop].to(device)
            return by_encoder(parts, pipe.model, some, noise).to(device)

    return _finite(pipe, in_halves(several, len(data)), seeds)


def by_encoder(parts: Composition, model: Model, data: Tensor, noise: Noise) -> Tensor:
    """What a composition's encoder gives of data (batch, channels, ...), seen to be latents of it.

    Raises:
        LdmError: it gave something else, as an encoder for another kind of model does.
    """
    encoder, space = parts.encoder, parts.info.latents
    with parts.owners.blamed(encoder, ENCODING), left_alone(parts.owners, encoder, data, "data"):
        latents = encoder(model, data, white(noise))
    extent = dict(zip(space.names, data.shape[2:], strict=True))
    shape = (len(data), *space.shape(extent))
    right = has_shape(latents) and latents.is_floating_point()
    right = right and not (latents.is_meta or latents.layout is not strided)
    if not right or tuple(latents.shape) != shape:
        name = parts.recipe["encoder"]["name"]
        gave = tuple(latents.shape) if right else described(latents)
        with parts.owners.blamed(encoder, ENCODING):
            raise PartError(
                encoder,
                f"the encoder {brief(name)} gave {gave} for data of {tuple(data.shape)}, whose "
                f"latents should be of {shape}; it is not for this model.",
                "leave the encoder out: the model's own is then taken.",
            )
    return latents.detach()


def _finite(pipe: Pipeline, latents: Tensor, seeds: Sequence[int]) -> Tensor:
    """Latents (batch, channels, ...), once they are seen to be finite.

    Raises:
        NotFiniteError: some are not; it holds the others.
    """
    finite = finite_entries(latents)
    if all(finite):
        return latents
    hint = likely_cause(pipe)
    lost = [index for index, right in enumerate(finite) if not right]
    name = pipe.composition.owners.called(pipe.composition.encoder, "the encoder")
    failures = [Failure(i, seeds[i], name, None, 0, hint, {"inputs": {}}) for i in lost]
    named = ", ".join(map(str, lost))
    raise NotFiniteError(
        f"{name} gave numbers that are not finite (NaN or infinite) of entry {named} of "
        f"{len(latents)}.",
        hint,
        latents[finite],
        failures,
    )
