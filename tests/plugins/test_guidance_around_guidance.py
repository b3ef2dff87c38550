"""What a guidance around another one keeps of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from guided import in_a_run
from ldm_core import Pipeline
from ldm_core.contracts import Bound, Evaluation, Guidance, ModelInfo, Network, Run
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import EPSILON
from ldm_plugins.guidance.none import none
from ldm_plugins.guidance.perturbed_attention import perturbed_attention

STRANGE = {"strange": {"prompt": ["a blue circle", "a red star"]}}
EVERYWHERE: list[dict[str, Any]] = [
    {"name": "dynamic_threshold", "limit": 1e6},
    {"name": "classifier", "label": 0},
    {"name": "perturbed_attention"},
    {"name": "smoothed_energy"},
    {"name": "skip_layer", "start": 0.0, "stop": 1.0},
    {"name": "autoguidance"},
]


@dataclasses.dataclass(frozen=True)
class Foreign(Guidance):
    """A guidance of another package that uses all that a guidance may."""

    as_x0: bool = False
    family: str = ""

    @property
    def embedded_scale(self) -> float | None:
        return 4.5

    def fit(self, info: ModelInfo) -> Foreign:
        return dataclasses.replace(self, family=info.family)

    def bind(self, run: Run) -> Bound:
        assert self.family == run.model.info.family

        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            assert outputs.keys() == {"positive", "strange"}
            middle = (outputs["positive"] + outputs["strange"]) / 2
            # of the noise, by hand
            return (at.x - at.point.sigma * middle) / at.point.alpha if self.as_x0 else middle

        def branches(point: Point) -> tuple[str, ...]:
            return ("strange", "positive")

        network: Network = run.model.network
        return Bound(branches, combine, {"strange": network}, STRANGE, self.as_x0)


def around(pipe: Pipeline, choice: Mapping[str, Any], inner: Any) -> dict[str, Any]:
    """The choice of a guidance around another one."""
    choice = {**choice, "inner" if choice["name"] == "dynamic_threshold" else "beside": inner}
    if choice["name"] == "classifier":
        choice["classifier"] = lambda x, t, labels: 0.1 * x.sum((1, 2, 3))
    if choice["name"] == "autoguidance":
        choice["model"] = str(pipe.model.info.folder)
    return choice


@pytest.mark.parametrize("choice", EVERYWHERE, ids=lambda choice: choice["name"])
def test_all_that_a_guidance_asks_of_a_run_is_kept(pipes: Any, choice: dict[str, Any]) -> None:
    """The LCM is a model that is told its guidance as a number."""
    pipe = pipes("LCM")
    answers = []
    for as_x0 in (False, True):
        inner = Foreign(as_x0)
        guided = pipe.replace(guidance=around(pipe, choice, inner))
        assert guided.composition.guidance.embedded_scale == 4.5
        guidance, x, condition = in_a_run(guided, "LCM")
        assert condition["guidance"].tolist() == [4.5, 4.5]
        assert guidance.inputs["strange"] == STRANGE["strange"]
        assert guidance.networks["strange"] == pipe.model.network
        point = guided.composition.grid(3)[1]
        branches = guidance.branches(point)
        assert {"positive", "strange"} <= {*branches}
        draws = torch.Generator().manual_seed(0)
        outputs = {name: torch.randn(x.shape, generator=draws) for name in sorted(branches)}
        answers.append(guidance.x0(outputs, Evaluation(x, point, EPSILON)))
    torch.testing.assert_close(*answers)


def test_two_of_one_kind_ask_a_network_each(pipes: Any) -> None:
    pipe = pipes("Stable Diffusion")
    inner = {"name": "perturbed_attention", "layers": ["up_blocks.1"], "scale": 1.5}
    outer = {"name": "perturbed_attention", "scale": 2.0, "beside": {**inner, "beside": "none"}}
    guidance, x, _ = in_a_run(pipe.replace(guidance=outer), "Stable Diffusion")
    point = pipe.composition.grid(3)[1]
    positive, of_inner, of_outer = guidance.branches(point)
    assert positive == "positive"
    outputs = {name: torch.randn_like(x) for name in (positive, of_inner, of_outer)}
    p, a, b = outputs.values()
    expected = p + 1.5 * (p - a) + 2.0 * (p - b)
    torch.testing.assert_close(guidance.combine(outputs, Evaluation(x, point, EPSILON)), expected)
    assert guidance.networks.keys() == guidance.inputs.keys() == {of_inner, of_outer}


@pytest.mark.parametrize("inner", ["cfg_pp", "cfg_zero_star"])
def test_what_is_no_estimate_is_not_thresholded_behind_another_guidance(
    pipes: Any, inner: str
) -> None:
    beside = {"name": "perturbed_attention", "beside": inner}
    with pytest.raises(LdmError, match=r"what cfg_pp .* answer is none"):
        pipes("Stable Diffusion").replace(guidance={"name": "dynamic_threshold", "inner": beside})
    resting = {"name": "cfg_zero_star", "zero_init_steps": 0}
    fine = {"name": "dynamic_threshold", "inner": {**beside, "beside": resting}}
    assert pipes("Stable Diffusion").replace(guidance=fine)


def test_the_models_own_guidance_is_what_its_folder_chooses(tmp_path: Path) -> None:
    folder = tiny.write_stable_diffusion(tmp_path / "model")
    (folder / "ldm.toml").write_text('guidance = { name = "classifier_free", scale = 2.0 }')
    pipe = Pipeline.from_pretrained(folder, guidance="perturbed_attention")
    guidance, x, _ = in_a_run(pipe, "Stable Diffusion")
    point = pipe.composition.grid(3)[1]
    outputs = {name: torch.randn_like(x) for name in guidance.branches(point)}
    p, n, a = (outputs[name] for name in ("positive", "negative", "perturbed"))
    expected = n + 2.0 * (p - n) + 3.0 * (p - a)
    torch.testing.assert_close(guidance.combine(outputs, Evaluation(x, point, EPSILON)), expected)


def test_one_made_in_python_must_be_given_what_it_stands_beside(pipes: Any) -> None:
    pipe = pipes("Stable Diffusion")
    with pytest.raises(LdmError, match="does not stand beside the model's own by itself"):
        pipe.replace(guidance=perturbed_attention())
    assert pipe.replace(guidance=perturbed_attention(beside=none()))
