"""The DDPM family: Diffusers' own pictures from the same folder, coloured, grey and by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import apart


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


LEARNS = {"out_channels": 6}


@pytest.mark.parametrize(
    ("pipeline", "scheduler", "unet"),
    [
        ("DDPMPipeline", {}, {}),
        ("DDPMPipeline", {"clip_sample": False, "variance_type": "fixed_large"}, {}),
        ("DDPMPipeline", {"variance_type": "learned_range"}, LEARNS),
        ("DDPMPipeline", {"timestep_spacing": "trailing"}, {"sample_size": (8, 16)}),
        ("DDPMPipeline", {"_class_name": "DDIMScheduler", "clip_sample": False}, {}),
        ("DDPMPipeline", {"beta_schedule": "squaredcos_cap_v2"}, {}),
        ("DDIMPipeline", {}, {}),
        ("DDIMPipeline", {"clip_sample": False, "prediction_type": "v_prediction"}, {}),
    ],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    tmp_path: Path, pipeline: str, scheduler: dict[str, Any], unet: dict[str, Any]
) -> None:
    folder = tiny.write_ddpm(tmp_path, pipeline, scheduler, **unet)
    theirs = getattr(diffusers, pipeline).from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"num_inference_steps": 7, "output_type": "np"}
    expected = theirs(batch_size=2, generator=generators(3, 4), **call).images
    found = Pipeline.from_pretrained(folder)(seed=[3, 4], **call).images
    assert apart(found, expected) < 1e-5


def test_ddim_clips_x0_and_the_noise_that_follows_from_it(tmp_path: Path) -> None:
    folder = tiny.write_ddpm(tmp_path, "DDIMPipeline")
    theirs = diffusers.DDIMPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"num_inference_steps": 7, "output_type": "np"}
    expected = theirs(
        batch_size=2, generator=generators(3, 4), use_clipped_model_output=True, **call
    ).images
    clipped = Pipeline.from_pretrained(
        folder, scheduler="ddim", spacing="leading", denoisers=["clip_x0"]
    )
    assert apart(clipped(seed=[3, 4], **call).images, expected) < 1e-5


@pytest.mark.parametrize(("pipeline", "steps"), [("DDPMPipeline", 1000), ("DDIMPipeline", 50)])
def test_the_number_of_steps_is_the_pipelines(tmp_path: Path, pipeline: str, steps: int) -> None:
    folder = tiny.write_ddpm(tmp_path, pipeline)
    recipe = compose({"model": str(folder)}, installed()).recipe
    assert recipe["num_inference_steps"] == steps


def test_grey_pictures_stay_grey(tmp_path: Path) -> None:
    folder = tiny.write_ddpm(tmp_path, in_channels=1, out_channels=1)
    ours = Pipeline.from_pretrained(folder)
    theirs = diffusers.DDPMPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    expected = theirs(generator=generators(3), num_inference_steps=5).images[0]
    found = ours(seed=3, num_inference_steps=5).images[0]
    assert found.mode == expected.mode == "L"
    apart = np.asarray(found, dtype=int) - np.asarray(expected, dtype=int)
    assert abs(apart).max() <= 1
    back = ours.encode([found, found], seed=0)
    assert back.shape == (2, 1, 8, 8)
    torch.testing.assert_close(ours.decode(back), back)
    assert ours(seed=3, num_inference_steps=1, output_type="np").images.shape == (1, 8, 8, 1)


def test_what_is_no_picture_is_given_as_numbers(tmp_path: Path) -> None:
    folder = tiny.write_ddpm(tmp_path, in_channels=2, out_channels=2)
    ours = Pipeline.from_pretrained(folder)
    with pytest.raises(LdmError, match="has 2 channels"):
        ours(seed=3)
    assert ours(seed=3, num_inference_steps=2, output_type="pt").images.shape == (1, 2, 8, 8)


def test_a_class_is_told_to_the_network(tmp_path: Path) -> None:
    """DDPMPipeline cannot give classes, so its loop is written out here."""
    folder = tiny.write_ddpm(tmp_path, num_class_embeds=10, id2label={"7": "seven, VII"})
    ours = Pipeline.from_pretrained(folder)
    unet = ours.model.parts["unet"].module
    scheduler = DDPMScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(5)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 3, 8, 8, generator=generator)
    labels = torch.tensor([7])
    with torch.no_grad():
        for t in scheduler.timesteps:
            output = unet(x, t, class_labels=labels).sample
            x = scheduler.step(output, t, x, generator=generator).prev_sample
    call: dict[str, Any] = {"seed": 3, "num_inference_steps": 5, "output_type": "latent"}
    found = ours(class_label=7, **call).images
    assert apart(found, x) < 1e-5
    assert torch.equal(ours(class_label="vii", **call).images, found)
    assert apart(ours(class_label=6, **call).images, x) > 1e-3


def test_guidance_leads_away_from_another_class_and_never_from_none(tmp_path: Path) -> None:
    folder = tiny.write_ddpm(tmp_path, num_class_embeds=10)
    ours = Pipeline.from_pretrained(folder).replace(
        guidance={"name": "classifier_free", "scale": 3.0}
    )
    call: dict[str, Any] = {"seed": 3, "num_inference_steps": 2, "output_type": "latent"}
    with pytest.raises(LdmError, match="negative_class_label"):
        ours(class_label=7, **call)
    plain = ours.replace(guidance="none")(class_label=7, **call).images
    same = ours(class_label=7, negative_class_label=7, **call).images
    assert apart(same, plain) < 1e-5
    assert apart(ours(class_label=7, negative_class_label=1, **call).images, plain) > 1e-3


@pytest.mark.parametrize(
    ("unet", "message"),
    [
        ({"out_channels": 4}, "returns 4; it should return 3, or 6"),
        ({"class_embed_type": "timestep"}, "class_embed_type 'timestep'"),
    ],
)
def test_networks_of_another_kind_are_refused(
    tmp_path: Path, unet: dict[str, Any], message: str
) -> None:
    folder = tiny.write_ddpm(tmp_path, **unet)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


def test_sizes_fit_the_networks_levels(tmp_path: Path) -> None:
    composition = compose({"model": str(tiny.write_ddpm(tmp_path))}, installed())
    assert composition.plan({}, [1], {"width": 12, "height": 10}).request.width == 12
    with pytest.raises(LdmError, match="multiples of 2"):
        composition.plan({}, [1], {"width": 9})


def test_a_model_without_classes_takes_none(tmp_path: Path) -> None:
    folder = tiny.write_ddpm(tmp_path)
    with pytest.raises(LdmError, match="cannot be conditioned by 'class_label'"):
        compose({"model": str(folder), "conditioning": "class_label"}, installed())
    with pytest.raises(LdmError, match="takes no 'class_label'"):
        compose({"model": str(folder)}, installed()).plan({"class_label": 1}, [1])
