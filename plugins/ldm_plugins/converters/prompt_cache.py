"""Keys and values of the prompt, computed once for a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ldm_core.contracts import (
    Converter,
    ModelInfo,
    Part,
    Phase,
    PlaceNames,
    Run,
    RunHooks,
)
from ldm_core.errors import LdmError
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.cfg_parallel import CfgParallel
from ldm_plugins.converters.context_parallel import ContextParallel
from ldm_plugins.converters.fused_qkv import FusedQkv
from ldm_plugins.converters.shared.kept_prompts import KeptPrompts, keep_projections
from ldm_plugins.converters.shared.reclassed import check_layers_are_called
from ldm_plugins.converters.shared.together import check_apart, check_once
from ldm_plugins.shared.networks import is_unet, network_config

NAME = "prompt_cache"
OWN_CLASS = "its layers of cross-attention are of a class of their own"
BLOCKS = ("down_block_types", "mid_block_type", "up_block_types")
"""Of those called SimpleCrossAttn, as unCLIP's, one layer projects x and the text."""
JOINT = {
    "SD3Transformer2DModel": "its keys and values of the text depend on x and t",
    "FluxTransformer2DModel": "its keys and values of the text depend on x and t",
    "DiTTransformer2DModel": "it reads no text",
    "UNet2DModel": "it reads no text",
    "UNetSpatioTemporalConditionModel": "it reads no text",
    "LTXVideoTransformer3DModel": OWN_CLASS,
    "LTX2VideoTransformer3DModel": OWN_CLASS,
}
"""Diffusers' classes of networks in which there is nothing to keep, and why."""


def prompt_cache() -> Converter:
    """Compute the keys and values by which cross-attention looks at the prompt once in a run, and
    not in every call of the network.

    They depend on the prompt alone. Bit for bit what it is without, for all networks with
    cross-attention: UNets that read text, and PixArt. Takes the memory of the keys and values, for
    the images and branches of a batch. On a processor that is 2 or 3 % of a UNet's time at most,
    and was not to be seen where the text's states are narrow; on CUDA it was not measured.
    """
    return PromptCache()


class PromptCache(Converter):
    """Keeps what cross-attention makes of a prompt, on a copy of the network."""

    phase = Phase.CACHE
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        config = network_config(info) or {}
        cls = str(config.get("_class_name"))
        has = is_unet(config) or bool(config.get("cross_attention_dim"))
        both = any("SimpleCrossAttn" in str(config.get(key)) for key in BLOCKS)
        if cls in JOINT or both or not has:
            own = OWN_CLASS if both else "its network has no cross-attention that is known"
            why = JOINT.get(cls, own)
            raise LdmError(
                f"the converter '{NAME}' does not fit the model '{info.source}' (family "
                f"{info.family}): {why}."
            )
        return self

    def beside(self, others: Sequence[Converter]) -> None:
        check_layers_are_called(NAME, others)
        check_once(NAME, self, others)
        apart = "what is kept of the prompt belongs to whole calls, and the second parts them"
        reasons = {
            CfgParallel: ("cfg_parallel", apart),
            ContextParallel: ("context_parallel", apart),
            FusedQkv: ("fused_qkv", "the second joins the products that are to be kept"),
        }
        check_apart(NAME, others, reasons)

    def part(self, part: Part) -> Part:
        return part.altered(_keeping) if part.role == "network" else part

    def bind(self, run: Run) -> RunHooks:
        return KeptPrompts(NAME)


def _keeping(network: Any) -> Any:
    copied = shallow_copy(network)
    if not keep_projections(copied):
        raise LdmError(f"the converter '{NAME}': the network has no cross-attention.")
    return copied
