"""Checks of encoders, on a model folder."""

from __future__ import annotations

from torch import Tensor

from ldm_core.conformance.autoencoding import (
    SPREAD,
    halves,
    ratio,
    rms,
    see_images_alone,
    see_round_trip,
)
from ldm_core.conformance.checks import Subject, check
from ldm_core.conformance.grounds import apart, see, see_like
from ldm_core.conformance.traces import global_seed


@check("encoder")
def latents(subject: Subject) -> str:
    """Pictures become latents of the model's shape, float32 and finite."""
    pair = halves(subject)
    x0 = pair.latents(pair.other)
    see(isinstance(x0, Tensor), f"it gave a {type(x0).__name__}, no tensor")
    info = pair.model.info
    shape = (3, *info.latents.shape(pair.own.pipe.composition.extent()))
    see_like(x0, shape, pair.own.name)
    return f"{tuple(x0.shape)}"


@check("encoder")
def kind(subject: Subject) -> str:
    """It takes the kind of data that the model's decoder gives."""
    pair = halves(subject)
    own, other = pair.own.pipe.composition.decoder.kind, pair.other.pipe.composition.encoder.kind
    see(own == other, f"it takes '{other}', and the model's decoder gives '{own}': see @encodes")
    return other


@check("encoder")
def spread(subject: Subject) -> str:
    """Latents of smooth random pictures spread as those of the model's own encoder do, about the
    same mean."""
    pair = halves(subject)
    own, other = pair.latents(pair.own), pair.latents(pair.other)
    factor = ratio(other, own)
    see(
        SPREAD[0] <= factor <= SPREAD[1],
        f"its latents have {factor:.3g} times the standard deviation of those of the model's own "
        "encoder: the model's scaling factor is missing, or counted twice",
    )
    shift = float((other.mean() - own.mean()).abs() / own.std())
    see(
        shift <= 0.5,
        f"the mean of its latents is {shift:.2g} standard deviations from that of the model's own",
    )
    return f"{factor:.3g} times the model's own"


@check("encoder")
def round_trip(subject: Subject) -> str:
    """The model's own decoder brings pictures back about as well as from its own encoder."""
    pair = halves(subject)
    pictures = pair.pictures()
    errors = [
        rms(pair.decoded(pair.own, pair.latents(ground)).data, pictures)
        for ground in (pair.own, pair.other)
    ]
    return see_round_trip(errors, "encoder")


@check("encoder")
def each_alone(subject: Subject) -> str:
    """Each image's latents are what they are alone."""
    pair = halves(subject)
    together = pair.latents(pair.other)
    return see_images_alone(together, lambda image: pair.latents(pair.other, (image,)))


@check("encoder")
def no_other_randomness(subject: Subject) -> None:
    """Its latents are the same under another global seed: what it draws comes from noise()."""
    pair = halves(subject)
    with global_seed(0):
        first = pair.latents(pair.other)
    with global_seed(1):
        second = pair.latents(pair.other)
    see(
        first.equal(second),
        f"its latents differ by {apart(first, second):.2g} under another global seed: noise is "
        "drawn by noise() alone",
    )


@check("encoder")
def writes_nothing(subject: Subject) -> None:
    """It does not write into the data."""
    pair = halves(subject)
    data = pair.pictures()
    pair.encoded(pair.other, data)
    see(data.equal(pair.pictures()), "it writes into the data")
