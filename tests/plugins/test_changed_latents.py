"""Latents that are changed between two steps: what Diffusers' callbacks make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionPipeline

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Step
from ldm_core.errors import LdmWarning
from peers import apart

STEPS = 4


def in_place(step: Step) -> None:
    step.x.mul_(0.9)


def changed(latents: torch.Tensor) -> torch.Tensor:
    """Their mean over the picture made smaller, which is the same in any scale of x."""
    return latents - 0.3 * latents.mean((2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("euler", EulerDiscreteScheduler), ("ddim", DDIMScheduler)],
    ids=["euler", "ddim"],
)
def test_x_is_changed_between_steps_as_in_diffusers(folder: Path, ours: str, theirs: Any) -> None:
    peer = StableDiffusionPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    peer.scheduler = theirs.from_config(peer.scheduler.config, clip_sample=False)

    def at_step_end(_: Any, i: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {"latents": changed(tensors["latents"])}

    expected = peer(
        "a red star",
        num_inference_steps=STEPS,
        generator=[torch.Generator().manual_seed(3)],
        callback_on_step_end=at_step_end,
        output_type="latent",
    ).images
    pipe = Pipeline.from_pretrained(folder).replace(scheduler=ours)
    plan = pipe.composition.plan({"prompt": "a red star"}, [3], num_inference_steps=STEPS)
    run = pipe.start(plan)
    plain = x = run.x
    for i in range(len(plan.grid) - 1):
        x = changed(run.walk(x, start=i, stop=i + 1))
    assert apart(x, expected) < 1e-5
    assert apart(run.walk(plain), expected) > 1e-2


@pytest.mark.parametrize(
    ("on_step", "said"),
    [
        (lambda step: changed(step.x), "gave back Tensor"),
        (lambda step: {"latents": changed(step.x)}, "gave back"),
        (in_place, "wrote into"),
    ],
    ids=["tensor", "their table", "in place"],
)
def test_what_only_watches_cannot_change_x_without_a_word(
    folder: Path, on_step: Any, said: str
) -> None:
    pipe = Pipeline.from_pretrained(folder)
    with pytest.raises(LdmError, match=said) as error:
        pipe("a red star", seed=3, num_inference_steps=1, on_step=on_step)
    assert "run.walk" in error.value.hint
    with pytest.warns(LdmWarning, match="passed over: False"):
        pipe("a red star", seed=3, num_inference_steps=1, on_step=lambda step: False)
