"""Diffusers' UNet2DConditionModel as a network, and what may be told to it beside x and t."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from ldm_core.contracts.family import Condition
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    import torch
    from torch import Tensor


FREE = frozenset({"embedded_guidance", "control", "image_prompt"})
"""Abilities of these networks that no run needs to use."""


def unet_abilities(
    source: str, unet: Mapping[str, Any], vae: Mapping[str, Any], text_width: int
) -> frozenset[str]:
    """What a network can be conditioned by, from its config.

    Args:
        unet, vae: their configs.
        text_width: of the hidden states that the text encoders give.
    Raises:
        LdmError: the network takes other latents or hidden states than it would be given.
    """
    expected = unet.get("cross_attention_dim", 1280)
    if expected != text_width:
        raise LdmError(
            f"'{source}': the network takes text states of width {expected}, and the text "
            f"encoder gives {text_width}."
        )
    latents, channels = vae.get("latent_channels", 4), unet.get("in_channels", 4)
    if channels not in (latents, 2 * latents + 1):
        raise LdmError(
            f"'{source}': the network takes {channels} channels and the autoencoder gives "
            f"{latents}; known are text-to-image models with {latents} and inpainting models "
            f"with {2 * latents + 1} (the latents, a mask and a masked picture)."
        )
    abilities = {"text", "control", "image_prompt"}
    if channels > latents:
        abilities.add("inpainting")
    if unet.get("time_cond_proj_dim"):
        abilities.add("embedded_guidance")
    return frozenset(abilities)


def call_unet(
    unet: Any,
    dtype: torch.dtype,
    x: Tensor,
    point: Point,
    condition: Condition,
    added: Mapping[str, Any] | None = None,
) -> Tensor:
    """The network's output for x, (batch, channels, height, width) float32.

    Args:
        condition: ``text`` (batch, tokens, width); for inpainting ``mask`` (batch, 1, height,
            width), 1 where to repaint, and ``masked_image``, like x; for embedded guidance
            ``guidance_scale`` (batch,), which is 1, none, where it is not told; for a network
            with an image prompt's layers ``image_embeds`` (batch, pictures, ...). What a side
            network tells is added: ``down_residual_0`` and so on to what each layer of the encoder
            passes on to the decoder, ``mid_residual`` between them, and
            ``intrablock_residual_0`` and so on in the blocks of the encoder.
        added: what joins the time embedding, by Diffusers' names.
    """
    import torch

    t = torch.full((len(x),), point.t, device=x.device)
    if "mask" in condition:
        x = torch.cat([x, condition["mask"], condition["masked_image"]], dim=1)
    told = None
    if unet.config.time_cond_proj_dim:
        scale = condition.get("guidance_scale", torch.ones(len(x), device=x.device))
        told = embed_scale(scale, unet.config.time_cond_proj_dim).to(dtype)
    if "image_embeds" in condition:
        added = {**(added or {}), "image_embeds": [condition["image_embeds"].to(dtype)]}
    down = _numbered(condition, "down_residual", dtype)
    within = _numbered(condition, "intrablock_residual", dtype)
    output: Tensor = unet(
        x.to(dtype),
        t,
        condition["text"].to(dtype),
        timestep_cond=told,
        added_cond_kwargs=added,
        down_block_additional_residuals=down or None,
        mid_block_additional_residual=condition["mid_residual"].to(dtype) if down else None,
        down_intrablock_additional_residuals=within or None,
        return_dict=False,
    )[0]
    return output.float()


def _numbered(condition: Condition, name: str, dtype: torch.dtype) -> list[Tensor]:
    """``name_0``, ``name_1`` and so on, as far as they go."""
    names = (f"{name}_{number}" for number in count())
    return [condition[key].to(dtype) for key in takewhile(condition.__contains__, names)]


def embed_scale(scale: Tensor, width: int) -> Tensor:
    """Sines and cosines of 1000·w, where w = scale - 1, (batch, width) float32.

    Networks were trained on this float32 arithmetic, whose angles reach into the thousands; to be
    more exact would be to tell them something else.

    Source: Meng et al. 2023, arXiv:2210.03142, Section 3; frequencies as Kingma et al. 2021,
    arXiv:2107.00630.
    """
    import torch

    half = width // 2
    fall = torch.log(torch.tensor(10000.0)) / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -fall).to(scale.device)
    angles = ((scale - 1) * 1000.0)[:, None] * frequencies[None, :]
    embedded = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedded, (0, width % 2))
