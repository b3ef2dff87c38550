"""Accelerate's offload of weights that are stored in half precision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload, cpu_offload_with_hook, disk_offload, dispatch_model
from accelerate.hooks import (
    AlignDevicesHook,
    add_hook_to_module,
    attach_align_device_hook,
    remove_hook_from_submodules,
)
from torch import Tensor, nn

from ldm_core.model.stored_weight import StoredWeight, stored

CPU = torch.device("cpu")
ROWS = torch.arange(5)


class Tied(nn.Module):
    """A table, the same as the last layer, two layers between, and a buffer."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 8)
        self.layer = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 8, bias=False)
        self.head.weight = self.table.weight
        self.register_buffer("scale", torch.randn(8))

    def forward(self, rows: Tensor) -> Tensor:
        answer: Tensor = self.head(self.norm(self.layer(self.table(rows))) * self.scale)
        return answer


def pair() -> tuple[Tied, Tensor]:
    """A module with stored weights, and what the same weights in float32 answer."""
    torch.manual_seed(0)
    narrow = Tied().to(torch.bfloat16).requires_grad_(False)
    module = stored(narrow, torch.float32)
    assert isinstance(module, Tied)
    return module, copy.deepcopy(narrow).float()(ROWS)


def matrices(module: Tied) -> list[StoredWeight]:
    """Those of its layers, which must all be stored still."""
    weights = [layer.weight for layer in (module.table, module.layer, module.head)]
    stored_weights = [weight for weight in weights if isinstance(weight, StoredWeight)]
    assert len(stored_weights) == 3
    assert {weight.stored.dtype for weight in stored_weights} == {torch.bfloat16}
    assert {weight.dtype for weight in stored_weights} == {torch.float32}
    assert all(isinstance(weight, nn.Parameter) for weight in stored_weights)
    return stored_weights


@pytest.mark.parametrize("buffers", [False, True])
def test_offloaded_weights_come_as_they_are_stored(buffers: bool) -> None:
    module, expected = pair()
    memory = {weight.stored.data_ptr() for weight in matrices(module)}
    cpu_offload(module, CPU, offload_buffers=buffers)
    in_use = []
    module.layer.register_forward_pre_hook(lambda *_: in_use.append(module.layer.weight))
    for _ in range(2):
        assert all(weight.stored.is_meta for weight in matrices(module))
        assert module(ROWS).equal(expected)
    assert [type(weight) for weight in in_use] == [StoredWeight] * 2
    remove_hook_from_submodules(module)
    assert {weight.stored.data_ptr() for weight in matrices(module)} == memory
    assert module(ROWS).equal(expected)


def test_a_module_offloaded_as_a_whole_goes_and_comes() -> None:
    module, expected = pair()
    _, hook = cpu_offload_with_hook(module, CPU)
    for _ in range(2):
        assert module(ROWS).equal(expected)
        hook.offload()
    matrices(module)


def aligned(module: Tied) -> None:
    add_hook_to_module(module, AlignDevicesHook(CPU, place_submodules=True))


def offloaded_with_ties(module: Tied) -> None:
    attach_align_device_hook(
        module,
        execution_device=CPU,
        offload=True,
        weights_map=dict(module.state_dict()),
        tied_params_map={module.table.weight.data_ptr(): {}},
    )


def dispatched(module: Tied) -> None:
    dispatch_model(module, {"": "cpu"}, force_hooks=True)


@pytest.mark.parametrize("attach", [aligned, offloaded_with_ties, dispatched])
def test_hooks_bring_each_weight_and_no_other(attach: Callable[[Tied], None]) -> None:
    """Weights of one shape, of which Accelerate tells the tied ones apart by where they lie."""
    module, expected = pair()
    attach(module)
    for _ in range(2):
        assert module(ROWS).equal(expected)
    matrices(module)


def test_plain_weights_are_not_put_in_the_place_of_stored_ones() -> None:
    module, _ = pair()
    cpu_offload(module, CPU, state_dict=Tied().state_dict())
    with pytest.raises(TypeError, match="the module's own state_dict"):
        module(ROWS)


def test_offload_to_disk_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    module, expected = pair()
    with pytest.raises(TypeError, match=r"no memory in torch\.float32"):
        disk_offload(module, str(tmp_path), CPU)
    assert module(ROWS).equal(expected)
