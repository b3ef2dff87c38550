"""A sound family: latents along one axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Axis, LatentSpace, Medium, Model, decodes
from ldm_core.media.writers import find_writer
from third_party import Toy, exact_end, gaussian_velocity, noise_of, pipeline

SOUND = LatentSpace(8, (Axis("samples", 320, unit=2),))
EXTENT = {"samples": 6400}


@decodes("audio")
def waves(model: Model, x0: torch.Tensor) -> Medium:
    """Each place of a latent is heard for as long as it stands for, in two channels."""
    return Medium("audio", x0[:, :2].repeat_interleave(320, dim=2), rate=16000.0)


@pytest.fixture
def pipe(tmp_path: Path) -> Pipeline:
    family = Toy(gaussian_velocity, SOUND, EXTENT, defaults={"decoder": "waves"})
    return pipeline(family, tmp_path, decoders={"waves": waves})


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_3m", "ddim"])
def test_schedulers_solve_it(pipe: Pipeline, scheduler: str) -> None:
    choice = pipe.replace(scheduler=scheduler, num_inference_steps=200)
    latents = choice(seed=[5, 6], output_type="latent").images
    assert latents.shape == (2, 8, 20)
    expected = exact_end(noise_of(pipe, [5, 6], EXTENT))
    torch.testing.assert_close(latents, expected, atol=2e-2, rtol=0)


def test_sound_is_given_as_numbers(pipe: Pipeline) -> None:
    out = pipe(seed=[1, 2])
    assert (out.kind, out.rate) == ("audio", 16000.0)
    assert isinstance(out.images, np.ndarray)
    assert out.images.shape == (2, 2, 6400)
    assert torch.is_tensor(pipe(seed=1, output_type="pt", samples=640).images)
    parts: list[Any] = list(pipe.batches(seed=[1, 2, 3], batch_size=2))
    assert [len(part.images) for part in parts] == [2, 1]


def test_what_does_not_fit_sound_is_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="its samples must be a multiple of 640"):
        pipe(seed=1, samples=320)
    with pytest.raises(LdmError, match="draws no 'width'"):
        pipe(seed=1, width=64)
    with pytest.raises(LdmError, match="'png' is for image, and this model draws audio"):
        find_writer(pipe.composition, "png")
