"""The kit's checks of converters: each catches what is wrong, and none what is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from checking import checks, failures, outcome, outcomes, shipped, some_slow, subject
from ldm_core.contracts import Converter, Phase, RunHooks, Speedup
from ldm_core.model.modules import shallow_copy
from ldm_core.plugins.registry import installed


class Right(Converter):
    """Swaps a layer for one that computes the same."""

    phase = Phase.LAYOUT
    lossless = True

    def part(self, part: Any) -> Any:
        if part.role != "network":
            return part
        network = shallow_copy(part.module)
        self.change(network)
        return replace(part, module=network)

    def change(self, network: Any) -> None:
        for module in list(network.modules()):
            for name, layer in list(module.named_children()):
                if type(layer) is nn.Linear:
                    module.register_module(name, Same(layer))


class Same(nn.Module):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T + self.bias


def by(change: Callable[[Any], None], copies: bool = True, lossless: bool = True) -> Any:
    """A converter that does something to the network, or to a copy of it."""

    class Other(Right):
        def part(self, part: Any) -> Any:
            if part.role != "network":
                return part
            network = shallow_copy(part.module) if copies else part.module
            change(network)
            return replace(part, module=network)

    Other.lossless = lossless
    return Other


def hooks(change: Callable[[Any], Callable[[torch.Tensor], torch.Tensor]]) -> Any:
    """A converter that changes the answers of the network in a run."""

    class Own(RunHooks):
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def network(self, network: Any) -> Any:
            return lambda call: self.answer(network(call))

    class Other(Converter):
        phase = Phase.CACHE
        lossless = False

        def __init__(self) -> None:
            self.calls = 0

        def bind(self, run: Any) -> RunHooks:
            return Own(change(self))

    return Other


def scale(network: Any, factor: float = 1.001) -> None:
    with torch.no_grad():
        network.mix.weight.mul_(factor)


def rounded(network: Any) -> None:
    copy = shallow_copy(network.mix)
    copy.weight = nn.Parameter(network.mix.weight.half().float(), requires_grad=False)
    network.mix = copy


def hook(network: Any) -> None:
    network.mix.register_forward_hook(lambda module, args, out: out)


def random(network: Any) -> None:
    network.mix = shallow_copy(network.mix)
    weight = network.mix.weight
    network.mix.weight = nn.Parameter(weight + 0.01 * torch.randn_like(weight), False)


class Undone(Right):
    """Changes the model that it is given, and changes it back where it is done."""

    phase = Phase.LAYOUT

    def convert(self, model: Any) -> Any:
        network = model.parts["network"].module
        network.out = nn.Sequential(network.out)
        return model


class Counts(Right):
    """Each conversion draws otherwise."""

    lossless = False
    made = 0

    def change(self, network: Any) -> None:
        type(self).made += 1
        network.mix = shallow_copy(network.mix)
        weight = network.mix.weight * (1 + 0.01 * type(self).made)
        network.mix.weight = nn.Parameter(weight, False)


class Crashes(Right):
    def fit(self, info: Any, place: Any) -> Any:
        raise KeyError("transformer")


class NoPhase(Converter):
    lossless = True


class NotSaid(Converter):
    phase = Phase.LAYOUT


def counting(part: Any) -> Any:
    def answer(output: Any) -> Any:
        part.calls += 1
        return output * (1 + 0.01 * part.calls)

    return answer


class Faster(Right):
    """Says of a model what it makes faster."""

    said: Any = ()

    def speedups(self, info: Any, place: Any) -> Any:
        return self.said


def saying(said: Any) -> Any:
    return type("Saying", (Faster,), {"said": said})


class Files(Right):
    def files(self) -> Any:
        return [3]


class Emptied(Right):
    def convert(self, model: Any) -> Any:
        return replace(model, parts={})


WRONG: dict[str, tuple[Any, str]] = {
    "no speedup": (saying([3]), "speedups"),
    "no number of speedups": (saying(3), "speedups"),
    "a speedup of unknown options": (saying([Speedup({"nope": 1}, 0.5, "w")]), "speedups"),
    "a speedup that is slower": (saying([Speedup({}, 1.5, "w")]), "speedups"),
    "no files": (Files, "speedups"),
    "a model of no parts": (Emptied, "refuses_other_families"),
    "trains what it is given": (by(lambda n: n.train(), copies=False), "undone"),
    "asks gradients": (by(lambda n: n.requires_grad_(True), copies=False), "undone"),
    "leaves a mark": (by(lambda n: setattr(n, "mark", 1), copies=False), "undone"),
    "no phase": (NoPhase, "declared"),
    "not said whether lossless": (NotSaid, "declared"),
    "fails where it fits": (Crashes, "refuses_other_families"),
    "not lossless": (by(rounded), "lossless"),
    "not finite": (by(lambda n: scale(n, float("nan")), copies=False), "lossless"),
    "changes weights": (by(scale, copies=False, lossless=False), "undone"),
    "leaves a hook": (by(hook, copies=False), "undone"),
    "changes the model's modules": (Undone, "undone"),
    "each conversion otherwise": (Counts, "shares_weights"),
    "a mean of the batch": (
        hooks(lambda part: lambda out: out + out.mean(0, keepdim=True)),
        "each_alone",
    ),
    "keeps a count": (hooks(counting), "runs_apart"),
    "noise of its own": (
        hooks(lambda part: lambda out: out + 0.1 * torch.randn_like(out)),
        "no_other_randomness",
    ),
    "random weights": (by(random, lossless=False), "no_other_randomness"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught(name: str) -> None:
    target, check = WRONG[name]
    assert outcome(subject("converter", target), check).startswith("failed")


def test_every_check_catches_something() -> None:
    assert {check for _, check in WRONG.values()} == checks("converter").keys()


def test_what_is_right_passes_all() -> None:
    said = outcomes(subject("converter", Right))
    assert all(word.startswith("passed") for word in said.values()), said


def test_a_lossy_one_says_how_far_the_latents_move() -> None:
    said = outcome(subject("converter", by(rounded, lossless=False)), "lossless")
    assert said.startswith("passed latents move by")
    assert 0 < float(said.rpartition(" ")[2]) < 0.01


OPTIONS: dict[str, dict[str, Any]] = {
    "cfg_parallel": {"devices": ["cpu:0", "cpu:1"]},
    "compile": {"backend": "eager"},
    "cuda_graph": {},
    "device_map": {"devices": ["cpu:0", "cpu:1"]},
    "whole_loop": {"backend": "eager"},
}
"""With which shipped converters are checked, where it is not their defaults."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept on disk is this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


NAMES = [
    plugin.name
    for plugin in installed().of_kind("converter")
    if plugin.name not in ("autoencoder", "lora", "tiny_decoder")  # which need files
]


@pytest.mark.parametrize("name", some_slow(NAMES, ("channels_last", "feature_cache")))
def test_no_shipped_converter_raises_an_alarm(name: str, folder: Path) -> None:
    assert failures(shipped("converter", name, folder, **OPTIONS.get(name, {}))) == {}
