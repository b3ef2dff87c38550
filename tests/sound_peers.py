"""Diffusers' scheduler of Stable Audio, with noise from elsewhere than a Brownian tree."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

COSINE = "diffusers.schedulers.scheduling_cosine_dpmsolver_multistep"


def theirs() -> Any:
    """The module with the scheduler, which asks for torchsde when it is imported; of that, the
    Brownian tree alone is used, in whose place `draw_ours` puts something."""
    if COSINE not in sys.modules and find_spec("torchsde") is None:
        sys.modules["torchsde"] = ModuleType("torchsde")
        try:
            return import_module(COSINE)
        finally:
            del sys.modules["torchsde"]
    return import_module(COSINE)


def stable_audio_peer(folder: Path) -> Any:
    """Diffusers' pipeline of a folder, part by part: it reads none with this scheduler as a whole
    where torchsde is not installed."""
    from diffusers import AutoencoderOobleck, StableAudioDiTModel, StableAudioPipeline
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel
    from transformers import T5EncoderModel, T5Tokenizer

    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    return StableAudioPipeline(
        vae=AutoencoderOobleck.from_pretrained(folder / "vae"),
        text_encoder=T5EncoderModel.from_pretrained(folder / "text_encoder"),
        tokenizer=T5Tokenizer.from_pretrained(folder / "tokenizer"),
        projection_model=StableAudioProjectionModel.from_pretrained(folder / "projection_model"),
        transformer=StableAudioDiTModel.from_pretrained(folder / "transformer"),
        scheduler=theirs().CosineDPMSolverMultistepScheduler.from_config(config),
    )


def draw_ours(patch: pytest.MonkeyPatch, noise: Callable[[], torch.Tensor]) -> None:
    """Let the scheduler's steps take their noise from here."""

    def sampler(*args: Any, **options: Any) -> Callable[..., torch.Tensor]:
        return lambda *sigmas: noise()

    patch.setattr(theirs(), "BrownianTreeNoiseSampler", sampler)
