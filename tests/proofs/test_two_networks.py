"""A family of two networks, one above a boundary of noise and one below, in one call."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch

from ldm_core.contracts import Call, LatentSpace, take
from third_party import Toy, gaussian_velocity, noise_of, pipeline

BOUNDARY = 875.0
PICTURE = LatentSpace.of_picture(4, 8)
EXTENT = {"height": 16, "width": 16}


def dispatching(high: list[float], low: list[float]) -> object:
    """A network that hands each row to the one of two that knows its noise."""

    def network(call: Call) -> torch.Tensor:
        output = torch.empty_like(call.x)
        for above, asked, mean in ((True, high, 0.3), (False, low, -0.2)):
            rows = [i for i, t in enumerate(call.t.tolist()) if (t >= BOUNDARY) == above]
            if rows:
                asked += call.t[rows].tolist()
                part = Call(
                    call.x[rows], call.t[rows], take(call.condition, rows),
                    tuple(call.rows[i] for i in rows),
                )  # fmt: skip
                output[rows] = gaussian_velocity(part, mean)
        return output

    return network


def test_each_step_asks_the_network_of_its_noise(tmp_path: Path) -> None:
    high: list[float] = []
    low: list[float] = []
    family = Toy(dispatching(high, low), PICTURE, EXTENT, defaults={"decoder": "pixels"})  # type: ignore[arg-type]
    pipe = pipeline(family, tmp_path, {"num_inference_steps": 20})
    latents = pipe(seed=[1, 2], output_type="latent").images
    grid = pipe.composition.grid(20)
    assert sorted({*high}, reverse=True) == [p.t for p in grid if p.t >= BOUNDARY]
    assert sorted({*low}, reverse=True) == [p.t for p in grid[:-1] if p.t < BOUNDARY]
    # Euler by hand, with the mean that each network was made for
    x = noise_of(pipe, [1, 2], EXTENT)
    for here, there in pairwise(grid):
        call = Call(x, torch.full((2,), here.t), {}, ())
        x = x + (there.sigma - here.sigma) * gaussian_velocity(
            call, 0.3 if here.t >= BOUNDARY else -0.2
        )
    torch.testing.assert_close(latents, x, atol=1e-5, rtol=0)


def test_rows_of_one_call_may_lie_on_both_sides() -> None:
    high: list[float] = []
    low: list[float] = []
    network = dispatching(high, low)
    x = torch.randn(3, 4, 2, 2)
    call = Call(x, torch.tensor([900.0, 100.0, 880.0]), {}, ((), (), ()))  # type: ignore[arg-type]
    together = network(call)  # type: ignore[operator]
    assert (high, low) == ([900.0, 880.0], [100.0])
    for i, t in enumerate(call.t):
        alone = network(Call(x[i : i + 1], t[None], {}, ((),)))  # type: ignore[operator,arg-type]
        torch.testing.assert_close(together[i : i + 1], alone)
