"""A converter that a family takes does what it is for: the calls of the modules within tell. One
that would do nothing is refused."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import tiny
from ldm_core import LdmError, Pipeline
from tiny.covering import by_turns

pytestmark = pytest.mark.usefixtures("small_references")
KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}
CALL: dict[str, Any] = {"seed": [1, 2], "num_inference_steps": 4, "output_type": "pt"}


@dataclass
class Seen:
    """What was called during a run.

    Attributes:
        calls: how often a module of each kind.
        sizes: the shapes of the tensors that modules of each kind were given.
        products: how many products of matrices linear layers computed.
        strided: how many weights of convolutions that were called lie otherwise than row by row.
    """

    calls: Counter[str]
    sizes: Counter[tuple[str, tuple[int, ...]]]
    products: int = 0
    strided: int = 0


@contextmanager
def watched() -> Iterator[Seen]:
    seen = Seen(Counter(), Counter())

    def hear(module: nn.Module, args: tuple[Any, ...]) -> None:
        name = type(module).__name__
        seen.calls[name] += 1
        for value in args:
            if isinstance(value, Tensor):
                seen.sizes[name, tuple(value.shape)] += 1
        if isinstance(module, nn.Conv2d):
            seen.strided += not module.weight.is_contiguous()

    inner = torch.nn.functional.linear

    def linear(*args: Any, **options: Any) -> Tensor:
        seen.products += 1
        return inner(*args, **options)

    handle = register_module_forward_pre_hook(hear)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", linear)
        try:
            yield seen
        finally:
            handle.remove()


def drawn(pipe: Pipeline, call: Mapping[str, Any]) -> Seen:
    with watched() as seen:
        pipe(**call)
    return seen


OLDER = {*tiny.FOLDERS}
FLUX = {"Flux dev", "Flux schnell", "Flux Kontext", "Flux Fill", "Flux Control"}
WAN = {"Wan 2.1", "Wan 2.1 from a frame", "Wan 2.2", "Wan 2.2 from a frame", "Wan 2.2 5B"}
LTX = {"LTX-Video", "LTX-Video from a frame", "LTX-2"}
UNETS = {"Stable Diffusion", "SD v-prediction", "SD inpainting", "LCM", "SDXL", "SDXL refiner"} | {
    "LDM text",
    "SD upscaler",
    "Kolors",
    "Stable unCLIP",
}
UNCLIP = {"unCLIP", "unCLIP of a picture"}
OF_ONE_BLOCK = {"CogVideoX", "CogVideoX from a frame", "CogVideoX 1.5", "Z-Image", "Lumina 2"} | {
    "Sana"
}
PIXART = {"PixArt alpha", "PixArt sigma"}
ACTS: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "channels_last": (
        {},
        {*KINDS} - {*LTX, "HunyuanVideo", "ACE-Step", "Stable Audio", "Stable Audio 3"},
        "has no two-dimensional convolutions",
    ),
    "feature_cache": (
        {"every": 2},
        {*KINDS} - {*UNCLIP, *OF_ONE_BLOCK, "Stable Cascade", "SD latent upscaler"},
        "does not know the|has 1 blocks",
    ),
    "fused_qkv": (
        {},
        {*UNETS, *PIXART, "SD 3", *FLUX, "Chroma", "FLUX.2 dev", "FLUX.2 klein", *WAN}
        | {"CogVideoX", "CogVideoX from a frame", "CogVideoX 1.5", "AnimateDiff", "AuraFlow"}
        | {"SD latent upscaler"},
        "cannot fuse the projections|is not known to use fused projections|added KV projections",
    ),
    "prompt_cache": (
        {},
        {*UNETS, *PIXART, "AnimateDiff", "Sana", "AudioLDM 2", "Stable Audio"}
        | {"SD latent upscaler"},
        "reads no text|keys and values of the text depend|no cross-attention that is known|"
        "cross-attention are of a class of their own",
    ),
    "text_cache": (
        {},
        {*KINDS} - {"LDM", "DiT", "DDPM", "Stable Video Diffusion", "ACE-Step", "AudioLDM 2"},
        "reads no text|encodes more than a text at once",
    ),
    "token_merging": (
        {},
        {*UNETS, *PIXART, "AnimateDiff", "DiT"},
        "merges the tokens of a UNet2DCond|no self-attention to merge",
    ),
    "vae_slicing": (
        {},
        {*KINDS}
        - {*UNCLIP, "LDM", "DDPM", "Stable Video Diffusion", "Stable Audio 3", "Stable Cascade"},
        "draws pixels|decodes whole pictures alone",
    ),
}
"""Of each converter its options, the kinds of folder on which it acts, and the reasons that the
others are refused for."""


def acts(name: str, plain: Seen, other: Seen, again: Seen) -> bool:
    """Whether a converter did what it is for, by a run without and two with it."""
    match name:
        case "channels_last":
            return other.strided > plain.strided
        case "fused_qkv" | "feature_cache" | "prompt_cache":
            return other.products < plain.products
        case "text_cache":
            return again.calls.total() < other.calls.total()
        case "vae_slicing":
            return other.calls.total() > plain.calls.total()
        case _:
            return other.sizes != plain.sizes


@pytest.mark.parametrize(("name", "kind"), by_turns(ACTS, KINDS, 18))
def test_it_acts_or_says_why_not(pipes: Any, kind: str, name: str, tmp_path: Path) -> None:
    options, kinds, reasons = ACTS[name]
    call = {**CALL, **KINDS[kind].inputs_in(tmp_path)}
    pipe = pipes(kind)
    choice = {"name": name, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind not in kinds:
            with pytest.raises(LdmError, match=reasons):
                pipe.replace(converters=[choice])(**call)
            return
        other = pipe.replace(converters=[choice])
        runs = [drawn(other, call) for _ in range(2)]
        assert acts(name, drawn(pipe, call), *runs)
