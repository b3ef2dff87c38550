"""Autoguidance: a weaker model's answers, combined by Diffusers' formula."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import guiders

import ldm_plugins.plugin
import tiny
from guided import in_a_run, latents
from ldm_core import Pipeline
from ldm_core.contracts import Call, Evaluation, Row
from ldm_core.errors import LdmError
from ldm_core.numerics.prediction import V_PREDICTION, as_prediction_type
from ldm_core.plugins.hookspecs import hookimpl
from ldm_core.plugins.registry import Registry
from ldm_plugins.guidance.autoguidance import like
from peers import apart


def test_autoguidance_combines_by_diffusers_formula(pipes: Any) -> None:
    positive, weak = torch.randn(2, 2, 4, 8, 8).unbind()
    peer = guiders.AutoGuidance(guidance_scale=2.4, auto_guidance_layers=[1], dropout=0.5)
    pipe = pipes("DiT")
    model = str(pipe.model.info.folder)
    ours = pipe.replace(guidance={"name": "autoguidance", "model": model, "scale": 2.4})
    guidance, x, _ = in_a_run(ours, "DiT")
    point = pipe.composition.grid(3)[1]
    at = Evaluation(x, point, as_prediction_type("epsilon"))
    found = guidance.combine({"positive": positive, "weak": weak}, at)
    torch.testing.assert_close(found, peer.forward(positive, weak).pred)


@pytest.fixture(scope="module")
def weaker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders like that of Stable Diffusion's kind, with other weights or of another kind."""

    def write(**changes: Any) -> Path:
        folder = tiny.write_stable_diffusion(tmp_path_factory.mktemp("weak") / "model", **changes)
        unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
        with torch.no_grad():
            for parameter in unet.parameters():
                parameter.mul_(0.9)
        unet.save_pretrained(folder / "unet")
        return folder

    return write


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0, 9.0])
@pytest.mark.parametrize("beside", ["none", {"name": "classifier_free", "scale": 3.0}])
@pytest.mark.parametrize("kind", ["Stable Diffusion", "DiT"])
def test_a_model_that_guides_itself_is_not_guided(
    pipes: Any, kind: str, beside: Any, scale: float
) -> None:
    pipe = pipes(kind)
    chosen = {"name": "autoguidance", "model": str(pipe.model.info.folder), "scale": scale}
    found = latents(pipe.replace(guidance={**chosen, "beside": beside}), kind)
    assert apart(found, latents(pipe.replace(guidance=beside), kind)) < 1e-5


def test_autoguidance_leads_away_from_the_weaker_model(pipes: Any, weaker: Any) -> None:
    """Held against a sum of two networks' answers, for weak models of either prediction type."""
    pipe = pipes("Stable Diffusion")
    for kind in ("epsilon", "v_prediction"):
        folder = weaker(scheduler={"prediction_type": kind})
        other = Pipeline.from_pretrained(folder)
        guided = pipe.replace(guidance={"name": "autoguidance", "model": str(folder), "scale": 3})
        sampling = guided.start(guided.composition.plan({"prompt": "a red star"}, [1]))
        weak = other.replace(guidance="none")
        ours, others, guides = (
            p.start(p.composition.plan({"prompt": "a red star"}, [1])).denoiser()
            for p in (pipe.replace(guidance="none"), weak, guided)
        )
        point = sampling.run.grid[1]
        strong, feeble = ours(sampling.x, point), others(sampling.x, point)
        assert apart(guides(sampling.x, point), feeble + 3 * (strong - feeble)) < 1e-5
        assert apart(feeble, strong) > 1e-2


@pytest.mark.parametrize("learned", [8, 4])
def test_a_weaker_model_may_predict_a_variance_or_not(
    pipes: Any, tmp_path: Path, learned: int
) -> None:
    folder = tiny.write_dit(tmp_path / "weak", out_channels=learned)
    strong = Pipeline.from_pretrained(
        tiny.write_dit(tmp_path / "strong", out_channels=12 - learned), num_inference_steps=2
    )
    chosen = {"name": "autoguidance", "model": str(folder)}
    assert latents(strong.replace(guidance=chosen), "DiT").isfinite().all()


def test_the_weaker_model_is_loaded_once_and_asked_only_where_active(
    pipes: Any, weaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, folder = pipes("Stable Diffusion"), str(weaker())
    loads = []
    load = type(pipe.composition.family).load

    def counting(*args: Any) -> Any:
        loads.append(args)
        return load(*args)

    monkeypatch.setattr(type(pipe.composition.family), "load", counting)
    chosen = {"name": "autoguidance", "model": folder}
    latents(pipe.replace(guidance={**chosen, "scale": 1.0}))
    assert not loads
    for scale in (2.0, 3.0):
        latents(pipe.replace(guidance={**chosen, "scale": scale}))
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipeline": "LatentConsistencyModelPipeline", "time_cond_proj_dim": 32}, "its abilities"),
        ({"scheduler": {"beta_schedule": "linear"}}, "another noise schedule"),
        ({"num_class_embeds": 10}, "its network's num_class_embeds is 10, and should be None"),
    ],
)
def test_a_weaker_model_that_does_not_fit_is_refused(
    pipes: Any, weaker: Any, changes: Any, message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        pipes("Stable Diffusion").replace(
            guidance={"name": "autoguidance", "model": str(weaker(**changes))}
        )
    other = str(pipes("SDXL").model.info.folder)
    with pytest.raises(LdmError, match="its family is stable_diffusion_xl, and should be"):
        pipes("Stable Diffusion").replace(guidance={"name": "autoguidance", "model": other})


def test_each_row_is_turned_into_the_other_prediction_at_its_own_point(pipes: Any) -> None:
    """Rows at different points, of a network that predicts v and one that predicts noise."""
    pipe = pipes("Stable Diffusion")
    points = [pipe.composition.grid(4)[index] for index in (0, 2, 1)]
    x, v = torch.randn(2, 3, 4, 8, 8).unbind()
    rows = tuple(Row(i, "weak", point, i, 4) for i, point in enumerate(points))
    call = Call(x, torch.tensor([point.t for point in points]), {}, rows)
    weak = dataclasses.replace(pipe.model.info, prediction_type=V_PREDICTION)
    noise = like(pipe.model.info, weak, lambda call: v)(call)
    for i, point in enumerate(points):
        x0 = point.alpha * x[i] - point.sigma * v[i]
        expected = (x[i] - point.alpha * x0) / point.sigma
        torch.testing.assert_close(noise[i], expected, rtol=1e-4, atol=1e-4)


def test_the_weaker_model_is_looked_for_where_the_pipelines_plugins_are(
    pipes: Any, weaker: Any
) -> None:
    class Package:
        ldm_api_version = 2

        @hookimpl
        def ldm_models(self, register: Any) -> None:
            register("weakling", weaker(), "tests")

    registry = Registry()
    registry.add(ldm_plugins.plugin, "ldm-core")
    registry.add(Package(), "elsewhere")
    guidance = {"name": "autoguidance", "model": "weakling", "scale": 3.0}
    folder = pipes("Stable Diffusion").model.info.folder
    with pytest.raises(LdmError, match="no model named 'weakling'"):
        Pipeline.from_pretrained(folder, guidance=guidance)
    pipe = Pipeline.from_pretrained(folder, registry=registry, guidance=guidance)
    end = latents(pipe.replace(num_inference_steps=2))
    assert apart(end, latents(pipe.replace(guidance="none", num_inference_steps=2))) > 1e-3


@pytest.mark.parametrize("kind", ["Stable Diffusion", "DiT"])
def test_a_weaker_model_in_half_precision_computes_as_the_better_one_does(
    pipes: Any, kind: str
) -> None:
    """It is the same model, so that their answers are the same where it is treated alike."""
    folder = pipes(kind).model.info.folder
    pipe = Pipeline.from_pretrained(folder, dtype="bfloat16", num_inference_steps=2)
    chosen = {"name": "autoguidance", "model": str(folder), "scale": 9.0}
    unguided = latents(pipe.replace(guidance="none"), kind)
    assert apart(latents(pipe.replace(guidance=chosen), kind), unguided) < 1e-5
