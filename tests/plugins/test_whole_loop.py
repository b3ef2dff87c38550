"""The converter whole_loop: one program for all steps, latents as of the ordinary walk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import tiny
from counting import NAME, counted
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Call, Converter, Phase, Run, RunHooks, Step
from ldm_core.errors import NotFiniteError
from ldm_core.plugins.registry import installed
from ldm_core.run.weights import Weights
from peers import apart
from tiny.covering import one_of_each

CALL: dict[str, Any] = {"seed": [3, 4], "num_inference_steps": 6, "output_type": "latent"}
TEXT: dict[str, Any] = {"prompt": ["a red star", "a blue circle"]}
COUNTED = {"name": "whole_loop", "backend": NAME}
NAMES = sorted(
    plugin.name
    for plugin in installed().plugins
    if plugin.kind == "scheduler"
    and not plugin.name.endswith(":")
    and plugin.name != "dpm_adaptive"  # which has no table
)
SYNCS = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::item", "aten::equal")


class ByTable(Converter):
    """Walks by tables, each step as it is written: what a program is made of.

    Attributes:
        before: called before each step.
    """

    phase = Phase.COMPILE
    lossless = True
    by_table = True

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.before = before

    def bind(self, run: Run) -> RunHooks:
        return AsItIs(self.before)


class AsItIs(RunHooks):
    def __init__(self, before: Callable[[], None]) -> None:
        self.before = before

    def program(self, advance: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            self.before()
            return advance(*arguments)

        return step


def latents(pipe: Pipeline, **call: Any) -> Tensor:
    images: Tensor = pipe(**{**CALL, **call}).images
    return images


def scheduler(name: str) -> dict[str, Any]:
    inner = {"first": "euler", "then": "unipc"} if name == "switch" else {}
    return {"name": name, **inner}


@pytest.mark.parametrize("name", NAMES)
def test_every_scheduler_ends_where_it_walks_by_itself(pipe: Pipeline, name: str) -> None:
    own = pipe.replace(scheduler=scheduler(name), guidance={"scale": 3.0})
    table = own.replace(converters=[ByTable()])
    assert apart(latents(table, **TEXT), latents(own, **TEXT)) < 1e-5


@pytest.mark.parametrize(
    "guidance",
    [
        "none",
        {"name": "classifier_free", "scale": 4.0, "low": 0.5, "high": 5.0},
        {"name": "composable", "prompts": ["fog:0.5", "a dog:-0.3"]},
        {"name": "cfg_pp", "scale": 0.6},
    ],
    ids=str,
)
def test_every_linear_guidance_does_what_it_does_by_itself(pipe: Pipeline, guidance: Any) -> None:
    own = pipe.replace(scheduler="unipc", guidance=guidance)
    table = own.replace(converters=[ByTable()])
    assert apart(latents(table, **TEXT), latents(own, **TEXT)) < 1e-5


@pytest.mark.parametrize("name", one_of_each())
def test_every_family_draws_the_same(name: str, tmp_path: Path) -> None:
    kind = tiny.FOLDERS[name]
    pipe = Pipeline.from_pretrained(kind.write(tmp_path / "model"))
    inputs = kind.inputs_in(tmp_path / "model")
    if pipe.composition.denoisers:
        pipe = pipe.replace(denoisers=[])
    before = latents(pipe, **inputs)
    assert apart(latents(pipe.replace(converters=[ByTable()]), **inputs), before) < 1e-5
    assert latents(pipe, **inputs).equal(before)


def test_one_program_serves_all_steps_schedulers_scales_and_prompts(pipe: Pipeline) -> None:
    with counted() as graphs:
        loop = pipe.replace(converters=[COUNTED])
        for name, steps, scale, prompt in (
            ("euler", 4, 3.0, "a red star"),
            ("dpmpp_2m", 7, 7.5, "a dog"),
            ("unipc", 5, 2.0, ""),
            ("ddpm", 9, 3.0, "a blue circle on white"),
            ("heun", 3, 1.5, "a red star"),
            ("pndm", 5, 4.0, "a house"),
        ):
            there = loop.replace(scheduler=name, guidance={"scale": scale})
            call = {"prompt": [prompt, "a star"], "num_inference_steps": steps}
            own = there.replace(converters=[])
            assert apart(latents(there, **call), latents(own, **call)) < 1e-5
        assert len(graphs) == 1
        with ThreadPoolExecutor(2) as threads:
            drawn = list(threads.map(lambda seed: latents(loop, seed=[seed, 9], **TEXT), range(4)))
        assert len(graphs) == 1
    for seed, images in enumerate(drawn):
        assert apart(images, latents(pipe, seed=[seed, 9], **TEXT)) < 1e-5


class Heard(TorchDispatchMode):
    """Keeps what is called, in order, with the marks that are made between."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(func.name().partition(".")[0])
        return func(*args, **(kwargs or {}))


def test_nothing_in_the_loop_waits_for_a_number(pipe: Pipeline) -> None:
    """Counted on a processor, where the ordinary walk looks at a number in each step."""
    heard = Heard()
    looped = pipe.replace(converters=[ByTable(lambda: heard.calls.append("step"))])
    with heard:
        latents(looped, **TEXT)
    steps = [i for i, call in enumerate(heard.calls) if call == "step"]
    assert len(steps) == CALL["num_inference_steps"]
    within = heard.calls[steps[0] : steps[-1] + (steps[1] - steps[0])]
    assert not set(within) & {*SYNCS}
    assert "aten::convolution" in within
    with Heard() as ordinary:
        latents(pipe, **TEXT)
    assert ordinary.calls.count(SYNCS[0]) >= CALL["num_inference_steps"]


def test_observers_hear_of_each_step(pipe: Pipeline) -> None:
    told: dict[str, list[Step]] = {}
    for name, one in (("own", pipe), ("table", pipe.replace(converters=[ByTable()]))):
        steps: list[Step] = []
        latents(one, **TEXT, on_step=steps.append)
        told[name] = steps
    assert len(told["own"]) == CALL["num_inference_steps"]
    for own, table in zip(told["own"], told["table"], strict=True):
        assert (own.call, own.index, own.point) == (table.call, table.index, table.point)
        assert apart(table.x, own.x) < 1e-5
        assert apart(table.x0, own.x0) < 1e-5


def test_what_is_not_finite_is_named_after_the_last_step(pipe: Pipeline) -> None:
    """As the ordinary walk names it, step and all."""

    def poisoned(call: Call) -> Tensor:
        late = (call.t < 500)[:, None, None, None]
        answer = pipe.model.network(call)
        second = (torch.arange(len(answer)) % 2 == 1)[:, None, None, None]
        return torch.where(late & second, torch.nan, answer)

    weights = Weights.of(replace(pipe.model, network=poisoned))
    lost = replace(pipe, weights=weights, unconverted=weights)
    said = []
    for one in (lost, replace(lost, composition=_by_table(lost))):
        with pytest.raises(NotFiniteError) as caught:
            latents(one, **TEXT)
        failures = caught.value.output.failures
        said.append([(own.index, own.what, own.step) for own in failures])
    assert said[0] == said[1]
    assert [index for index, _, _ in said[0]] == [1]
    assert "the network's answer" in said[0][0][1]


def _by_table(pipe: Pipeline) -> Any:
    return replace(pipe.composition, converters=(ByTable(),))


@pytest.mark.parametrize(
    ("choices", "match"),
    [
        ({"denoisers": ["clip_x0"]}, "'clip_x0' surrounds the denoiser"),
        (
            {"converters": [COUNTED, {"name": "cfg_parallel", "devices": ["cpu", "cpu"]}]},
            "one program for all steps has tensors alone",
        ),
        ({"guidance": {"name": "classifier_free", "rescale": 0.7}}, "guidance is not linear"),
    ],
    ids=str,
)
def test_what_is_not_linear_is_refused_before_weights(
    folder: Path, choices: dict[str, Any], match: str
) -> None:
    with pytest.raises(LdmError, match=match):
        compose({"model": str(folder), **{"converters": [COUNTED], **choices}}, installed())


def test_a_scheduler_that_is_not_linear_is_refused_before_weights(folder: Path) -> None:
    def thresholding(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return denoise(x, grid[0]).clamp(-1, 1)

    choices = {"model": str(folder), "converters": [COUNTED], "scheduler": thresholding}
    with pytest.raises(LdmError, match="scheduler is not linear"):
        compose(choices, installed())


def test_a_scheduler_that_reads_the_variance_is_refused_before_weights(tmp_path: Path) -> None:
    folder = tiny.write_dit(tmp_path / "model", out_channels=8)
    choices: dict[str, Any] = {"model": str(folder), "converters": [COUNTED]}
    choices["scheduler"] = {"name": "ddpm", "variance": "learned_range"}
    with pytest.raises(LdmError, match="reads the variance"):
        compose(choices, installed())


@pytest.mark.parametrize(
    ("choices", "match"),
    [
        ({"guidance": "adaptive_projected"}, "guidance is not linear"),
        ({"guidance": "dynamic_threshold"}, "guidance is not linear"),
        ({"guidance": "perturbed_attention"}, "asks another network"),
    ],
    ids=str,
)
def test_what_only_a_run_knows_is_refused_before_its_first_step(
    pipe: Pipeline, choices: dict[str, Any], match: str
) -> None:
    with pytest.raises(LdmError, match=match):
        latents(pipe.replace(**choices, converters=[ByTable()]), **TEXT)


def test_what_surrounds_the_network_in_a_run_is_refused_before_its_first_step(
    pipe: Pipeline,
) -> None:
    mask = {"conditioning": ["text", "mask"], "converters": [ByTable()]}
    picture = torch.rand(3, 16, 16)
    with pytest.raises(LdmError, match="the conditioning 'mask' surrounds the network"):
        latents(pipe.replace(**mask), image=picture, mask=picture[0] > 0.5, **TEXT)
