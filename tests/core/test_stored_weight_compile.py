"""Modules whose weights are stored in half precision, compiled."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ldm_core.model.stored_weight import stored


class Attention(nn.Module):
    """One layer of attention, whose three projections are pieces of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 8)
        self.positions = nn.Parameter(torch.randn(1, 7, 8))
        self.projections = nn.Parameter(torch.randn(24, 8))
        self.convolution = nn.Conv1d(8, 8, 3, padding=1)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        x = x + self.table(rows) + self.positions[:, : x.shape[1]].expand(len(x), -1, -1)
        q, k, v = (nn.functional.linear(x, weight) for weight in self.projections.chunk(3))
        x = x + nn.functional.scaled_dot_product_attention(q, k, v)
        answer: Tensor = self.convolution(x.mT)
        return answer


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def pair() -> tuple[nn.Module, nn.Module]:
    """A module kept in bfloat16 that computes in float32, and the same all in float32."""
    torch.manual_seed(0)
    narrow = Attention().to(torch.bfloat16).requires_grad_(False)
    return stored(narrow, torch.float32), copy.deepcopy(narrow).float()


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 5, 8, requires_grad=True), torch.randint(9, (batch, 5))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_without_a_break_it_computes_the_same(backend: str, dynamic: bool) -> None:
    module, wide = pair()
    program = torch.compile(module, backend=backend, fullgraph=True, dynamic=dynamic)
    for batch in (2, 3):
        x, rows = inputs(batch)
        answer, expected = program(x, rows), wide(x, rows)
        assert answer.equal(expected)
        slopes = [torch.autograd.grad(y.square().sum(), x)[0] for y in (answer, expected)]
        assert slopes[0].equal(slopes[1])


@torch.no_grad()
def test_a_program_sees_that_its_weights_are_of_another_type_now() -> None:
    module, wide = pair()
    program = torch.compile(module, backend="aot_eager", fullgraph=True)
    x, rows = inputs(2)
    assert program(x, rows).equal(wide(x, rows))
    module.double()
    assert program(x.double(), rows).equal(wide.double()(x.double(), rows))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_inductor_makes_the_program_that_it_makes_of_wide_weights() -> None:
    module, wide = pair()
    x, rows = inputs(2)
    answers = [torch.compile(each, fullgraph=True)(x, rows) for each in (module, wide)]
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(answers[0], wide(x, rows), rtol=1e-5, atol=1e-5)
