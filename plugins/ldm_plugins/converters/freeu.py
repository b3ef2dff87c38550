"""FreeU: a UNet whose decoder trusts its backbone more and what skips it less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.contracts import Converter, ModelInfo, Part, Phase, PlaceNames
from ldm_core.errors import LdmError
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.shared.together import check_once
from ldm_plugins.shared.networks import part_classes

if TYPE_CHECKING:
    from torch import nn

NAME = "freeu"
NETWORKS = ("UNet2DConditionModel", "UNetMotionModel")
Factor = Annotated[float, Field(gt=0)]


def freeu(*, s1: Factor = 0.9, s2: Factor = 0.2, b1: Factor = 1.3, b2: Factor = 1.4) -> Converter:
    """FreeU (Si et al. 2023, arXiv:2309.11497, Section 3.2), as Diffusers' UNets have it: half of
    the channels of the decoder's first two levels are made larger, and the low frequencies of what
    skips to them smaller. It costs no training and next to no time.

    The defaults are the authors' for Stable Diffusion 1.4 and SDXL; for 1.5 they take b1 = 1.5 and
    b2 = 1.6, for 2.1 b1 = 1.4 and b2 = 1.6. With all four 1 nothing changes but rounding.

    Args:
        s1, s2: factors of the low frequencies of what skips to the decoder's first level and to
            its second.
        b1, b2: factors of half of the channels there.
    """
    return FreeU(s1, s2, b1, b2)


@dataclass(frozen=True)
class FreeU(Converter):
    s1: float
    s2: float
    b1: float
    b2: float
    phase = Phase.CACHE
    lossless = False

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        classes = part_classes(info)
        if not {*NETWORKS} & {*classes}:
            raise LdmError(
                f"the converter '{NAME}' changes the decoder of a UNet ({', '.join(NETWORKS)}), "
                f"and the model '{info.source}' (family {info.family}) has none: "
                f"{', '.join(classes)}."
            )
        return self

    def beside(self, others: Sequence[Converter]) -> None:
        check_once(NAME, self, others)

    def part(self, part: Part) -> Part:
        return part.altered(self._freed) if part.role == "network" else part

    def _freed(self, network: nn.Module) -> nn.Module:
        """A copy of a UNet around the same tensors, with the factors on.

        Raises:
            LdmError: the first two levels of its decoder are of kinds that know none.
        """
        from diffusers import UNet2DConditionModel, UNetMotionModel

        assert isinstance(network, UNet2DConditionModel | UNetMotionModel)
        strange = [type(block).__name__ for block in network.up_blocks[:2] if not _knows(block)]
        if strange:
            raise LdmError(
                f"the converter '{NAME}' would have no effect on the UNet's {strange[0]}; the "
                "first two blocks of the decoder should be UpBlock2D or CrossAttnUpBlock2D."
            )
        copied: Any = shallow_copy(network)
        copied.enable_freeu(s1=self.s1, s2=self.s2, b1=self.b1, b2=self.b2)
        return copied  # type: ignore[no-any-return]


def _knows(block: Any) -> bool:
    from diffusers.models.unets import unet_2d_blocks, unet_motion_model

    return isinstance(
        block,
        unet_2d_blocks.UpBlock2D
        | unet_2d_blocks.CrossAttnUpBlock2D
        | unet_motion_model.UpBlockMotion
        | unet_motion_model.CrossAttnUpBlockMotion,
    )
