"""How Wan's networks see the frames with which a video begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Condition, Run
from ldm_core.contracts.abilities import FirstFrameAbility
from ldm_plugins.families.shared.image_embeds import ImageEmbeds

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FRAMES, IMAGE = "frames", "image_embeds"
"""Keys of the condition: what is shown of the frames in latents, and what CLIP sees in them."""


class FramesAsChannels(FirstFrameAbility):
    """Frames as further channels: which of them are shown, then the latents of a video that is grey
    where none is (arXiv:2503.20314, Section 5.1).

    Args:
        stride: frames that share a latent.
        embeds: what CLIP sees in them, where the network is told that too.
        device: where the condition goes.
    """

    def __init__(self, stride: int, embeds: ImageEmbeds | None, device: torch.device) -> None:
        self._stride = stride
        self._embeds = embeds
        self._device = device

    def encode(self, run: Run, first: Tensor, last: Sequence[Tensor | None]) -> Condition:
        """``frames`` (batch, stride + channels, frames, height, width) of latents, and
        ``image_embeds`` (batch, tokens, width)."""
        import torch

        count = run.request.extent["frames"]
        video = first.new_zeros(len(first), first.shape[1], count, *first.shape[2:])
        shown = torch.zeros(len(first), count)
        video[:, :, 0], shown[:, 0] = first, 1
        for i, frame in enumerate(last):
            if frame is not None:
                video[i, :, -1], shown[i, -1] = frame, 1
        latents = run.to_latents(video)
        # the first latent is one frame, which counts as often as the others have frames
        shown = torch.cat([shown[:, :1].repeat(1, self._stride - 1), shown], dim=1)
        shown = shown.reshape(len(first), -1, self._stride).transpose(1, 2)[..., None, None]
        shown = shown.to(latents).expand(-1, -1, -1, *latents.shape[3:])
        condition = {FRAMES: torch.cat([shown, latents], dim=1).to(self._device)}
        if self._embeds is not None:
            pairs = zip(first, last, strict=True)
            pictures = [[one, *([] if other is None else [other])] for one, other in pairs]
            states = self._embeds(torch.stack([frame for pair in pictures for frame in pair]))
            condition[IMAGE] = states.reshape(len(first), -1, states.shape[-1]).to(self._device)
        return condition

    def finish(self, run: Run, x: Tensor, first: Tensor) -> Tensor:
        """x: the network draws all frames."""
        return x


class FramesInPlace(FirstFrameAbility):
    """The first frame in the place of x's, at the timestep 0.

    Args:
        device: where the condition goes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def encode(self, run: Run, first: Tensor, last: Sequence[Tensor | None]) -> Condition:
        """``frames`` (batch, channels, 1, height, width) of latents."""
        return {FRAMES: run.to_latents(first.unsqueeze(2)).to(self._device)}

    def finish(self, run: Run, x: Tensor, first: Tensor) -> Tensor:
        """x with the first frame in it, which the network does not draw."""
        import torch

        frame = run.to_latents(first.unsqueeze(2)).to(x)
        return torch.cat([frame, x[:, :, frame.shape[2] :]], dim=2)
