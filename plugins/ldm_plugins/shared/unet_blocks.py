"""The blocks of a UNet that attend to more than the picture, as Diffusers names them for scales."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ldm_core.errors import LdmError


def check_blocks(wrong: str, scales: Mapping[str, Any], module: Any) -> None:
    """See that a table of scales names blocks that a network has, with as many numbers as they
    have transformers: ``{"down": {"block_2": 0.5}, "mid": 0, "up": {"block_0": [0, 1, 0]}}``.

    Args:
        wrong: how the message begins: whose scales they are.
    Raises:
        LdmError: it does not.
    """
    from diffusers import UNet2DConditionModel, UNetMotionModel

    if not isinstance(module, UNet2DConditionModel | UNetMotionModel):
        raise LdmError(
            f"{wrong} with a table of blocks, and a {type(module).__name__} has no blocks that "
            "Diffusers knows by name, as UNets have; give it one number."
        )
    sides = {"down": module.down_blocks, "up": module.up_blocks}
    _check_names(wrong, scales, [*sides, "mid"])
    for side, blocks in sides.items():
        several = module.config.layers_per_block + (side == "up")
        own = scales.get(side)
        names = [f"block_{i}" for i, block in enumerate(blocks) if _attends(block)]
        if isinstance(own, Mapping):
            _check_names(f"{wrong}.{side}", own, names)
        for value in own.values() if isinstance(own, Mapping) else [own]:
            _check_length(f"{wrong}.{side}", value, several)
    _check_length(f"{wrong}.mid", scales.get("mid"), 1)


def _attends(block: Any) -> bool:
    return "attentions" in dict(block.named_children())


def _check_names(wrong: str, scales: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in scales:
        if name not in names:
            raise LdmError(
                f"{wrong} with a scale of '{name}'; what has attention there is {', '.join(names)}."
            )


def _check_length(wrong: str, value: Any, several: int) -> None:
    if isinstance(value, Mapping):
        raise LdmError(f"{wrong} with tables within a block, which has numbers alone.")
    if isinstance(value, list) and len(value) not in (1, several):
        raise LdmError(f"{wrong} with {len(value)} scales for {several} transformers of a block.")
