"""The DiT family: Diffusers' own pictures from the same folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, DiTPipeline, EulerDiscreteScheduler

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import Decoded, apart


@pytest.fixture(scope="module")
def dit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_dit(tmp_path_factory.mktemp("models") / "dit")


@pytest.mark.parametrize(
    "variation",
    [
        {},
        {"out_channels": 4},
        {"transformer_class": "Transformer2DModel"},
        {
            "scheduler": {
                "_class_name": "DPMSolverMultistepScheduler",
                "timestep_spacing": "trailing",
            }
        },
    ],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    tmp_path: Path, variation: dict[str, Any]
) -> None:
    folder = tiny.write_dit(tmp_path, **variation)
    theirs = DiTPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    decoded = Decoded(theirs.vae)
    ours = Pipeline.from_pretrained(folder)
    for guided in ({}, {"guidance_scale": 1.0}, {"guidance_scale": 2.5}):
        generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
        call: dict[str, Any] = {"num_inference_steps": 7, **guided}
        expected = theirs([1, 2], generator=generators, output_type="np", **call).images
        names = ["Goldfish", "great white shark"]
        found = ours(class_label=names, seed=3, output_type="np", **call).images
        assert apart(found, expected) < 1e-5
        latents = ours(class_label=[1, 2], seed=3, output_type="latent", **call).images
        assert apart(latents, decoded.pop()) < 1e-5


def test_ddpm_draws_with_the_variance_that_the_network_predicts(dit: Path) -> None:
    """DiTPipeline throws the variance away, so its loop is written out here with it."""
    ours = Pipeline.from_pretrained(dit, scheduler={"name": "ddpm", "variance": "learned_range"})
    scheduler = DDPMScheduler.from_pretrained(
        dit / "scheduler", variance_type="learned_range", clip_sample=False
    )
    scheduler.set_timesteps(6)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 4, 8, 8, generator=generator)
    labels = torch.tensor([1, 1000])
    with torch.no_grad():
        for t in scheduler.timesteps:
            output = (
                ours.model.parts["transformer"]
                .module(torch.cat([x, x]), timestep=t.expand(2), class_labels=labels)
                .sample
            )
            (positive, negative), variance = output[:, :4], output[:1, 4:]
            guided = negative + 4.0 * (positive - negative)
            output = torch.cat([guided[None], variance], dim=1)
            x = scheduler.step(output, t, x, generator=generator).prev_sample
    found = ours(class_label=1, seed=3, num_inference_steps=6, output_type="latent").images
    assert (found - x).norm() < 1e-5 * x.norm()
    fixed = ours.replace(scheduler={"name": "ddpm", "variance": "fixed_small"})
    other = fixed(class_label=1, seed=3, num_inference_steps=6, output_type="latent").images
    assert (other - x).norm() > 1e-3 * x.norm()


def test_euler_starts_from_noise_that_the_network_knows(
    dit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DiTPipeline starts every scheduler from unit noise, Euler's too, whose x is x/alpha."""

    def first_seen(network: Any, run: Callable[[], Any]) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        own = network.forward
        monkeypatch.setattr(network, "forward", lambda x, **more: seen.append(x) or own(x, **more))
        run()
        return seen[0]

    theirs = DiTPipeline.from_pretrained(dit)
    theirs.set_progress_bar_config(disable=True)
    config = theirs.scheduler.config
    theirs.scheduler = EulerDiscreteScheduler.from_config(config, timestep_spacing="trailing")
    ours = Pipeline.from_pretrained(dit, scheduler="euler", spacing="trailing")
    call: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np"}
    x = first_seen(theirs.transformer, lambda: theirs([1] * 8, **call))
    assert x.std() == pytest.approx(0.0063, rel=0.05)
    network = ours.model.parts["transformer"].module
    x = first_seen(network, lambda: ours(class_label=[1] * 8, seed=3, **call))
    assert x.std() == pytest.approx(1.0, rel=0.05)


def test_other_squares_are_drawn_and_nothing_else(dit: Path) -> None:
    composition = compose({"model": str(dit)}, installed())
    with pytest.raises(LdmError, match="squares alone"):
        composition.plan({"class_label": 1}, [1], {"width": 16, "height": 24})
    with pytest.raises(LdmError, match="multiples of 4"):
        composition.plan({"class_label": 1}, [1], {"width": 18, "height": 18})
    larger = Pipeline.from_composition(composition)
    assert larger(class_label=1, seed=1, num_inference_steps=1, width=24, height=24).images[
        0
    ].size == (24, 24)


@pytest.mark.parametrize(
    ("component", "change", "message"),
    [
        ("transformer", {"out_channels": 5}, "returns 5; it should return 4, or 8"),
        ("vae", {"latent_channels": 16}, "autoencoder gives 16"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, component: str, change: dict[str, Any], message: str
) -> None:
    folder = tiny.write_dit(tmp_path)
    config = folder / component / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())
