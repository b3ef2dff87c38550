"""The converter cuda_graph: what is refused, and which calls are recorded and played.

A recording on a processor is one that runs the function again, on the same inputs and into the same
outputs; what only a card can tell is not tested here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from ldm_core.run.attention import in_force, kernels_in_force
from ldm_plugins.converters.cuda_graph import CudaGraph, recorded
from ldm_plugins.converters.shared.cuda_graphs import Graphs


class Recorder:
    """Records by keeping the outputs of one run, which a play overwrites."""

    def __init__(self) -> None:
        self.recordings = 0

    def __call__(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        self.recordings += 1
        outputs = run()

        def play() -> None:
            for kept, new in zip(outputs, run(), strict=True):
                kept.copy_(new)

        return play, outputs


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor, *, added: dict[str, Tensor], twice: bool = False) -> Any:
        return (self.linear(x) * (2 if twice else 1) + added["text"],)


def made(most: int = 2) -> tuple[Layer, Any, Recorder]:
    torch.manual_seed(0)
    layer, recorder = Layer().requires_grad_(False), Recorder()
    return layer, recorded(layer, Graphs(recorder, most, kernels_in_force)), recorder


def inputs(rows: int) -> dict[str, Any]:
    return {"x": torch.randn(rows, 3), "added": {"text": torch.randn(rows, 3)}}


def test_a_call_of_a_signature_is_recorded_once_and_answers_are_kept_apart() -> None:
    layer, other, recorder = made()
    calls = [inputs(2) for _ in range(3)]
    answers = [other(**call)[0] for call in calls]
    assert recorder.recordings == 1
    for call, answer in zip(calls, answers, strict=True):
        torch.testing.assert_close(answer, layer(**call)[0])
    assert type(layer) is Layer
    assert isinstance(other, Layer)
    assert other.linear.weight is layer.linear.weight


def test_what_is_no_number_in_a_tensor_makes_another_recording() -> None:
    layer, other, recorder = made(most=9)
    call = inputs(2)
    variants: list[dict[str, Any]] = [call, inputs(4), {**call, "twice": True}]
    for count, variant in enumerate(variants, start=1):
        torch.testing.assert_close(other(**variant)[0], layer(**variant)[0])
        assert recorder.recordings == count

    def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        return q

    with in_force(kernel):
        other(**call)
    assert recorder.recordings == 4
    other(**call)
    assert recorder.recordings == 4


def test_the_least_recently_used_is_let_go() -> None:
    _, other, recorder = made(most=2)
    for rows in (1, 2, 1, 3, 1, 2):  # 2 is let go for 3, and 3 for 2
        other(**inputs(rows))
    assert recorder.recordings == 4
    assert len(other.ldm_graphs) == 2


def test_a_copy_records_for_itself() -> None:
    _, other, recorder = made()
    other(**inputs(2))
    moved = copy.deepcopy(other)
    with torch.no_grad():
        moved.linear.weight.zero_()
    call = inputs(2)
    expected = moved.linear.bias + call["added"]["text"]
    torch.testing.assert_close(moved(**call)[0], expected)
    assert recorder.recordings == 2


def test_weights_that_lie_elsewhere_are_recorded_anew() -> None:
    """A recording reads them where they were; what is written there it reads by itself."""
    _, other, recorder = made()
    call = inputs(2)

    def is_right() -> None:
        expected = call["x"] @ other.linear.weight.T + other.linear.bias + call["added"]["text"]
        torch.testing.assert_close(other(**call)[0], expected)

    def write() -> None:
        other.linear.weight.data.mul_(2)

    def move() -> None:
        other.linear.weight.data = other.linear.weight.data * 2

    def replace() -> None:
        other.linear.weight = nn.Parameter(other.linear.weight * 2, requires_grad=False)

    def replace_layer() -> None:
        other.linear = nn.Linear(3, 3).requires_grad_(False)

    is_right()
    for change, recordings in ((write, 1), (move, 2), (replace, 3), (replace_layer, 4)):
        change()
        is_right()
        assert recorder.recordings == recordings
    assert len(other.ldm_graphs) == 1


def test_a_network_draws_the_same(pipe: Pipeline) -> None:
    recorder = Recorder()
    graph = CudaGraph(4)

    def part(own: Any) -> Any:
        if own.role != "network":
            return own
        return own.altered(lambda m: recorded(m, Graphs(recorder, 4, kernels_in_force)))

    model = graph.convert(pipe.model)
    module: Any = pipe.model.part("network")
    assert type(model.part("network").module) is not type(module.module)  # type: ignore[union-attr]
    other = part(module)
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([5.0, 5.0])
    text = torch.randn(2, 7, module.module.config.cross_attention_dim)
    for _ in range(2):
        answers = [m(x, t, text, return_dict=False)[0] for m in (other.module, module.module)]
        torch.testing.assert_close(*answers)
    assert recorder.recordings == 1


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_without_a_card_it_is_refused_before_weights(
    folder: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "auto" and torch.cuda.is_available():
        pytest.skip("there is one")
    monkeypatch.setattr("ldm_plugins.families.stable_diffusion.StableDiffusion.load", None)
    with pytest.raises(LdmError, match="records CUDA graphs, and this pipeline is on cpu"):
        Pipeline.from_pretrained(folder, converters=["cuda_graph"], device=device)


def test_offloading_the_network_contradicts_it(folder: Path) -> None:
    names = ["cuda_graph", "model_offload"]
    with pytest.raises(LdmError, match="keeps the network's weights where they compute"):
        compose({"model": str(folder), "converters": names, "device": "cuda"}, installed())
