"""Guidance away from what the network draws when its attention is blurred."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import MODELS_OWN, Attention, Guidance, ModelInfo, Network, Run
from ldm_plugins.guidance.classifier_free import NotNegative
from ldm_plugins.guidance.shared.altered import Picture, altered, attending
from ldm_plugins.guidance.shared.layers import (
    MIDDLE,
    attention_layers,
    check_layers,
    check_pictures,
)
from ldm_plugins.guidance.shared.weaker import Weaker, between

if TYPE_CHECKING:
    from torch import Tensor

NAME = "smoothed_energy"


def smoothed_energy(
    *,
    scale: NotNegative = 3.0,
    sigma: Annotated[float, Field(gt=0)] | None = None,
    layers: list[int | str] | None = None,
    beside: Guidance = MODELS_OWN,
    low: NotNegative = 0.0,
    high: NotNegative | None = None,
) -> Guidance:
    """Smoothed energy guidance (Hong 2024, arXiv:2408.00760).

    The answer is beside + scale·(positive - smoothed), where smoothed is the network's answer with
    the self-attention weights of some layers blurred over the picture, before their softmax, which
    is done by blurring the queries. Where picture and text attend to each other, the picture's
    queries alone are blurred. One more call of the network. For UNets and for the transformers of
    DiT, PixArt, Stable Diffusion 3, Flux, FLUX.2 and Chroma.

    Args:
        scale: strength; 0 is none.
        sigma: standard deviation of the blur, in tokens; not given, it is infinite: every query is
            their mean.
        layers: numbers of a transformer's blocks, or names of parts of the network, such as
            mid_block or up_blocks.1.attentions.0; the middle of a UNet where not given.
        beside: the guidance that this is added to; the model's own where not given.
        low, high: it acts where low < sigma/alpha <= high; without an upper end where high is not
            given.
    """

    def network(run: Run) -> Network:
        names = partial(attention_layers, layers=layers or MIDDLE, what=NAME)

        def blurred(picture: Picture, text: str | None) -> Attention:
            return smoothed(picture, text, sigma)

        return altered(run.model, names, attending(blurred))

    def check(info: ModelInfo) -> None:
        check_pictures(info, NAME)
        check_layers(info, layers, NAME)

    return Weaker(
        inner=beside,
        branch="smoothed",
        weight=scale,
        network=network,
        check=check,
        active=between(NAME, low, high),
        attention=tuple(layers or MIDDLE),
    )


def smoothed(picture: Picture, text: str | None, sigma: float | None) -> Attention:
    """Attention whose queries of the picture's tokens are blurred over rows and columns."""

    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        first, rows, columns = picture.tokens(q.shape[-2], text)
        last = first + rows * columns
        across = q[..., first:last, :].float().reshape(*q.shape[:-2], rows, columns, q.shape[-1])
        if sigma is None:
            across = across.mean((-3, -2), keepdim=True).expand_as(across)
        else:
            down, along = (torch.tensor(blur(n, sigma), device=q.device) for n in (rows, columns))
            across = torch.einsum("ij,kl,...jlc->...ikc", down, along, across)
        inside = across.flatten(-3, -2).to(q.dtype)
        q = torch.cat([q[..., :first, :], inside, q[..., last:, :]], dim=-2)
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)

    return attention


def blur(count: int, sigma: float) -> list[list[float]]:
    """A Gaussian blur of so many numbers in a row as a matrix.

    The Gaussian ends at 3 sigma, or at half the row, and beyond the row's ends it sees the row
    mirrored, as in the paper's code.
    """
    reach = min(math.ceil(6 * sigma) // 2, count // 2)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-reach, reach + 1)]
    matrix = [[0.0] * count for _ in range(count)]
    for place, row in enumerate(matrix):
        for offset, weight in zip(range(-reach, reach + 1), weights, strict=True):
            mirrored = abs(place + offset)
            mirrored = min(mirrored, 2 * (count - 1) - mirrored)
            row[mirrored] += weight / sum(weights)
    return matrix
