"""What is done with shapes alone is what torch does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ldm_core.model.shapes_alone import of_shapes_alone

META = torch.device("meta")


def described(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.device, tensor.stride()


@pytest.mark.parametrize(
    ("func", "args", "options"),
    [
        (torch.arange, (7,), {"device": META}),
        (torch.arange, (0,), {"device": "meta"}),
        (torch.arange, (7,), {"device": META, "dtype": None}),
        (torch.empty_like, (torch.empty(2, 3, device=META),), {}),
        (torch.empty_like, (torch.empty(2, 3, device=META),), {"device": "cpu"}),
        (torch.empty_like, (torch.empty(2, device=META),), {"dtype": torch.int8, "device": "cpu"}),
    ],
)
def test_it_is_what_torch_makes(
    func: Callable[..., Tensor], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    made = of_shapes_alone(func, args, options)
    assert made is not None
    assert described(made) == described(func(*args, **options))


@pytest.mark.parametrize("draw", [nn.init.normal_, nn.init.kaiming_uniform_, nn.init.zeros_])
def test_nothing_is_drawn_into_what_has_no_numbers(draw: Callable[..., Tensor]) -> None:
    tensor = torch.empty(4, 4, device=META)
    before = torch.get_rng_state()
    assert of_shapes_alone(draw, (tensor,), {}) is tensor
    assert of_shapes_alone(draw, (), {"tensor": tensor}) is tensor
    assert described(draw(tensor)) == described(tensor)
    assert torch.equal(before, torch.get_rng_state())
    assert of_shapes_alone(draw, (torch.empty(4, 4),), {}) is None


@pytest.mark.parametrize(
    ("func", "args", "options"),
    [
        (torch.arange, (7,), {}),
        (torch.arange, (7.0,), {"device": META}),
        (torch.arange, (-1,), {"device": META}),
        (torch.arange, (1, 7), {"device": META}),
        (torch.arange, (7,), {"device": META, "dtype": torch.float32}),
        (torch.empty_like, (torch.empty(2, 3, device=META).t(),), {}),
        (torch.empty_like, (torch.empty(2, 3),), {}),
        (torch.empty_like, (torch.empty(2, 3, device=META),), {"pin_memory": True}),
        (torch.zeros, (3,), {"device": META}),
    ],
)
def test_all_else_is_left_to_torch(
    func: Callable[..., Tensor], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    assert of_shapes_alone(func, args, options) is None
