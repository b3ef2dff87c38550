"""Diffusers' UNet2DConditionModel as a network, and what it may take beside x and t."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Call, Condition, Part
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.seen_pictures import seen

if TYPE_CHECKING:
    from torch import Tensor


FREE = frozenset({"guidance_embeds", "control", "image_prompt", "clip_skip", "prompt_2"})
"""Abilities of these networks that no run needs to use."""


def unet_abilities(folder: Folder, text_width: int) -> frozenset[str]:
    """What the network can be conditioned by, from its config.

    Args:
        text_width: of the hidden states that the text encoders give.
    Raises:
        LdmError: the network takes other latents or hidden states than it would get.
    """
    unet = folder.config("unet")
    folder.check_width(unet.get("cross_attention_dim", 1280), text_width)
    latents, channels = folder.latent_channels, unet.get("in_channels", 4)
    if channels not in (latents, 2 * latents + 1):
        raise folder.error(
            f"the network takes {channels} channels and the autoencoder gives {latents}; known "
            f"are text-to-image models with {latents} and inpainting models with "
            f"{2 * latents + 1} (the latents, a mask and a masked picture)."
        )
    abilities = {"text", "control", "image_prompt", "clip_skip"}
    if channels > latents:
        abilities.add("inpainting")
    if unet.get("time_cond_proj_dim"):
        abilities.add("guidance_embeds")
    return frozenset(abilities)


def call_unet(part: Part, call: Call, added: Mapping[str, Any] | None = None) -> Tensor:
    """The network's output for x, (rows, channels, height, width) float32.

    Args:
        call: its condition has ``text`` (rows, tokens, width); for inpainting ``mask`` (rows, 1,
            height, width), 1 where to repaint, and ``masked_image``, like x; for embedded guidance
            ``guidance`` (rows,), which is 1, none, where it is left out; for a network with an
            image prompt's layers ``image_embeds`` (rows, pictures, ...) and, where each holds for a
            part of the picture alone, ``image_masks`` (rows, pictures, height, width), and for
            several adapters ``image_embeds_1``, ``image_masks_1`` and so on; for one of unCLIP
            ``picture_embedding`` (rows, width). What side networks give is added:
            ``down_residual_0`` and so on to what each layer of the encoder passes on to the
            decoder, ``mid_residual`` between them, and ``intrablock_residual_0`` and so on in the
            blocks of the encoder.
    added: what joins the time embedding, by Diffusers' names.
    """
    import torch

    unet, device, dtype = part.module, part.device, part.dtype
    x, condition = call.x, call.condition
    labels = condition.get("picture_embedding")
    if "mask" in condition:
        x = torch.cat([x, condition["mask"], condition["masked_image"]], dim=1)
    guidance = None
    if unet.config.time_cond_proj_dim:
        scale = condition.get("guidance", torch.ones(len(x), device=x.device))
        guidance = embed_scale(scale, unet.config.time_cond_proj_dim).to(device, dtype)
    if embeds := seen(condition, "image_embeds", part):
        added = {**(added or {}), "image_embeds": embeds}
    masks = seen(condition, "image_masks", part)
    down = _numbered(condition, "down_residual", part)
    within = _numbered(condition, "intrablock_residual", part)
    output: Tensor = unet(
        x.to(device, dtype),
        call.t.to(device),
        condition["text"].to(device, dtype),
        class_labels=None if labels is None else labels.to(device, dtype),
        timestep_cond=guidance,
        added_cond_kwargs=added,
        cross_attention_kwargs={"ip_adapter_masks": masks} if masks else None,
        down_block_additional_residuals=down or None,
        mid_block_additional_residual=(
            condition["mid_residual"].to(device, dtype) if down else None
        ),
        down_intrablock_additional_residuals=within or None,
        return_dict=False,
    )[0]
    return output.to(x.device, torch.float32)


def _numbered(condition: Condition, name: str, part: Part) -> list[Tensor]:
    """``name_0``, ``name_1`` and so on, as far as they go."""
    names = (f"{name}_{number}" for number in count())
    present = takewhile(lambda key: key in condition, names)
    return [condition[key].to(part.device, part.dtype) for key in present]


def embed_scale(scale: Tensor, width: int) -> Tensor:
    """Sines and cosines of 1000·w, where w = scale - 1, (rows, width) float32.

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
