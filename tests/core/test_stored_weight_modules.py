"""What people do with modules, done to one whose weights are stored in half precision."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from ldm_core.model.stored_weight import StoredWeight, stored


class Tied(nn.Module):
    """A table, the same as the last layer, and a layer between."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.layer = nn.Linear(8, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.table.weight

    def forward(self, rows: Tensor) -> Tensor:
        answer: Tensor = self.head(self.layer(self.table(rows)))
        return answer


ROWS = torch.arange(5)


@pytest.fixture
def original() -> Tied:
    torch.manual_seed(0)
    return Tied().to(torch.bfloat16).requires_grad_(False)


@pytest.fixture
def module(original: Tied) -> Tied:
    other = stored(original, torch.float32)
    assert isinstance(other, Tied)
    return other


def expected(original: Tied, dtype: torch.dtype = torch.float32) -> Tensor:
    """The answer of the same weights, all in one type."""
    answer: Tensor = copy.deepcopy(original).to(dtype)(ROWS)
    return answer


def check_stored(module: Tied, dtype: torch.dtype = torch.float32) -> None:
    """Its matrices are parameters kept in bfloat16 that say another type, and tied as they were."""
    for layer in (module.table, module.layer, module.head):
        weight = layer.weight
        assert isinstance(weight, StoredWeight)
        assert isinstance(weight, nn.Parameter)
        assert weight.dtype == dtype
        assert weight.stored.dtype == torch.bfloat16
        assert weight.device == weight.stored.device
    assert module.head.weight is module.table.weight
    assert len(list(module.parameters())) == 3


def pointer(module: Tied) -> int:
    weight = module.layer.weight
    assert isinstance(weight, StoredWeight)
    return weight.stored.data_ptr()


COPIES: dict[str, Callable[[Tied], Tied]] = {
    "deepcopy": copy.deepcopy,
    "deepcopy of a deepcopy": lambda module: copy.deepcopy(copy.deepcopy(module)),
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
}


@pytest.mark.parametrize("other", COPIES.values(), ids=COPIES.keys())
def test_a_copy_is_kept_as_narrow_and_shares_nothing(
    module: Tied, original: Tied, other: Callable[[Tied], Tied]
) -> None:
    twin = other(module)
    check_stored(twin)
    assert pointer(twin) != pointer(module)
    assert twin(ROWS).equal(expected(original))


def test_a_deep_copy_keeps_what_shares_memory_together() -> None:
    table = torch.randn(4, 2, dtype=torch.bfloat16)
    parts = [StoredWeight(table[:2], torch.float32), StoredWeight(table[2:], torch.float32)]
    first, second = copy.deepcopy(parts)
    assert second.stored.data_ptr() - first.stored.data_ptr() == 8
    assert second.stored.equal(table[2:])


def test_a_clone_and_a_view_are_those_of_the_stored_weight(original: Tied) -> None:
    narrow = original.layer.weight
    weight = StoredWeight(narrow, torch.float32)
    clone, view = weight.clone(), weight[2:, 1:]
    assert isinstance(clone, StoredWeight)
    assert isinstance(view, StoredWeight)
    assert clone.stored.equal(narrow)
    assert clone.stored.data_ptr() != narrow.data_ptr()
    assert view.stored.equal(narrow[2:, 1:])
    assert view.stored.data_ptr() == narrow[2:, 1:].data_ptr()
    assert (view.shape, view.stride(), view.storage_offset()) == ((6, 7), (8, 1), 17)


def test_on_another_device_it_stays_stored(module: Tied, original: Tied) -> None:
    assert module.to("meta") is module
    check_stored(module)
    assert module.head.weight.device.type == "meta"
    assert original.head.weight.device.type == "cpu"
    assert original(ROWS).equal(expected(original, torch.bfloat16))


def test_on_its_own_device_nothing_is_copied_unless_wanted(module: Tied, original: Tied) -> None:
    module.to("cpu")
    check_stored(module)
    assert pointer(module) == original.layer.weight.data_ptr()
    weight = module.layer.weight.to("cpu", copy=True)
    assert isinstance(weight, StoredWeight)
    assert weight.stored.data_ptr() != pointer(module)
    assert weight.stored.equal(original.layer.weight)


def test_another_layout_is_one_of_the_stored_weight() -> None:
    layer = nn.Conv2d(4, 4, 3, dtype=torch.bfloat16)
    weight = stored(layer, torch.float32).to(memory_format=torch.channels_last).weight
    assert isinstance(weight, StoredWeight)
    assert weight.stored.is_contiguous(memory_format=torch.channels_last)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert layer.weight.is_contiguous()


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_a_wider_type_is_what_it_computes_in(
    module: Tied, original: Tied, mode: Callable[[], Any]
) -> None:
    with mode():
        module.float()
        check_stored(module)
        assert pointer(module) == original.layer.weight.data_ptr()
        module.double()
        check_stored(module, torch.float64)
        assert module(ROWS).equal(expected(original, torch.float64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_type_that_is_not_wider_makes_it_plain(
    module: Tied, original: Tied, dtype: torch.dtype
) -> None:
    module.to(dtype)
    assert {type(weight) for weight in module.parameters()} == {nn.Parameter}
    assert {weight.dtype for weight in module.parameters()} == {dtype}
    assert module.head.weight is module.table.weight
    assert module(ROWS).equal(expected(original, dtype))
    module.layer.weight.zero_()
    assert original.layer.weight.count_nonzero() == 64


def test_its_data_may_be_another_one(module: Tied) -> None:
    other = torch.randn(8, 8, dtype=torch.bfloat16)
    module.layer.weight.data = StoredWeight(other, torch.float32)
    check_stored(module)
    assert module.layer(torch.eye(8)).equal(other.float().T + module.layer.bias)
    module.layer.weight.data = other
    assert type(module.layer.weight) is nn.Parameter
    assert module.layer.weight.equal(other)


def test_shared_memory_is_that_of_the_stored_weight(module: Tied, original: Tied) -> None:
    assert not module.layer.weight.is_shared()
    module.share_memory()
    check_stored(module)
    weight = module.layer.weight
    assert isinstance(weight, StoredWeight)
    assert weight.is_shared()
    assert weight.stored.is_shared()
    assert module(ROWS).equal(expected(original))
    theirs = pickle.loads(ForkingPickler.dumps(module))  # as another process would receive it
    check_stored(theirs)
    weight.stored.fill_(3)
    assert theirs.layer.weight.stored.eq(3).all()


def test_a_state_dict_can_be_assigned_and_not_copied_in(module: Tied, original: Tied) -> None:
    weights = copy.deepcopy(module.state_dict())
    assert isinstance(weights["layer.weight"], StoredWeight)
    before = original.layer.weight.clone()
    with pytest.raises(RuntimeError, match="before they are stored"):
        module.load_state_dict(Tied().state_dict())
    assert original.layer.weight.equal(before)
    twin = stored(Tied().to(torch.bfloat16), torch.float32)
    twin.load_state_dict(weights, assign=True)
    assert isinstance(twin.get_submodule("layer").weight, StoredWeight)
    assert twin(ROWS).equal(expected(original))


READERS: dict[str, Callable[[Tied, Path], Any]] = {
    "save_file": lambda module, file: save_file(
        {"weight": module.state_dict()["layer.weight"]}, file
    ),
    "save_model": lambda module, file: save_model(module, str(file)),
    "numpy": lambda module, file: module.layer.weight.numpy(),
    "array": lambda module, file: np.asarray(module.layer.weight),
    "dlpack": lambda module, file: torch.from_dlpack(module.layer.weight),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_its_memory_is_not_read_as_if_it_were_wide(
    module: Tied, tmp_path: Path, read: Callable[[Tied, Path], Any]
) -> None:
    with pytest.raises(TypeError, match=r"has no memory in torch.float32.*\.stored"):
        read(module, tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())
