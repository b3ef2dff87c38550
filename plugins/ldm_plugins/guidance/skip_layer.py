"""Guidance away from what the network draws without some of its blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import MODELS_OWN, Guidance, Network, Run
from ldm_plugins.guidance.classifier_free import NotNegative
from ldm_plugins.guidance.shared.altered import Picture, altered
from ldm_plugins.guidance.shared.layers import MIDDLE, blocks, check_layers
from ldm_plugins.guidance.shared.weaker import Weaker, within

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "skip_layer"
PICTURE, TEXT, SOUND = "hidden_states", "encoder_hidden_states", "audio_hidden_states"
PASSED = {
    "BasicTransformerBlock": (PICTURE,),
    "JointTransformerBlock": (TEXT, PICTURE),
    "FluxTransformerBlock": (TEXT, PICTURE),
    "FluxSingleTransformerBlock": (TEXT, PICTURE),
    "ChromaTransformerBlock": (TEXT, PICTURE),
    "ChromaSingleTransformerBlock": (PICTURE,),
    "Flux2TransformerBlock": (TEXT, PICTURE),
    "Flux2SingleTransformerBlock": (PICTURE,),
    "CogVideoXBlock": (PICTURE, TEXT),
    "HunyuanVideoTransformerBlock": (PICTURE, TEXT),
    "HunyuanVideoSingleTransformerBlock": (PICTURE, TEXT),
    "WanTransformerBlock": (PICTURE,),
    "LTXVideoTransformerBlock": (PICTURE,),
    "LTX2VideoTransformerBlock": (PICTURE, SOUND),
}
"""Diffusers' classes of blocks, with what they pass on, in this order: the states of the picture or
video, of the text, of the sound."""


def skip_layer(
    *,
    layers: list[int | str] | None = None,
    scale: NotNegative = 2.8,
    beside: Guidance = MODELS_OWN,
    start: float = 0.01,
    stop: float = 0.2,
) -> Guidance:
    """Skip-layer guidance (Hyung et al. 2024, arXiv:2411.18664, there of layers in space and
    time; of whole blocks, as for Stable Diffusion 3.5).

    The answer is beside + scale·(positive - skipped), where skipped is the network's answer
    without some of its blocks. One more call of the network, where active. For the transformers of
    DiT, PixArt, Stable Diffusion 3, Flux, FLUX.2, Chroma, Wan, CogVideoX, HunyuanVideo, LTX-Video
    and LTX-2, and for the transformer blocks within a UNet that reads text.

    Args:
        layers: numbers of a transformer's blocks, such as 7, 8 and 9 for Stable Diffusion 3.5
            medium; or names of parts of the network, such as mid_block, whose transformer blocks
            are skipped; the middle of a UNet where not given.
        scale: strength; 0 is none.
        beside: the guidance that this is added to; the model's own where not given.
        start, stop: it acts on this part of the steps, of all of which 1 is the end.
    """

    def network(run: Run) -> Network:
        names = partial(blocks, layers=layers or MIDDLE, what=NAME, kinds=PASSED)
        return altered(run.model, names, passing)

    return Weaker(
        inner=beside,
        branch="skipped",
        weight=scale,
        network=network,
        check=lambda info: check_layers(info, layers, NAME),
        active=within(NAME, start, stop),
    )


def passing(block: nn.Module, picture: Picture) -> Callable[..., Any]:
    """What a block does when it does nothing: it returns what it was given."""
    passed = PASSED[type(block).__name__]

    def forward(
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        *args: Any,
        **options: Any,
    ) -> Any:
        states = {**options, PICTURE: hidden_states, TEXT: encoder_hidden_states}
        onward = tuple(states[name] for name in passed)
        return onward if len(onward) > 1 else onward[0]

    return forward
