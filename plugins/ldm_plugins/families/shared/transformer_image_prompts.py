"""IP-Adapters in the transformers of Flux, Chroma and Stable Diffusion 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_plugins.families.shared.image_prompts import (
    ImagePrompts,
    Scale,
    Tensors,
)
from ldm_plugins.families.shared.siglip_vision import siglip_processor

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn


class FluxImagePrompts(ImagePrompts):
    """Ability ``image_prompt`` of Flux and Chroma (XLabs 2024): each block of two streams attends
    to the pictures beside its own."""

    network = "transformer"

    def put_layers(self, network: Any, adapters: Sequence[Tensors]) -> None:
        super().put_layers(network, adapters)
        network.encoder_hid_proj.to(network.device, network.dtype)

    def set_scales(self, network: nn.Module, scales: Sequence[Scale]) -> None:
        from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor

        layers = [m for m in network.modules() if isinstance(m, FluxIPAdapterAttnProcessor)]
        for number, layer in enumerate(layers):
            layer.scale = [s[number] if isinstance(s, list) else s for s in scales]

    def embed(
        self, encoder: Path, pictures: Sequence[Image], pooled: bool
    ) -> tuple[Tensor, Tensor]:
        """See `ldm_core.contracts.abilities.ImagePromptAbility`. Nothing is a black picture."""
        from PIL import Image

        black = Image.new("RGB", (8, 8))
        embeds, _ = super().embed(encoder, [*pictures, black], pooled)
        return embeds[:-1], embeds[-1:].expand_as(embeds[:-1])


class StableDiffusion3ImagePrompts(ImagePrompts):
    """Ability ``image_prompt`` of Stable Diffusion 3 and 3.5 (InstantX 2024): SigLIP's states
    before its last layer (Zhai et al. 2023, arXiv:2303.15343), which a resampler reads at each
    time, beside the keys and values of each layer's own."""

    network = "transformer"
    encoder = "SiglipVisionModel"

    def put_layers(self, network: Any, adapters: Sequence[Tensors]) -> None:
        (adapter,) = adapters
        network._load_ip_adapter_weights(
            {kind: {**tensors} for kind, tensors in adapter.items()}, low_cpu_mem_usage=False
        )
        for module in (network.image_proj, *_layers(network)):
            module.to(network.device, network.dtype)

    def set_scales(self, network: nn.Module, scales: Sequence[Scale]) -> None:
        (scale,) = scales
        for layer in _layers(network):
            layer.scale = scale

    def embed(
        self, encoder: Path, pictures: Sequence[Image], pooled: bool
    ) -> tuple[Tensor, Tensor]:
        """See `ldm_core.contracts.abilities.ImagePromptAbility`. Nothing is states of zeros."""
        import torch

        part = self._parts.read(encoder, self.encoder)
        pixels = siglip_processor(encoder, part.module)(list(pictures), return_tensors="pt")
        pixels = pixels.pixel_values.to(part.device, part.dtype)
        seen = part.module(pixels, output_hidden_states=True).hidden_states[-2].to(self._device)
        return seen, torch.zeros_like(seen)


def _layers(network: nn.Module) -> list[Any]:
    """What attends to the pictures in a network of Stable Diffusion 3."""
    from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0

    return [m for m in network.modules() if isinstance(m, SD3IPAdapterJointAttnProcessor2_0)]
