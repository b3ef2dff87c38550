"""Checks of decoders, on a model folder."""

from __future__ import annotations

import torch
from torch import Tensor

from ldm_core.conformance.autoencoding import (
    SPREAD,
    Halves,
    halves,
    ratio,
    rms,
    see_images_alone,
    see_round_trip,
)
from ldm_core.conformance.checks import Subject, check
from ldm_core.conformance.grounds import apart, quietly, see, see_like
from ldm_core.conformance.traces import global_seed
from ldm_core.contracts import Medium


@check("decoder")
def kind(subject: Subject) -> str:
    """It gives the kind of medium that it declares, with a rate where there is time."""
    pair = halves(subject)
    decoder = pair.other.pipe.composition.decoder
    with torch.no_grad(), quietly():
        x0 = pair.latents(pair.own)
        data = decoder.data(pair.model, x0, pair.request(x0))
    see(
        isinstance(data, Tensor | Medium),
        f"it gave a {type(data).__name__}, neither a tensor nor a Medium",
    )
    if isinstance(data, Medium):
        see(
            data.kind == decoder.kind,
            f"it gave '{data.kind}' and declares '{decoder.kind}': see @decodes",
        )
        see(
            data.kind not in ("video", "audio") or data.rate,
            f"it gave '{data.kind}' without a rate, frames or samples a second",
        )
        data = data.data
    sides = {"image": 4, "video": 5, "audio": 3}.get(decoder.kind, data.ndim)
    see(
        data.ndim == sides,
        f"it declares '{decoder.kind}' and gave a tensor of {data.ndim} dimensions, not {sides}",
    )
    return decoder.kind


@check("decoder")
def pictures(subject: Subject) -> str:
    """Latents become pictures of the model's size and channels, float32 and finite."""
    pair = halves(subject)
    data = _data(pair)
    info, extent = pair.model.info, pair.own.pipe.composition.extent()
    see_like(data, (3, info.image_channels, extent["height"], extent["width"]), pair.own.name)
    return f"{tuple(data.shape)}"


@check("decoder")
def round_trip(subject: Subject) -> str:
    """Pictures that the model's own encoder encodes come back about as well as from its own
    decoder, spread as widely."""
    pair = halves(subject)
    x0, expected = pair.latents(pair.own), pair.pictures()
    own, other = pair.decoded(pair.own, x0).data, pair.decoded(pair.other, x0.clone()).data
    factor = ratio(other, own)
    see(
        SPREAD[0] <= factor <= SPREAD[1],
        f"its pictures have {factor:.3g} times the standard deviation of those of the model's own "
        "decoder; pictures lie in [-1, 1], and latents carry the model's scaling factor",
    )
    return see_round_trip([rms(data, expected) for data in (own, other)], "decoder")


@check("decoder")
def each_alone(subject: Subject) -> str:
    """Each image is decoded as it is alone."""
    pair = halves(subject)
    x0 = pair.latents(pair.own)
    together = pair.decoded(pair.other, x0.clone()).data
    return see_images_alone(
        together,
        lambda image: pair.decoded(pair.other, x0[image : image + 1].clone(), (image,)).data,
    )


@check("decoder")
def no_other_randomness(subject: Subject) -> None:
    """What it gives is the same under another global seed."""
    pair = halves(subject)
    with global_seed(0):
        first = _data(pair)
    with global_seed(1):
        second = _data(pair)
    see(
        first.equal(second),
        f"it gives something else, by {apart(first, second):.2g}, under another global seed",
    )


@check("decoder")
def writes_nothing(subject: Subject) -> None:
    """It does not write into the latents."""
    pair = halves(subject)
    x0 = pair.latents(pair.own)
    before = x0.clone()
    pair.decoded(pair.other, x0)
    see(x0.equal(before), "it writes into the latents")


def _data(pair: Halves) -> Tensor:
    return pair.decoded(pair.other, pair.latents(pair.own)).data
