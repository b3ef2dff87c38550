"""The Stable Diffusion family: Diffusers' own pictures from the same folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

import tiny
from ldm_core import Pipeline
from ldm_core.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from ldm_plugins.families.scheduler_config import (
    read_defaults,
    read_prediction_type,
    read_schedule,
)

VP = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize(
    "scheduler",
    [
        {},
        {"prediction_type": "v_prediction", "set_alpha_to_one": True},
        {"_class_name": "DDIMScheduler", "timestep_spacing": "trailing", "steps_offset": 0},
        {"_class_name": "DDPMScheduler", "clip_sample": True, "clip_sample_range": 2.0},
        {"_class_name": "EulerDiscreteScheduler"},
        {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "linspace"},
        {"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "trailing"},
        {"_class_name": "DDPMScheduler", "steps_offset": 0},
        {"_class_name": "DPMSolverMultistepScheduler", "timestep_spacing": "trailing"},
    ],
    ids=lambda config: "-".join(str(v) for v in config.values()) or "ddim",
)
def test_nothing_chosen_gives_what_diffusers_gives(
    tmp_path: Path, scheduler: dict[str, Any]
) -> None:
    folder = tiny.write_stable_diffusion(tmp_path, scheduler)
    theirs = StableDiffusionPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    ours = Pipeline.from_pretrained(folder)
    call: dict[str, Any] = {"num_inference_steps": 5, "width": 24, "height": 16}
    for output_type in ("latent", "np"):
        expected = theirs(
            ["a red star", "a blue circle"],
            negative_prompt=["green", ""],
            generator=[torch.Generator().manual_seed(s) for s in (3, 4)],
            output_type=output_type,
            **call,
        ).images
        found = ours(
            ["a red star", "a blue circle"],
            negative_prompt=["green", ""],
            seed=3,
            output_type=output_type,
            **call,
        ).images
        expected, found = np.asarray(expected), np.asarray(found)
        assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


def test_encoder_and_decoder_are_those_of_diffusers(pipe: Pipeline) -> None:
    vae = pipe.model.components["vae"]
    pixels = torch.rand(2, 3, 16, 16)
    posterior = vae.encode(pixels * 2 - 1).latent_dist
    mean = pipe.replace(encoder={"name": "autoencoder_kl", "sample": False}).encode(pixels)
    torch.testing.assert_close(mean, posterior.mean * vae.config.scaling_factor)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=g) for g in generators])
    drawn = (posterior.mean + posterior.std * noise) * vae.config.scaling_factor
    torch.testing.assert_close(pipe.encode(pixels, seed=0), drawn)
    decoded = vae.decode(drawn / vae.config.scaling_factor).sample
    torch.testing.assert_close(pipe.decode(drawn), decoded)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"_class_name": "EulerDiscreteScheduler", **VP},
            {"scheduler": "euler", "spacing": {"name": "linspace"}},
        ),
        (
            {"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True},
            {"scheduler": "dpmpp_2m", "spacing": {"name": "karras"}},
        ),
        (
            {"_class_name": "DDIMScheduler", "set_alpha_to_one": False, "steps_offset": 1},
            {
                "scheduler": "ddim",
                "spacing": {"name": "leading", "steps_offset": 1, "final": "sigma_min"},
                "denoisers": [{"name": "clip_x0", "limit": 1.0}],
            },
        ),
    ],
    ids=lambda value: value.get("_class_name"),
)
def test_a_scheduler_config_becomes_a_recipe(
    config: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert read_defaults(config) == expected


def test_a_scheduler_without_counterpart_is_said() -> None:
    with pytest.warns(LdmWarning, match="PNDMScheduler"):
        assert read_defaults({"_class_name": "PNDMScheduler"})["scheduler"] == "ddim"


def test_explicit_betas_are_read() -> None:
    assert read_schedule({"trained_betas": [0.1, 0.2, 0.5]}).at(1).alpha ** 2 == pytest.approx(0.72)
    zero = read_schedule({"trained_betas": [0.1, 0.2, 0.5], "rescale_betas_zero_snr": True})
    assert zero.at(2).alpha == 0


@pytest.mark.parametrize(
    "config", [{"beta_schedule": "sigmoid"}, {"trained_betas": [2.0, 3.0]}, {"beta_end": -1.0}]
)
def test_a_bad_noise_schedule_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(LdmError, match="scheduler_config"):
        read_schedule(config)


def test_a_bad_prediction_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="prediction type"):
        read_prediction_type({"prediction_type": "velocity"})
    folder = tiny.write_stable_diffusion(tmp_path, {"prediction_type": "velocity"})
    with pytest.raises(LdmError, match="prediction type"):
        compose({"model": str(folder)}, installed())
