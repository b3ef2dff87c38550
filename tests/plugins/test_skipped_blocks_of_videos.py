"""Networks of videos without some of their blocks, against Diffusers' own with fewer of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from ldm_core import Pipeline
from ldm_core.contracts import Call
from ldm_plugins.guidance.shared.altered import altered
from ldm_plugins.guidance.shared.layers import blocks
from ldm_plugins.guidance.skip_layer import PASSED, passing
from peers import apart

FOLDERS: dict[str, tuple[Callable[[Path], Path], str, dict[str, Any]]] = {
    "Wan": (tiny.write_wan, "blocks", {}),
    "CogVideoX": (partial(tiny.write_cogvideox, num_layers=2), "transformer_blocks", {}),
    "HunyuanVideo": (
        partial(tiny.write_hunyuan_video, num_layers=2),
        "transformer_blocks",
        {"text_mask": torch.ones(1, 7), "pooled": torch.randn(1, 8), "guidance": torch.ones(1)},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FOLDERS)
def test_a_skipped_block_is_one_that_is_not_there(family: str, tmp_path: Path) -> None:
    write, stack, more = FOLDERS[family]
    model = Pipeline.from_pretrained(write(tmp_path)).model
    width = {"Wan": 32, "CogVideoX": 32, "HunyuanVideo": 16}[family]
    tokens = 512 if family == "Wan" else 226 if family == "CogVideoX" else 7
    condition = {"text": torch.randn(1, tokens, width), **more}
    call = Call(torch.randn(1, 4, 2, 4, 8), torch.tensor([500.0]), condition, ())
    names = partial(blocks, layers=[0], what="a test", kinds=PASSED)
    with torch.no_grad():
        skipped = altered(model, names, passing)(call)
        whole = model.network(call)
        network = model.parts["transformer"].module
        rest = nn.ModuleList([*network.get_submodule(stack)][1:])
        network.register_module(stack, rest)
        assert apart(skipped, model.network(call)) < 1e-6
    assert apart(skipped, whole) > 1e-3
