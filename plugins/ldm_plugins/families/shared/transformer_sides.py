"""ControlNets beside the transformers of Stable Diffusion 3 and Flux: copies of their first blocks
that read a picture's latents beside x, t and the text (after Zhang et al. 2023, arXiv:2302.05543,
Section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import Call, Condition, Part, Place
from ldm_core.contracts.abilities import SideNetwork, Weight
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.shared_parts import SharedParts
from ldm_plugins.shared.side_networks import masked_channels

if TYPE_CHECKING:
    from torch import Tensor

BLOCK, SINGLE = "block_residual", "single_residual"
"""Keys of what is added behind a block of the network, with the block's number behind them."""


class TransformerSides:
    """Ability ``control`` of models with a transformer.

    Args:
        parts: the model's own: its ``transformer`` and its ``vae``.
    """

    def __init__(self, place: Place, parts: Mapping[str, Part]) -> None:
        self._shared = SharedParts(place)
        self._parts = parts

    def load(
        self, folder: Path, name: str, mode: int | tuple[int, ...] | None = None
    ) -> SideNetwork:
        """The side network in a folder.

        Args:
            name: its class: ``SD3ControlNetModel`` or ``FluxControlNetModel``.
            mode: which of its kinds of picture a network for several reads, which is one.
        """
        side = self._shared.read(folder, name)
        network, vae = self._parts["transformer"], self._parts["vae"]
        if name == "SD3ControlNetModel":
            return SD3ControlNet(side, network, vae)
        assert not isinstance(mode, tuple)
        return FluxControlNet(side, network, vae, mode)


class SD3ControlNet:
    """A ControlNet of Stable Diffusion 3 or 3.5; one for inpainting reads a picture, black where it
    is to be made anew, and what of it is kept."""

    guess = False

    def __init__(self, side: Part, network: Part, vae: Part) -> None:
        self._side = side
        self._network = network
        self._vae = vae
        self._masked = masked_channels(side.module.config) > 0
        # one for inpainting is told no summary of the text, whatever its config says
        self._silent = self._masked or side.module.config.force_zeros_for_pooled_projection

    def read(self, pictures: Tensor) -> Condition:
        import torch

        if not self._masked:
            # those told no summary of the text were trained on latents that are not shifted
            return {"picture": latents_of(self._vae, pictures, shifted=not self._silent)}
        white = (pictures[:, -1:] >= 0.5).float()
        latents = latents_of(self._vae, pictures[:, :-1] * (1 - white))
        kept = 1 - torch.nn.functional.interpolate(white, size=latents.shape[-2:])
        return {"picture": torch.cat([latents, kept], dim=1)}

    def __call__(self, call: Call, features: Condition, weight: Weight, guess: bool) -> Condition:
        side, device, dtype = self._side.module, self._side.device, self._side.dtype
        x = call.x.to(device, dtype)
        if not side.config.use_pos_embed:  # it shares that of the network
            own = self._network
            x = own.module.pos_embed(call.x.to(own.device, own.dtype)).to(device, dtype)
        reads = side.config.joint_attention_dim is not None
        pooled = call.condition["pooled"].to(device, dtype)
        (residuals,) = side(
            hidden_states=x,
            timestep=call.t.to(device),
            encoder_hidden_states=call.condition["text"].to(device, dtype) if reads else None,
            pooled_projections=pooled * (not self._silent),
            controlnet_cond=features["picture"].to(device, dtype),
            conditioning_scale=weight,
            return_dict=False,
        )
        blocks = len(self._network.module.transformer_blocks)
        # the last block of the network leads to no text, and gets nothing
        numbers = [int(block / (blocks / len(residuals))) for block in range(blocks - 1)]
        return {
            f"{BLOCK}_{block}": residuals[number].to(call.x.device)
            for block, number in enumerate(numbers)
        }


class FluxControlNet:
    """A ControlNet of Flux.

    Args:
        mode: which of its kinds of picture a network for several reads; None of one for a single
            kind.
    """

    guess = False

    def __init__(self, side: Part, network: Part, vae: Part, mode: int | None) -> None:
        self._side = side
        self._network = network
        self._vae = vae
        self._mode = mode

    @property
    def _hints(self) -> bool:
        """Whether it reads the picture itself, and no latents."""
        return self._side.module.input_hint_block is not None

    def read(self, pictures: Tensor) -> Condition:
        from ldm_plugins.families.shared.flux_tokens import pack

        if self._hints:
            return {"picture": pictures * 2 - 1}
        return {"picture": pack(latents_of(self._vae, pictures))}

    def __call__(self, call: Call, features: Condition, weight: Weight, guess: bool) -> Condition:
        import torch

        from ldm_plugins.families.shared.flux_tokens import PATCH, pack, positions

        side, device, dtype = self._side.module, self._side.device, self._side.dtype
        rows, columns = call.x.shape[-2] // PATCH, call.x.shape[-1] // PATCH
        states = call.condition["text"].to(device, dtype)
        guidance, mode = None, None
        if side.config.guidance_embeds:
            guidance = call.condition.get("guidance", torch.ones(len(call.x))).to(device)
        if self._mode is not None:
            mode = torch.full((len(call.x), 1), self._mode, device=device)
        double, single = side(
            hidden_states=pack(call.x).to(device, dtype),
            controlnet_cond=features["picture"].to(device, dtype),
            controlnet_mode=mode,
            conditioning_scale=weight,
            timestep=network_times(call, device),
            guidance=guidance,
            pooled_projections=call.condition["pooled"].to(device, dtype),
            encoder_hidden_states=states,
            txt_ids=torch.zeros(states.shape[1], 3, device=device),
            img_ids=positions(rows, columns, device),
            return_dict=False,
        )
        network = self._network.module
        each = {
            BLOCK: (double or (), len(network.transformer_blocks)),
            SINGLE: (single or (), len(network.single_transformer_blocks)),
        }
        return {
            f"{key}_{block}": residuals[number].to(call.x.device)
            for key, (residuals, blocks) in each.items()
            for block, number in enumerate(self._numbers(key, len(residuals), blocks))
        }

    def _numbers(self, key: str, count: int, blocks: int) -> list[int]:
        """Which of so many residuals each of so many blocks gets."""
        if not count:
            return []
        if self._hints and key == BLOCK:
            return [block % count for block in range(blocks)]
        return [block // math.ceil(blocks / count) for block in range(blocks)]


def latents_of(vae: Part, pictures: Tensor, shifted: bool = True) -> Tensor:
    """The latents of pictures (batch, channels, height, width) in [0, 1], on their device: the mean
    of what the autoencoder sees in them, so that no noise of the run is spent on it.

    Args:
        shifted: take the shift of the autoencoder's config from them, as from the model's own.
    """
    config = vae.module.config
    posterior = vae.module.encode((pictures * 2 - 1).to(vae.device, vae.dtype)).latent_dist
    shift = (config.shift_factor or 0.0) if shifted else 0.0
    latents: Tensor = (posterior.mean.float() - shift) * config.scaling_factor
    return latents.to(pictures.device)


def residuals_of(
    condition: Condition, part: Part, blocks: Mapping[str, tuple[str, int]]
) -> dict[str, list[Tensor]]:
    """What side networks give the blocks of a network, zeros for those that get nothing, by the
    names of the network's arguments; without those of which there is nothing at all.

    Args:
        part: the network.
        blocks: by argument, `BLOCK` or `SINGLE` and how many blocks the network has of the kind.
    """
    import torch

    arguments = {}
    for argument, (key, count) in blocks.items():
        names = [f"{key}_{block}" for block in range(count)]
        present = [condition[name] for name in names if name in condition]
        if present:
            nothing = torch.zeros_like(present[0])
            residuals = [condition.get(name, nothing) for name in names]
            arguments[argument] = [r.to(part.device, part.dtype) for r in residuals]
    return arguments
