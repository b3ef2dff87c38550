"""Sums of tensors times numbers: what they are, and that what they are made of stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ldm_core.numerics.linear_form import LinearForm, symbol
from ldm_core.numerics.sums import lerp, weighted_sum

NUMBERS = {
    "a product": (0.3,),
    "one and more": (1.0, -0.7),
    "three": (2.5, 0.1, -4.0),
    "one alone": (1.0,),
    "none of the first": (0.0, 1.0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=list(NUMBERS))
def test_a_sum_is_a_tensor_of_its_own(numbers: tuple[float, ...], dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(2, 3, generator=draw).to(dtype) for _ in numbers]
    before = [tensor.clone() for tensor in tensors]
    total = weighted_sum(*zip(numbers, tensors, strict=True))
    exact = sum(n * t.double().numpy() for n, t in zip(numbers, before, strict=True))
    assert total.dtype is dtype
    assert np.allclose(total.double().numpy(), exact, rtol=0, atol=16 * torch.finfo(dtype).eps)
    assert total.data_ptr() not in {tensor.data_ptr() for tensor in tensors}
    assert all(a.equal(b) for a, b in zip(tensors, before, strict=True))


def test_a_sum_of_forms_arrays_and_numbers_is_one() -> None:
    form = weighted_sum((2.0, symbol("x")), (-1.0, symbol("y")), (0.5, symbol("x")))  # type: ignore[arg-type]
    assert form == LinearForm({"x": 2.5, "y": -1.0})
    array = weighted_sum((1.0, np.array([1.0, 2.0])), (3.0, np.array([0.0, 1.0])))  # type: ignore[arg-type]
    assert array.tolist() == [1.0, 5.0]
    assert weighted_sum((1.0, 2.0), (3.0, 4.0)) == 14.0  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [-1.0, 0.0, 0.3, 1.0, 7.5])
def test_between_two_and_beyond_them(weight: float) -> None:
    start, end = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 5.0])
    exact = [1 + weight * 2, -2 + weight * 7]
    assert lerp(start, end, weight).tolist() == pytest.approx(exact, rel=1e-6, abs=1e-6)
    form = lerp(symbol("a"), symbol("b"), weight)  # type: ignore[arg-type]
    assert dict(form.terms) == pytest.approx({"a": 1 - weight, "b": weight})  # type: ignore[attr-defined]
