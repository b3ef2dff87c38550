"""Which blocks Diffusers' transformers have, in the order in which they are called."""

from __future__ import annotations

from typing import NamedTuple


class Answer(NamedTuple):
    """What a block gives.

    Attributes:
        several: the picture's states and others'; else those of the picture alone, or of one
            sequence of text and picture.
        picture: of several, which are the picture's.
        both: the others are a sound's, which comes with the picture and not from the text.
    """

    several: bool = False
    picture: int = 0
    both: bool = False


ALONE = Answer()
TEXT_FIRST = Answer(several=True, picture=1)
TEXT_BEHIND = Answer(several=True)
WITH_SOUND = Answer(several=True, both=True)


class Stack(NamedTuple):
    """Blocks one after the other.

    Attributes:
        answer: what each gives.
        name: of the list that they are in.
        key: what says in the network's config how many there are.
    """

    answer: Answer = ALONE
    name: str = "transformer_blocks"
    key: str = "num_layers"


class Blocks(NamedTuple):
    """Of a network.

    Attributes:
        stacks: in the order in which they are called.
        text_first: where text and picture become one sequence, the text comes first.
    """

    stacks: tuple[Stack, ...]
    text_first: bool = False


SINGLE = "single_transformer_blocks"
ONE = Blocks((Stack(),))
JOINT = Blocks((Stack(TEXT_FIRST),))
LAYERS = "layers"
NETWORKS = {
    "AceStepTransformer1DModel": Blocks((Stack(ALONE, LAYERS, "num_hidden_layers"),)),
    "AuraFlowTransformer2DModel": Blocks(
        (
            Stack(TEXT_FIRST, "joint_transformer_blocks", "num_mmdit_layers"),
            Stack(ALONE, SINGLE, "num_single_dit_layers"),
        ),
        text_first=True,
    ),
    "ChromaTransformer2DModel": Blocks(
        (Stack(TEXT_FIRST), Stack(ALONE, SINGLE, "num_single_layers")), text_first=True
    ),
    "CogVideoXTransformer3DModel": Blocks((Stack(TEXT_BEHIND),)),
    "CogView4Transformer2DModel": Blocks((Stack(TEXT_BEHIND),)),
    "DiTTransformer2DModel": ONE,
    "Flux2Transformer2DModel": Blocks(
        (Stack(TEXT_FIRST), Stack(ALONE, SINGLE, "num_single_layers")), text_first=True
    ),
    "FluxTransformer2DModel": Blocks(
        (Stack(TEXT_FIRST), Stack(TEXT_FIRST, SINGLE, "num_single_layers"))
    ),
    "HiDreamImageTransformer2DModel": Blocks(
        (
            Stack(TEXT_BEHIND, "double_stream_blocks"),
            Stack(ALONE, "single_stream_blocks", "num_single_layers"),
        )
    ),
    "HunyuanVideoTransformer3DModel": Blocks(
        (Stack(TEXT_BEHIND), Stack(TEXT_BEHIND, SINGLE, "num_single_layers"))
    ),
    "Krea2Transformer2DModel": ONE,
    "LTX2VideoTransformer3DModel": Blocks((Stack(WITH_SOUND),)),
    "LTXVideoTransformer3DModel": ONE,
    "Lumina2Transformer2DModel": Blocks((Stack(ALONE, LAYERS),)),
    "PixArtTransformer2DModel": ONE,
    "QwenImageTransformer2DModel": JOINT,
    "SD3Transformer2DModel": JOINT,
    "SanaTransformer2DModel": ONE,
    "StableAudio3DiTModel": Blocks((Stack(key="depth"),)),
    "StableAudioDiTModel": ONE,
    "Transformer2DModel": ONE,
    "WanTransformer3DModel": Blocks((Stack(ALONE, "blocks"),)),
    "ZImageTransformer2DModel": Blocks((Stack(ALONE, LAYERS, "n_layers"),)),
}
"""By Diffusers' class."""
