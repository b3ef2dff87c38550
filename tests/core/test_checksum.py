"""A number that stands for all of a tensor's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ldm_core.run.checksum import WIDTH, checksum, weighed


@pytest.mark.parametrize("number", [checksum, weighed])
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8]
)
def test_it_is_another_where_one_number_is(
    number: Callable[[Tensor], int], dtype: torch.dtype
) -> None:
    """On a CPU, and on other devices; whichever number it is, and where two change places."""
    plain = (torch.arange(2 * WIDTH + 5) % 100).to(dtype)
    first = number(plain)
    assert number(plain.clone()) == first
    for place in (0, 7, WIDTH, 2 * WIDTH + 4):
        other = plain.clone()
        other[place] += 1
        assert number(other) != first
    swapped = plain.clone()
    swapped[3], swapped[8] = plain[8], plain[3]
    assert number(swapped) != first


def test_it_is_of_any_layout() -> None:
    x = torch.randn(3, 4, dtype=torch.complex64)
    assert checksum(x.T) == checksum(x.T.contiguous())
    assert checksum(torch.empty(0)) == checksum(torch.empty(0, 3))
