"""Pictures as words of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import Place
from ldm_plugins.families.shared.shared_parts import SharedParts
from ldm_plugins.families.shared.siglip_vision import siglip_processor

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

ENCODER, EMBEDDER = "SiglipVisionModel", "ReduxImageEncoder"


class PictureTokens:
    """Ability ``picture_tokens`` of Flux: SigLIP's states of a picture (Zhai et al. 2023,
    arXiv:2303.15343), which FLUX.1 Redux turns into states such as T5 gives (Black Forest Labs
    2024).

    Args:
        device: where the states go.
    """

    def __init__(self, place: Place, device: torch.device) -> None:
        self._parts = SharedParts(place)
        self._device = device

    def states(self, folder: Path, pictures: Sequence[Image]) -> Tensor:
        """See `ldm_core.contracts.abilities.PictureTokensAbility`."""
        encoder = self._parts.read(folder / "image_encoder", ENCODER)
        embedder = self._parts.read(folder / "image_embedder", EMBEDDER)
        processor = siglip_processor(folder / "feature_extractor", encoder.module)
        pixels = processor(list(pictures), return_tensors="pt").pixel_values
        seen = encoder.module(pixels.to(encoder.device, encoder.dtype)).last_hidden_state
        words: Tensor = embedder.module(seen.to(embedder.device, embedder.dtype)).image_embeds
        return words.to(self._device)
