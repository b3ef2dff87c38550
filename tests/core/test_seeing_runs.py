"""Wrappers and observers that see the run that they are part of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from ldm_core import LdmError, Pipeline, chain
from ldm_core.contracts import (
    Call,
    Grid,
    LatentSpace,
    Run,
    RunObserver,
    Scheduler,
    Step,
    Wrapper,
    as_observer,
    as_wrapper,
    fits,
    runs_on,
    sees_run,
)
from ldm_core.errors import PluginError
from third_party import Toy, gaussian_velocity, pipeline

PICTURE = LatentSpace.of_picture(3, 1)
EXTENT = {"height": 4, "width": 6}


def decoded(model: Any, x0: Tensor) -> Tensor:
    return x0.clamp(-1, 1)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    family = Toy(gaussian_velocity, PICTURE, EXTENT, defaults={"num_inference_steps": 3})
    place = tmp_path_factory.mktemp("toy")
    return pipeline(family, place, decoders={"toy": lambda: decoded})


def latents(pipe: Pipeline, **call: Any) -> Tensor:
    images: Tensor = pipe(output_type="latent", **call).images
    return images


def test_a_wrapper_sees_the_seeds_and_the_grid_of_its_run(toy: Pipeline) -> None:
    seen: list[tuple[list[int], int]] = []

    @sees_run
    def by_seed(denoise: Any, run: Run, *, share: float = 1.0) -> Any:
        seen.append((list(run.request.seeds), len(run.grid)))
        even = torch.tensor([seed % 2 == 0 for seed in run.request.seeds])

        def changed(x: Tensor, point: Any) -> Tensor:
            x0: Tensor = denoise(x, point)
            return torch.where(even.reshape(-1, 1, 1, 1), x0 * (1 - share), x0)

        return changed

    plain = latents(toy, seed=[1, 2, 3])
    changed = latents(toy.replace(denoisers=[by_seed]), seed=[1, 2, 3], batch_size=2)
    assert seen == [([1, 2], 4), ([3], 4)]
    assert changed[0].equal(plain[0])
    assert changed[2].equal(plain[2])
    assert not changed[1].any()  # x0 is nought, where the end point lies
    off = toy.replace(denoisers=[{"name": by_seed, "share": 0.0}])
    assert latents(off, seed=[1, 2, 3]).equal(plain)


def test_a_wrapper_that_sees_the_run_stands_under_a_scheduler_that_asks_between_points(
    toy: Pipeline,
) -> None:
    asked: list[float] = []

    @sees_run
    def noting(denoise: Any, run: Run) -> Any:
        def noted(x: Tensor, point: Any) -> Tensor:
            asked.append(point.t)
            x0: Tensor = denoise(x, point)
            return x0

        return noted

    def between(x: Tensor, grid: Grid, denoise: Any, noise: Any) -> Tensor:
        for here, there in pairwise(grid):
            denoise(x, grid.between(here, there) if there.sigma else here)
            x = there.alpha * denoise(x, here) + there.sigma * x
        return x

    pipe = toy.replace(scheduler=between, denoisers=[noting])
    latents(pipe, seed=1)
    points = [point.t for point in pipe.composition.grid(3)]
    assert len(asked) == 6
    assert asked[1::2] == points[:-1]
    assert points[1] > asked[2] > points[2]


class Log(RunObserver):
    """Notes what it hears of."""

    def __init__(self, run: Run, said: list[Any]) -> None:
        request = run.request
        self.said = said
        said.append(("run", list(request.seeds), list(request.of_call), request.call_images))

    def step(self, step: Step) -> None:
        self.said.append(("step", step.index))

    def finish(self, output: Any) -> None:
        self.said.append(("finish", output.seeds, len(output.images), output.indices))

    def fail(self, error: BaseException) -> None:
        self.said.append(("fail", type(error).__name__))


def logging_to(said: list[Any]) -> Any:
    @sees_run
    def log(run: Run) -> Log:
        return Log(run, said)

    return log


def test_an_observer_hears_of_the_run_its_place_in_the_call_and_the_pictures(
    toy: Pipeline,
) -> None:
    said: list[Any] = []
    watched = toy.replace(observers=[logging_to(said)])
    pictures = watched(seed=[5, 6, 7], batch_size=2, output_type="pt").images
    steps = [("step", 0), ("step", 1), ("step", 2)]
    assert said == [
        ("run", [5, 6], [0, 1], 3),
        *steps,
        ("finish", [5, 6], 2, [0, 1]),
        ("run", [7], [2], 3),
        *steps,
        ("finish", [7], 1, [0]),
    ]
    assert pictures.equal(toy(seed=[5, 6, 7], output_type="pt").images)


def test_old_and_new_observers_hear_in_their_order(toy: Pipeline) -> None:
    said: list[Any] = []

    @contextmanager
    def plain(grid: Grid) -> Iterator[Any]:
        said.append(("open", len(grid)))
        yield lambda step: said.append(("plain", step.index))
        said.append("closed")

    latents(toy.replace(observers=[plain, logging_to(said)]), seed=1, num_inference_steps=1)
    assert said == [
        ("open", 2),
        ("run", [1], [0], 1),
        ("plain", 0),
        ("step", 0),
        "closed",
        ("finish", [1], 1, [0]),
    ]


def test_an_observer_shows_a_step_by_the_pipelines_own_decoder(toy: Pipeline) -> None:
    shown: list[Tensor] = []

    @sees_run
    def preview(run: Run) -> RunObserver:
        class Preview(RunObserver):
            def step(self, step: Step) -> None:
                shown.append(run.decode(step.x0).data)

        return Preview()

    out = toy.replace(observers=[preview])(seed=1, output_type="latent")
    assert len(shown) == 3
    # the last estimate is where the walk ends, so its picture is the one that is made
    torch.testing.assert_close(shown[-1], toy.decode(out.images))


def test_a_preview_leaves_the_picture_as_it_is_where_a_kernel_is_in_force(pipe: Pipeline) -> None:
    shown: list[tuple[Tensor, Tensor]] = []

    class Preview(RunObserver):
        def __init__(self, run: Run) -> None:
            self.decode = run.decode

        def step(self, step: Step) -> None:
            shown.append((step.x0, self.decode(step.x0).data))

    @sees_run
    def preview(run: Run) -> RunObserver:
        return Preview(run)

    sliced = pipe.replace(attention="sliced")
    call: dict[str, Any] = {"prompt": "a star", "seed": [1, 2], "output_type": "latent"}
    seen = sliced.replace(observers=[preview])(**call).images
    assert seen.equal(sliced(**call).images)
    assert len(shown) == 4
    for x0, pixels in shown:
        assert pixels.equal(sliced.decode(x0))


@pytest.mark.parametrize("what", ["noise", "to_latents"])
def test_an_observer_draws_nothing_from_the_seeds(toy: Pipeline, what: str) -> None:
    @sees_run
    def drawing(run: Run) -> RunObserver:
        _ = run.noise() if what == "noise" else run.to_latents(torch.zeros(1, 3, 4, 6))
        return RunObserver()

    with pytest.raises(LdmError, match="would change its pictures"):
        toy.replace(observers=[drawing])(seed=1)


def test_an_observer_hears_of_a_walk_that_fails(toy: Pipeline) -> None:
    said: list[Any] = []

    def failing(x: Tensor, grid: Grid, denoise: Any, noise: Any) -> Tensor:
        denoise(x, grid[0])
        raise ZeroDivisionError

    # this module's code is that of the toy's package too
    with pytest.raises(PluginError, match="at step 1 of 3: ZeroDivisionError"):
        toy.replace(scheduler=failing, observers=[logging_to(said)])(seed=1)
    assert said == [("run", [1], [0], 1), ("step", 0), ("fail", "PluginError")]


def test_an_observer_hears_of_a_decoder_that_fails(toy: Pipeline) -> None:
    said: list[Any] = []

    def broken(model: Any, x0: Tensor) -> Tensor:
        raise ZeroDivisionError

    pipe = toy.replace(decoder=broken, observers=[logging_to(said)], num_inference_steps=1)
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        pipe(seed=1)
    assert said[1:] == [("step", 0), ("fail", "PluginError")]


@pytest.mark.filterwarnings("ignore:the memory does not suffice")
def test_a_batch_that_is_made_again_in_halves_is_told_as_runs_of_their_own(toy: Pipeline) -> None:
    said: list[Any] = []

    def narrow(denoise: Any) -> Any:
        def narrowed(x: Tensor, point: Any) -> Tensor:
            if len(x) > 1:
                raise MemoryError
            x0: Tensor = denoise(x, point)
            return x0

        return narrowed

    pipe = toy.replace(denoisers=[narrow], observers=[logging_to(said)], num_inference_steps=1)
    pipe(seed=[1, 2])
    assert said == [
        ("run", [1, 2], [0, 1], 2),
        ("fail", "MemoryError"),
        ("run", [1], [0], 2),
        ("step", 0),
        ("finish", [1], 1, [0]),
        ("run", [2], [1], 2),
        ("step", 0),
        ("finish", [2], 1, [0]),
    ]


def test_what_an_observer_raises_of_a_failure_hides_nothing(toy: Pipeline) -> None:
    class Angry(RunObserver):
        def step(self, step: Step) -> None:
            raise KeyError("first")

        def fail(self, error: BaseException) -> None:
            raise ValueError("second")

    @sees_run
    def angry(run: Run) -> RunObserver:
        return Angry()

    with pytest.raises(PluginError, match="KeyError: 'first'") as raised:
        toy.replace(observers=[angry])(seed=1)
    assert "Angry, an observer, failed when it was told: ValueError: second" in str(
        raised.value.__notes__
    )


def test_each_run_of_a_chain_hears_of_the_pictures(toy: Pipeline) -> None:
    first: list[Any] = []
    then: list[Any] = []
    both = chain(
        toy.replace(observers=[logging_to(first)]), toy.replace(observers=[logging_to(then)]), 0.5
    )
    both(seed=[3, 4])
    for said in (first, then):
        assert said[0] == ("run", [3, 4], [0, 1], 2)
        assert said[-1] == ("finish", [3, 4], 2, [0, 1])
        assert len(said) > 2


def test_images_that_are_not_finite_are_no_failure_of_the_run(toy: Pipeline) -> None:
    said: list[Any] = []

    @sees_run
    def spoiling(denoise: Any, run: Run) -> Any:
        lost = torch.tensor([seed == 2 for seed in run.request.seeds]).reshape(-1, 1, 1, 1)
        return lambda x, point: torch.where(lost, torch.nan, denoise(x, point))

    pipe = toy.replace(denoisers=[spoiling], observers=[logging_to(said)])
    with pytest.raises(LdmError, match="seed 2"):
        pipe(seed=[1, 2, 3])
    assert said[-1] == ("finish", [1, 3], 2, [0, 2])


def test_what_does_not_see_a_run_cannot_be_marked() -> None:
    def kernel(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any: ...
    def wrap(denoise: Any) -> Any: ...
    def watch(grid: Any) -> Any: ...

    with pytest.raises(LdmError, match="a Kernel cannot be marked 'sees_run'"):
        runs_on("cpu")(sees_run(kernel))  # type: ignore[arg-type]
    with pytest.raises(LdmError, match=r"a Wrapper is made of a function \(denoise, run\)"):
        as_wrapper(sees_run(wrap))
    with pytest.raises(LdmError, match="before other decorators"):
        sees_run(fits(lambda info: None)(Wrapper(wrap)))
    assert as_observer(sees_run(watch)).sees_run
    with pytest.raises(LdmError, match="marks a function"):
        sees_run(3)  # type: ignore[arg-type]


def test_an_observer_that_gives_something_else_is_refused(toy: Pipeline) -> None:
    wrong: Any = sees_run(lambda run: print)
    with pytest.raises(LdmError, match=r"made from ldm_core\.contracts\.RunObserver"):
        toy.replace(observers=[wrong])(seed=1)


def test_a_run_that_is_walked_in_parts_has_one_observer_and_a_wrapper_a_part(
    toy: Pipeline,
) -> None:
    said: list[Any] = []
    wrapped: list[int] = []

    @sees_run
    def counting(denoise: Any, run: Run) -> Any:
        wrapped.append(len(run.grid))
        return denoise

    pipe = toy.replace(denoisers=[counting], observers=[logging_to(said)])
    plan = pipe.composition.plan({}, [9])
    sampling = pipe.start(plan)
    x = sampling.walk(sampling.x, stop=2)
    sampling.walk(x, start=2)
    assert [one[0] for one in said] == ["run", "step", "step", "step"]
    assert wrapped == [4, 4]


def test_call_places_follow_images_that_are_left_out() -> None:
    from ldm_core.contracts import Request

    request = Request({"a": [1, 2, 3, 4]}, [5, 6, 7, 8], EXTENT, 3)
    left = request.at([1, 3])
    assert (left.of_call, left.call_images) == ([1, 3], 4)
    assert (list(left.images(1, 2).of_call), left.images(1, 2).call_images) == ([3], 4)


def test_calls_of_one_network_are_as_before(toy: Pipeline) -> None:
    """Nothing of this is asked where no part sees a run: the network is called as often."""
    calls: list[Call] = []

    def counted(call: Call) -> Tensor:
        calls.append(call)
        return gaussian_velocity(call)

    assert isinstance(toy.composition.scheduler, Scheduler)
    model = toy.model
    from dataclasses import replace

    from ldm_core.run.weights import Weights

    pipe = replace(toy, weights=Weights.of(replace(model, network=counted)))
    latents(pipe, seed=[1, 2])
    assert len(calls) == 3
