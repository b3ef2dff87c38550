"""Weights kept in half precision: computed with as if they were float32, and kept as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ldm_core.model.stored_weight import StoredWeight, compute_in, stored


class Mixed(nn.Module):
    """Layers of the usual kinds, a tied weight, and parameters that are used by themselves."""

    shift: Tensor
    order: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.convolution = nn.Conv1d(8, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.frame = nn.Parameter(torch.randn(6, 8))
        self.positions = nn.Parameter(torch.randn(1, 9, 8))
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.table.weight
        self.register_buffer("shift", torch.randn(8))
        self.register_buffer("order", torch.arange(6))

    def forward(self, x: Tensor) -> Tensor:
        embedding = self.table(self.order).T.to(self.frame.dtype)
        x = self.norm(self.convolution(x + embedding)).transpose(1, 2)
        x = x + self.positions[:, :6].expand(len(x), -1, -1)
        rows = torch.cat([(x * self.frame).flatten(0, 1), self.frame])
        out: Tensor = self.head(rows + self.shift)
        return out


def original(dtype: torch.dtype = torch.bfloat16) -> Mixed:
    torch.manual_seed(0)
    return Mixed().to(dtype).requires_grad_(False)


def pair(dtype: torch.dtype = torch.bfloat16) -> tuple[Mixed, Mixed]:
    """A module kept in a type that computes in float32, and the same all in float32."""
    narrow = original(dtype)
    module = stored(narrow, torch.float32)
    assert isinstance(module, Mixed)
    return module, copy.deepcopy(narrow).float()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("in_place", [False, True])
def test_it_computes_what_the_widened_module_computes(dtype: torch.dtype, in_place: bool) -> None:
    kept, wide = pair(dtype)
    if in_place:
        kept = original(dtype)
        compute_in(kept, torch.float32)
        assert kept.head.weight is kept.table.weight
    x = torch.randn(3, 8, 6, requires_grad=True)
    answer, expected = kept(x), wide(x)
    assert answer.dtype == torch.float32
    assert answer.equal(expected)
    slopes = [torch.autograd.grad(y.square().sum(), x)[0] for y in (answer, expected)]
    assert slopes[0].equal(slopes[1])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_computes_the_same_without_a_graph(mode: Callable[[], Any]) -> None:
    kept, wide = pair()
    x = torch.randn(3, 8, 6)
    with mode():
        assert kept(x).equal(wide(x))


def test_matrices_are_kept_as_they_are_and_say_what_they_compute_in() -> None:
    kept, _ = pair()
    weights = dict(kept.named_parameters())
    for name in ("table.weight", "convolution.weight", "frame", "positions"):
        weight = weights.pop(name)
        assert isinstance(weight, StoredWeight)
        assert weight.dtype == torch.float32
        assert weight.stored.dtype == torch.bfloat16
        assert weight.stored.untyped_storage().nbytes() == 2 * weight.numel()
        assert not weight.requires_grad
    assert {type(weight) for weight in weights.values()} == {nn.Parameter}
    assert {t.dtype for t in (*weights.values(), kept.shift)} == {torch.float32}
    assert kept.head.weight is kept.table.weight
    assert kept.order.dtype == torch.int64


@pytest.mark.parametrize("in_place", [False, True])
def test_in_one_type_throughout_nothing_is_put_in_between(in_place: bool) -> None:
    module = original(torch.float32)
    before = dict(module.named_parameters())
    if in_place:
        compute_in(module, torch.float32)
        assert all(weight is before[name] for name, weight in module.named_parameters())
    other = stored(module, torch.float32)
    for name, weight in other.named_parameters():
        assert type(weight) is nn.Parameter
        assert weight.data_ptr() == before[name].data_ptr()


def test_the_original_stays_what_it_is_and_lends_its_memory() -> None:
    module = original()
    module.norm.float()
    before = {name: (tensor, tensor.clone()) for name, tensor in state(module)}
    other = stored(module, torch.float32)
    assert isinstance(other, Mixed)
    other(torch.randn(3, 8, 6))
    other.norm.bias.zero_()
    other.shift.zero_()
    other.double()
    for name, tensor in state(module):
        assert tensor is before[name][0]
        assert tensor.dtype == before[name][1].dtype
        assert tensor.equal(before[name][1])
    assert not {id(part) for part in module.modules()} & {id(part) for part in other.modules()}
    again = stored(module, torch.float32)
    assert isinstance(again, Mixed)
    assert isinstance(again.frame, StoredWeight)
    assert again.frame.stored.data_ptr() == module.frame.data_ptr()


def state(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def test_of_what_is_stored_already_nothing_is_stored_twice() -> None:
    module = original()
    twice = stored(stored(module, torch.float32), torch.float64)
    assert isinstance(twice, Mixed)
    assert isinstance(twice.frame, StoredWeight)
    assert type(twice.frame.stored) is Tensor
    assert twice.frame.stored.data_ptr() == module.frame.data_ptr()
    x = torch.randn(3, 8, 6, dtype=torch.float64)
    assert twice(x).equal(copy.deepcopy(module).double()(x))


def test_of_a_table_only_the_rows_that_are_looked_up_are_widened() -> None:
    kept, wide = pair()
    rows = torch.tensor([[3, 40], [7, 3]])
    with torch.profiler.profile(record_shapes=True) as profile:
        answer = kept.table(rows)
    events = [event for event in profile.events() if event.name == "aten::_to_copy"]
    assert [event.input_shapes[0] for event in events] == [[2, 2, 8]]
    assert answer.equal(wide.table(rows))


CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "itself": lambda weight: weight.mul_(2),
    "data": lambda weight: weight.data.mul_(2),
    "row": lambda weight: weight[0].mul_(2),
    "column": lambda weight: weight[:, 0].mul_(2),
    "entry": lambda weight: weight.__setitem__((0, 0), 1),
    "flat": lambda weight: weight.flatten().zero_(),
    "chunk": lambda weight: weight.chunk(2)[1].zero_(),
    "list": lambda weight: torch._foreach_mul_([weight], 2),
    "out": lambda weight: torch.add(torch.ones(6, 8), 1, out=weight),
    "initialise": nn.init.zeros_,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_to_it_is_refused_and_not_lost(change: Callable[[Tensor], Any]) -> None:
    kept, _ = pair()
    with pytest.raises(TypeError, match="a wide copy"), torch.no_grad():
        change(kept.frame)


def test_several_threads_may_call_it() -> None:
    kept, wide = pair()
    inputs = [torch.randn(3, 8, 6) for _ in range(4)]
    expected = [wide(x) for x in inputs]

    def same(number: int) -> bool:
        return all(kept(inputs[number]).equal(expected[number]) for _ in range(50))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(same, range(4)))
