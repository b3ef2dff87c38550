"""Weights kept in half precision: computed with as if they were float32, and kept as they are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ldm_core.model.place import Place
from ldm_core.model.stored_weight import StoredWeight


class Mixed(nn.Module):
    """Layers of the usual kinds, a tied weight, and a parameter that is used by itself."""

    shift: Tensor
    order: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.convolution = nn.Conv1d(8, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.frame = nn.Parameter(torch.randn(6, 8))
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.table.weight
        self.register_buffer("shift", torch.randn(8))
        self.register_buffer("order", torch.arange(6))

    def forward(self, x: Tensor) -> Tensor:
        known = self.table(self.order).T.to(self.frame.dtype)
        x = self.norm(self.convolution(x + known)).transpose(1, 2)
        rows = torch.cat([(x * self.frame).flatten(0, 1), self.frame])
        out: Tensor = self.head(rows + self.shift)
        return out


def pair(dtype: torch.dtype = torch.bfloat16) -> tuple[Mixed, Mixed]:
    """A module kept in a type that computes in float32, and the same all in float32."""
    torch.manual_seed(0)
    narrow = Mixed().to(dtype)
    wide = copy.deepcopy(narrow).float()
    return Place(torch.device("cpu"), dtype, torch.float32).put(narrow), wide


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_computes_what_the_widened_module_computes(dtype: torch.dtype) -> None:
    kept, wide = pair(dtype)
    x = torch.randn(3, 8, 6, requires_grad=True)
    found, expected = kept(x), wide(x)
    assert found.dtype == torch.float32
    assert found.equal(expected)
    slopes = [torch.autograd.grad(y.square().sum(), x)[0] for y in (found, expected)]
    assert slopes[0].equal(slopes[1])


def test_matrices_are_kept_as_they_are_and_say_what_they_compute_in() -> None:
    kept, _ = pair()
    weights = dict(kept.named_parameters())
    for name in ("table.weight", "convolution.weight", "frame"):
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


def test_in_one_type_throughout_nothing_is_put_in_between() -> None:
    module = Mixed()
    before = {name: id(weight) for name, weight in module.named_parameters()}
    Place(torch.device("cpu"), torch.float32, torch.float32).put(module)
    assert {name: id(weight) for name, weight in module.named_parameters()} == before


def test_of_a_table_only_the_rows_that_are_looked_up_are_widened() -> None:
    kept, wide = pair()
    rows = torch.tensor([[3, 40], [7, 3]])
    with torch.profiler.profile(record_shapes=True) as seen:
        found = kept.table(rows)
    widened = [event.input_shapes[0] for event in seen.events() if event.name == "aten::_to_copy"]
    assert widened == [[2, 2, 8]]
    assert found.equal(wide.table(rows))


def test_a_deep_copy_is_kept_as_narrow_and_shares_nothing() -> None:
    kept, wide = pair()
    copied = copy.deepcopy(kept)
    assert isinstance(copied.frame, StoredWeight)
    assert copied.frame.stored.dtype == torch.bfloat16
    assert copied.frame.stored.data_ptr() != kept.frame.stored.data_ptr()
    assert copied.head.weight is copied.table.weight
    x = torch.randn(3, 8, 6)
    assert copied(x).equal(wide(x))


def test_a_change_to_it_is_refused_and_not_lost() -> None:
    kept, _ = pair()
    with pytest.raises(TypeError, match="a wide copy"), torch.no_grad():
        kept.frame.mul_(2)
