"""What a network is told of the rows of a call, whatever order a scheduler asks for points in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.contracts import Call, Grid
from ldm_core.numerics.point import Point
from ldm_core.run.weights import Weights

STEPS = 5


def test_rows_say_where_they_lie(pipe: Pipeline) -> None:
    """The grid's points forwards, again, backwards, by a copy, and between them."""
    calls: list[Call] = []
    asked: list[tuple[Point, int]] = []

    def heard(call: Call) -> Tensor:
        calls.append(call)
        return call.x

    def wander(x: Tensor, grid: Grid, denoise: Any, noise: Any) -> Tensor:
        between = grid.between(grid[2], grid[3])
        asked.extend((grid[i], i) for i in (0, 1, 1, 4, 3, 2, 0))
        asked.append((replace(grid[3]), 3))
        asked.extend([(between, 2), (grid[2], 2), (between, 2), (grid[0], 0)])
        for point, _ in asked:
            denoise(x, point)
        return x

    weights = Weights.of(replace(pipe.model, network=heard))
    own = replace(pipe, weights=weights, unconverted=weights)
    own = own.replace(scheduler=wander, guidance={"scale": 3.0})
    own("a star", seed=[1, 2], num_inference_steps=STEPS, output_type="latent")
    assert len(calls) == len(asked) == 12
    for call, (point, step) in zip(calls, asked, strict=True):
        assert call.t.tolist() == pytest.approx([point.t] * 4, rel=1e-6)
        assert call.t.is_contiguous()
        assert [(row.image, row.branch) for row in call.rows] == [
            (image, branch) for branch in ("negative", "positive") for image in (0, 1)
        ]
        assert {(row.point, row.step, row.steps) for row in call.rows} == {(point, step, STEPS)}
