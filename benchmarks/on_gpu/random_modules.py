"""Modules with random weights in bfloat16, made on the device that they compute on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import AutoConfig

from on_gpu.bench import Bench

DTYPE = torch.bfloat16


@contextmanager
def made_on(device: str) -> Iterator[None]:
    """Modules made here have their weights there, in bfloat16 from the beginning."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPE)
    torch.manual_seed(0)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def ready(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def wide(bench: Bench, folder: Path, cls: str, sizes: Mapping[str, int]) -> nn.Module:
    """A text encoder of a folder's config but for its size; of one layer where it is quick."""
    config = AutoConfig.from_pretrained(folder)
    small = {"num_layers": 1} if "d_model" in sizes else {"num_hidden_layers": 1}
    if bench.quick and "vocab_size" in sizes:
        small["vocab_size"] = config.vocab_size
    config.update({**sizes, **(small if bench.quick else {})})
    with made_on(bench.device):
        return ready(getattr(transformers, cls)(config).to(bench.device, DTYPE))
