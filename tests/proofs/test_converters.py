"""Converters that a package could bring: one swaps a layer, one moves parts, one keeps features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from torch import nn

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import (
    Call,
    Converter,
    Model,
    ModelInfo,
    Network,
    Part,
    PartInfo,
    Phase,
    PlaceNames,
    Run,
    RunHooks,
)
from ldm_core.model.modules import shallow_copy
from ldm_core.plugins.hookspecs import hookimpl
from ldm_core.plugins.registry import Registry, installed

CALL: dict[str, Any] = {"seed": 3, "output_type": "latent"}


class Halved(nn.Module):
    """A layer whose weight is kept at half its size and doubled in each call: exact in floats."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.weight = nn.Parameter(layer.weight / 2, requires_grad=False)
        self.bias = layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = self.layer
        return nn.functional.conv2d(x, self.weight * 2, self.bias, layer.stride, layer.padding)


@dataclass(frozen=True)
class Swap(Converter):
    """Swaps the network's last layer.

    Attributes:
        scale: of what the new layer gives.
    """

    scale: float = 1.0
    phase = Phase.LAYOUT
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        if self.scale <= 0:
            raise LdmError(f"the scale of swap should be above 0, not {self.scale:g}.")
        return self

    def part(self, part: Part) -> Part:
        if part.role != "network":
            return part
        copied: Any = shallow_copy(part.module)
        layer = Halved(copied.conv_out)
        layer.weight.mul_(self.scale)
        copied.conv_out = layer
        return replace(part, module=copied)


class Elsewhere(Converter):
    """Keeps the network's weights elsewhere and brings each layer's when it computes, by
    Accelerate."""

    phase = Phase.PLACEMENT
    lossless = True

    def part(self, part: Part) -> Part:
        if part.role != "network":
            return part
        copied = shallow_copy(part.module)
        cpu_offload(copied, part.device)
        return replace(part, module=copied)


class Reuse(Converter):
    """Asks the network at every second step alone, and answers as before in between."""

    phase = Phase.CACHE
    lossless = False

    def bind(self, run: Run) -> RunHooks:
        return Kept()


class Kept(RunHooks):
    def __init__(self) -> None:
        self.answers: dict[tuple[int, str], torch.Tensor] = {}

    def network(self, network: Network) -> Network:
        def reusing(call: Call) -> torch.Tensor:
            keys = [(row.image, row.branch) for row in call.rows]
            if call.rows[0].step % 2 and all(key in self.answers for key in keys):
                return torch.stack([self.answers[key] for key in keys])
            answer = network(call)
            self.answers |= zip(keys, answer, strict=True)
            return answer

        return reusing


@dataclass(frozen=True)
class Heard(Converter):
    """Says what it hears when parts are read."""

    heard: list[str]
    phase: Phase = Phase.COMPILE
    lossless: bool = True

    def prepare(self, info: ModelInfo) -> None:
        self.heard.append("prepare")

    def loading(self, part: PartInfo) -> Mapping[str, Any]:
        self.heard.append(f"{part.role} {part.name}")
        return {}

    def convert(self, model: Model) -> Model:
        self.heard.append("convert")
        return model


class Package:
    ldm_api_version = 2

    @hookimpl
    def ldm_converters(self, register: Any) -> None:
        register("swap", lambda *, scale=1.0: Swap(scale))
        register("elsewhere", Elsewhere)
        register("reuse", Reuse)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.plugins += installed().plugins
    registry.add(Package(), "ldm-toy", "1.0")
    return registry


@pytest.fixture
def extended(pipe: Pipeline, registry: Registry) -> Pipeline:
    return replace(pipe, composition=replace(pipe.composition, registry=registry))


def calls_of(pipe: Pipeline) -> list[int]:
    """How many rows each call of the pipeline's UNet has, from now on."""
    calls: list[int] = []
    unet = pipe.model.parts["unet"].module
    unet.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    return calls


def test_a_layer_is_swapped_and_the_model_is_left_as_it_was(extended: Pipeline) -> None:
    before = extended("a red star", **CALL).images
    unet = extended.model.parts["unet"].module
    weights = {name: weight.clone() for name, weight in unet.state_dict().items()}
    swapped = extended.replace(converters=["swap"])
    assert isinstance(swapped.model.parts["unet"].module.conv_out, Halved)
    assert isinstance(unet.conv_out, nn.Conv2d)
    torch.testing.assert_close(swapped("a red star", **CALL).images, before)
    other = extended.replace(converters=[{"name": "swap", "scale": 0.5}])
    assert not torch.allclose(other("a red star", **CALL).images, before)
    assert extended("a red star", **CALL).images.equal(before)
    assert all(weight.equal(weights[name]) for name, weight in unet.state_dict().items())
    shared = swapped.model.parts["unet"].module.conv_in.weight
    assert shared.data_ptr() == unet.conv_in.weight.data_ptr()
    assert swapped.replace(converters=[])("a red star", **CALL).images.equal(before)


def test_weights_may_lie_elsewhere(extended: Pipeline) -> None:
    before = extended("a red star", **CALL).images
    moved = extended.replace(converters=["elsewhere"])
    unet = moved.model.parts["unet"].module
    assert {weight.device.type for weight in unet.parameters()} == {"meta"}
    torch.testing.assert_close(moved("a red star", **CALL).images, before)
    own = extended.model.parts["unet"].module
    assert {weight.device.type for weight in own.parameters()} == {"cpu"}
    assert extended("a red star", **CALL).images.equal(before)


def test_converters_stand_in_any_order_and_act_by_their_phase(extended: Pipeline) -> None:
    one = extended.replace(converters=["elsewhere", "swap", "reuse"])
    other = extended.replace(converters=["reuse", "swap", "elsewhere"])
    names = [type(converter).__name__ for converter in one.composition.converters]
    assert names == ["Swap", "Reuse", "Elsewhere"]
    assert one("a red star", **CALL).images.equal(other("a red star", **CALL).images)
    assert one.recipe["converters"] == [{"name": n} for n in ("elsewhere", "swap", "reuse")]


def test_a_network_may_keep_a_state_through_a_run(extended: Pipeline) -> None:
    reusing = extended.replace(converters=["reuse"], num_inference_steps=6)
    calls = calls_of(reusing)
    first = reusing(["a red star", "a moon"], **CALL).images
    assert calls == [4] * 3  # every second of six steps, two images under two branches
    # the next run knows nothing of the one before
    assert reusing(["a red star", "a moon"], **CALL).images.equal(first)
    assert calls == [4] * 6
    alone = reusing("a red star", **CALL).images
    assert float((alone - first[:1]).norm() / alone.norm()) < 1e-5
    plain = extended.replace(num_inference_steps=6)(["a red star", "a moon"], **CALL).images
    assert not torch.allclose(first, plain)


def test_parts_are_announced_before_they_are_read(folder: Path) -> None:
    heard: list[str] = []
    Pipeline.from_pretrained(folder, converters=[Heard(heard)])
    assert heard[0] == "prepare"
    assert heard[-1] == "convert"
    assert {*heard[1:-1]} == {"network unet", "autoencoder vae", "text text_encoder"}


def test_what_is_wrong_is_said_before_weights_are_read(extended: Pipeline) -> None:
    with pytest.raises(LdmError, match="the scale of swap should be above 0"):
        extended.replace(converters=[{"name": "swap", "scale": -1.0}])
    with pytest.raises(LdmError, match="no converter named 'swop'"):
        extended.replace(converters=["swop"])
    with pytest.raises(LdmError, match=r"made from ldm_core\.contracts\.Converter"):
        extended.replace(converters=[object()])
