"""The branches of guidance on two devices: the latents are those of one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Call, Row, as_converter
from ldm_core.model.modules import shallow_copy
from ldm_core.numerics.point import CLEAN
from ldm_core.plugins.registry import installed
from ldm_plugins.converters.cfg_parallel import cfg_parallel, halves
from tiny.covering import one_of_each

CALL: dict[str, Any] = {"seed": [1, 2], "num_inference_steps": 3, "output_type": "latent"}
TWICE = {"name": "cfg_parallel", "devices": ["cpu", "cpu"]}


def apart(one: Pipeline, other: Pipeline, **call: Any) -> float:
    first, second = (pipe(**{**CALL, **call}).images for pipe in (one, other))
    return float((first - second).abs().max() / second.abs().max())


@pytest.mark.parametrize("name", one_of_each())
def test_every_family_draws_the_same(name: str, tmp_path: Path) -> None:
    kind = tiny.FOLDERS[name]
    folder = kind.write(tmp_path / "model")
    pipe = Pipeline.from_pretrained(folder)
    assert apart(pipe.replace(converters=[TWICE]), pipe, **kind.inputs_in(folder)) < 1e-5


@pytest.fixture(scope="module")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline.from_pretrained(tiny.write_stable_diffusion_3(tmp_path_factory.mktemp("sd3")))


PROMPTS = {"prompt": ["a red star", "a blue circle"]}
INNER = {"name": "classifier_free", "scale": 3.0}


@pytest.mark.parametrize(
    ("family", "choices"),
    [
        ("sd", {"guidance": {"name": "perturbed_attention"}}),
        ("sd", {"guidance": {"name": "smoothed_energy"}}),
        ("sd", {"guidance": {"name": "composable", "prompts": ["fog:0.5", "a dog:-0.3"]}}),
        ("sd", {"guidance": {"name": "classifier_free", "scale": 3.0}, "attention": "chunked"}),
        ("sd", {"guidance": "none"}),
        ("sd3", {"guidance": {"name": "skip_layer", "layers": [0]}}),
        ("sd3", {"guidance": {"name": "perturbed_attention", "layers": [0]}}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_every_guidance_draws_the_same(
    pipe: Pipeline, sd3: Pipeline, family: str, choices: dict[str, Any]
) -> None:
    chosen = {"sd": pipe, "sd3": sd3}[family].replace(**choices)
    assert apart(chosen.replace(converters=[TWICE]), chosen, **PROMPTS) < 1e-5


@pytest.mark.parametrize("computing", ["float32", "bfloat16"])
def test_weights_in_half_precision_draw_the_same(folder: Path, computing: str) -> None:
    pipe = Pipeline.from_pretrained(folder, dtype="bfloat16", compute_dtype=computing)
    assert apart(pipe.replace(converters=[TWICE]), pipe, **PROMPTS) < (
        1e-5 if computing == "float32" else 2e-2
    )


def test_a_controlnet_beside_it_draws_the_same(folder: Path, tmp_path: Path) -> None:
    control = tiny.write_controlnet(tmp_path / "control", folder)
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    pipe = Pipeline.from_pretrained(
        folder, conditioning=["text", {"name": "control", "models": [str(control)]}]
    )
    both = pipe.replace(converters=[TWICE])
    assert apart(both, pipe, **PROMPTS, control_image=picture) < 1e-5


def test_an_image_prompt_beside_it_draws_the_same(folder: Path, tmp_path: Path) -> None:
    eyes = tiny.write_image_encoder(tmp_path / "eyes")
    adapter = tiny.write_ip_adapter(tmp_path / "adapter.safetensors", folder)
    look = {"name": "image_prompt", "path": str(adapter), "image_encoder": str(eyes)}
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", look])
    assert apart(pipe.replace(converters=[TWICE]), pipe, **PROMPTS, prompt_image=picture) < 1e-5


class Heard:
    """Torch's own attention, which remembers in which threads it was asked for which rows."""

    def __init__(self) -> None:
        self.rows: dict[bool, set[int]] = {True: set(), False: set()}

    def __call__(self, q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        main = threading.current_thread() is threading.main_thread()
        if mask is None:
            self.rows[main].add(len(q))
        assert not torch.is_grad_enabled()
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale
        )


def test_each_thread_computes_one_branch_with_the_kernel_that_is_chosen(pipe: Pipeline) -> None:
    kernel = Heard()
    both = pipe.replace(guidance=INNER, attention=kernel, converters=[TWICE])
    both("a red star", **{**CALL, "seed": [1, 2, 3]})
    assert kernel.rows == {True: {3}, False: {3}}
    alone = Heard()
    pipe.replace(guidance=INNER, attention=alone)("a red star", **{**CALL, "seed": [1, 2, 3]})
    assert alone.rows == {True: {6}, False: set()}


def test_weights_are_there_once_where_the_devices_are_one(pipe: Pipeline) -> None:
    both = pipe.replace(converters=[TWICE])
    assert both.model.components["unet"] is pipe.model.components["unet"]
    network: Any = both.model.network
    assert network.first is network.second


def test_another_device_has_the_same_values_of_its_own(pipe: Pipeline) -> None:
    """The device `meta` has no values, so only where they lie can be seen of it."""
    twice = {"name": "cfg_parallel", "devices": ["cpu", "meta"]}
    converter = as_converter(cfg_parallel(devices=["cpu", "meta"]))
    model = converter.convert(pipe.model)
    network: Any = model.network
    assert network.first is pipe.model.network
    assert network.second is not pipe.model.network
    assert {p.device.type for p in pipe.model.components["unet"].parameters()} == {"cpu"}
    assert twice["name"] == "cfg_parallel"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, KeyboardInterrupt, ZeroDivisionError])
def test_what_the_other_thread_raises_is_raised(pipe: Pipeline, error: type[BaseException]) -> None:
    def kernel(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        if mask is None and threading.current_thread() is not threading.main_thread():
            raise error("in the other thread")
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale
        )

    both = pipe.replace(guidance=INNER, attention=kernel, converters=[TWICE])
    if error is torch.OutOfMemoryError:  # one branch after the other needs no other thread
        with pytest.warns(UserWarning, match="one after the other"):
            assert both("a red star", **{**CALL, "seed": 1}).images.isfinite().all()
        return
    with pytest.raises(error, match="in the other thread"):
        both("a red star", **{**CALL, "seed": 1})


def rows(*whose: tuple[int, str]) -> Call:
    count = len(whose)
    return Call(
        torch.zeros(count, 1),
        torch.zeros(count),
        {},
        tuple(Row(image, branch, CLEAN, 0, 1) for image, branch in whose),
    )


@pytest.mark.parametrize(
    ("whose", "expected"),
    [
        ([(0, "a"), (1, "a"), (0, "b"), (1, "b")], ([0, 1], [2, 3])),
        ([(0, "a"), (0, "b"), (1, "a"), (1, "b")], ([0, 2], [1, 3])),
        ([(0, "a"), (0, "b"), (0, "c")], ([0, 1], [2])),
        ([(0, "a"), (1, "a"), (2, "a")], ([0, 1], [2])),
        ([(0, "a")], ([0], [])),
    ],
)
def test_rows_are_split_by_branch_and_else_by_image(
    whose: list[tuple[int, str]], expected: tuple[list[int], list[int]]
) -> None:
    assert halves(rows(*whose)) == expected


@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        (["cpu"], "computes on two devices"),
        (["cpu", "cpu", "cpu"], "not on 3"),
        (["cpu", "auto"], "'auto' is one alone"),
        (["cpu", "gpu"], "no device named 'gpu'"),
        (["cpu", "cuda:63"], "'cuda:63' is not available here"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, devices: list[str], reason: str) -> None:
    with pytest.raises(LdmError, match=reason):
        Pipeline.from_pretrained(folder, converters=[{"name": "cfg_parallel", "devices": devices}])


def test_a_network_that_another_moves_is_refused(pipe: Pipeline) -> None:
    part = pipe.model.parts["unet"]
    module: nn.Module = shallow_copy(part.module)
    own = module.conv_in.forward  # type: ignore[union-attr]
    module.conv_in.forward = lambda x: own(x)  # type: ignore[union-attr]
    from dataclasses import replace

    hooked = pipe.model.replaced({"unet": replace(part, module=module)})
    with pytest.raises(LdmError, match="another converter moves those of the unet"):
        as_converter(cfg_parallel(devices=["cpu", "cpu"])).convert(hooked)


@pytest.mark.parametrize("placement", ["group_offload", "model_offload", "sequential_offload"])
def test_placements_of_the_network_are_refused_before_weights_are_read(
    folder: Path, placement: str
) -> None:
    both = [{"name": "cfg_parallel", "devices": ["cpu", "cpu"]}, placement]
    with pytest.raises(LdmError, match=f"the placement '{placement}' moves them"):
        compose({"model": str(folder), "converters": both}, installed())
    both[1] = {"name": placement, "parts": ["text"]}
    assert len(compose({"model": str(folder), "converters": both}, installed()).converters) == 2
