"""Guidance away from what the network draws when its attention sees nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

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

NAME = "perturbed_attention"


def perturbed_attention(
    *,
    scale: NotNegative = 3.0,
    layers: list[int | str] | None = None,
    beside: Guidance = MODELS_OWN,
    low: NotNegative = 0.0,
    high: NotNegative | None = None,
) -> Guidance:
    """Perturbed-attention guidance (Ahn et al. 2024, arXiv:2403.17377, Section 4).

    The answer is beside + scale·(positive - perturbed), where perturbed is the network's answer
    with the self-attention of some layers replaced by the identity: each of the picture's tokens
    has its own value alone, and that of the text where picture and text attend to each other. It
    needs neither training nor a prompt. One more call of the network. For UNets and for the
    transformers of DiT, PixArt, Stable Diffusion 3, Flux, FLUX.2 and Chroma.

    Args:
        scale: strength; 0 is none.
        layers: numbers of a transformer's blocks, or names of parts of the network, such as
            mid_block or up_blocks.1.attentions.0; the middle of a UNet where not given.
        beside: the guidance that this is added to; the model's own where not given.
        low, high: it acts where low < sigma/alpha <= high; without an upper end where high is not
            given.
    """

    def network(run: Run) -> Network:
        names = partial(attention_layers, layers=layers or MIDDLE, what=NAME)
        return altered(run.model, names, attending(identity))

    def check(info: ModelInfo) -> None:
        check_pictures(info, NAME)
        check_layers(info, layers, NAME)

    return Weaker(
        inner=beside,
        branch="perturbed",
        weight=scale,
        network=network,
        check=check,
        active=between(NAME, low, high),
        attention=tuple(layers or MIDDLE),
    )


def identity(picture: Picture, text: str | None) -> Attention:
    """Attention in which the picture's tokens do not see each other."""

    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        count = v.shape[-2]
        first, rows, columns = picture.tokens(count, text)
        if rows * columns == count:
            return v
        inside = slice(first, first + rows * columns)
        seen = torch.ones(count, count, dtype=torch.bool, device=v.device)
        seen[inside, inside] = torch.eye(rows * columns, dtype=torch.bool, device=v.device)
        if mask is not None and mask.dtype == torch.bool:
            seen = seen & mask
        elif mask is not None:
            seen = mask.masked_fill(~seen, -torch.inf)
        return scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)

    return attention
