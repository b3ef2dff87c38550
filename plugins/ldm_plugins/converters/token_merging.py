"""Self-attention among fewer tokens: those that are alike share one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.contracts import Converter, ModelInfo, Part, Phase, PlaceNames, Speedup
from ldm_core.errors import LdmError
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.shared.processor import is_processor
from ldm_plugins.converters.shared.together import check_once
from ldm_plugins.shared.networks import network_config, part_classes

if TYPE_CHECKING:
    from torch import nn

NAME = "token_merging"
NETWORK = "UNet2DConditionModel"
UNETS = (NETWORK, "UNetMotionModel")
TRANSFORMERS = ("DiTTransformer2DModel", "PixArtTransformer2DModel")
"""Those whose self-attention is among the picture's tokens alone, which have their places added
before the first block. Others join them with the text's, or turn them by their places in each
layer, which tokens that share one would not have."""
TOKENS, FACTOR = 4096, 0.52
"""Of the largest layers of what was measured, and the time of a step over that without."""
WHY = "a UNet of 57 M weights, 4096 tokens, batch 2, float32, one thread, CPU seconds"
ERROR = "answers of that network, of random weights, move by 3.1 %"


def token_merging(
    *,
    ratio: Annotated[float, Field(gt=0, le=0.75)] = 0.5,
    levels: Annotated[int, Field(ge=1)] = 1,
) -> Converter:
    """Token merging for Stable Diffusion (Bolya & Hoffman 2023, arXiv:2303.17604): in the
    self-attention of a UNet's largest layers, and of all layers of a DiT or PixArt, tokens that are
    alike are averaged, and what comes of them is given to each. What is drawn differs a little.

    One token of each square of four is kept, the upper left one, and others are merged into the one
    of those that is most like them, the most alike first. Nothing is drawn by chance, and each
    picture is looked at by itself; but rounding, which differs between batches of other sizes,
    decides where two tokens are alike to the last digit.

    Args:
        ratio: share of the tokens that are merged into others, 0.75 at most.
        levels: of a UNet's resolutions with attention, so many from the largest on.
    """
    return TokenMerging(ratio, levels)


@dataclass(frozen=True)
class TokenMerging(Converter):
    """
    Attributes:
        ratio: of the tokens, are merged.
        levels: with attention, the largest first.
    """

    ratio: float
    levels: int
    phase = Phase.CACHE
    lossless = False

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        classes = part_classes(info)
        if not {*UNETS, *TRANSFORMERS} & {*classes}:
            raise LdmError(
                f"the converter '{NAME}' merges the tokens of a {NETWORK} or another network whose "
                f"self-attention is among the picture's tokens alone, and the model "
                f"'{info.source}' (family {info.family}) has none: {', '.join(classes)}.",
                f"there are {', '.join((*UNETS, *TRANSFORMERS))}.",
            )
        if self.levels > 1 and {*TRANSFORMERS} & {*classes}:
            raise LdmError(
                f"the converter '{NAME}': levels = {self.levels} are of a UNet, and all layers of "
                f"the model '{info.source}' are of one size.",
                "leave levels out.",
            )
        return self

    def beside(self, others: Sequence[Converter]) -> None:
        check_once(NAME, self, others)

    def speedups(self, info: ModelInfo, place: PlaceNames) -> Sequence[Speedup]:
        """As measured on a processor, of UNets of pictures whose largest layers have as many tokens
        as there. On CUDA nothing was measured."""
        config = network_config(info)
        if config is None or NETWORK not in part_classes(info) or not is_processor(place):
            return ()
        if not {"height", "width"} <= info.default_extent.keys():
            return ()
        kinds = [str(kind) for kind in config["down_block_types"]]
        level = next((i for i, kind in enumerate(kinds) if "CrossAttn" in kind), None)
        sides = [info.latents.axis(n).places(info.default_extent[n]) for n in ("height", "width")]
        if level is None or math.prod(side >> level for side in sides) < TOKENS:
            return ()
        return (Speedup({}, FACTOR, WHY, ERROR),)

    def part(self, part: Part) -> Part:
        if part.role != "network":
            return part
        return part.altered(self._merging)

    def _merging(self, network: nn.Module) -> nn.Module:
        """A copy of a network, of the same tensors, some of whose layers merge tokens.

        Raises:
            LdmError: it has no such layers.
        """
        from ldm_plugins.converters.shared.merging import merging_classes

        classes = merging_classes()
        copied: Any = shallow_copy(network)
        if type(network).__name__ in TRANSFORMERS:
            copied.pos_embed.__class__ = classes.patches
            self._merge_in(copied.transformer_blocks)
            return copied  # type: ignore[no-any-return]
        blocks = _by_level(copied)
        if not blocks:
            raise LdmError(f"the converter '{NAME}': the UNet has no self-attention to merge for.")
        for transformers in blocks[: self.levels]:
            for transformer in transformers:
                transformer.__class__ = classes.transformer
                self._merge_in(transformer.transformer_blocks)
        return copied  # type: ignore[no-any-return]

    def _merge_in(self, blocks: Any) -> None:
        from ldm_plugins.converters.shared.merging import merging_classes

        for block in blocks:
            block.attn1.__class__ = merging_classes().attention
            block.attn1.merged = self.ratio


def _by_level(unet: Any) -> Sequence[Sequence[Any]]:
    """The transformers of a UNet that have self-attention, by resolution, the largest first."""
    from diffusers.models import Transformer2DModel

    levels: dict[int, list[Any]] = {}
    down, up = list(unet.down_blocks), list(unet.up_blocks)
    middle = [] if unet.mid_block is None else [(len(down) - 1, unet.mid_block)]
    for level, block in [*enumerate(down), *middle, *enumerate(reversed(up))]:
        for module in block.modules():
            if type(module) is Transformer2DModel and any(
                one.attn1 is not None and not one.only_cross_attention
                for one in module.transformer_blocks
            ):
                levels.setdefault(level, []).append(module)
    return [levels[level] for level in sorted(levels)]
