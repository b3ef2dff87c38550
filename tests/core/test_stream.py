"""A run gone through step by step is the run of a call, and ends when it is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import torch

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Grid, Step

CALL: dict[str, Any] = {"seed": 5, "num_inference_steps": 4, "output_type": "latent"}
LANGUAGE = ContextVar("LANGUAGE", default="none")


def streaming() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ldm-stream"]


def observed(pipe: Pipeline, heard: list[str]) -> Pipeline:
    """The pipeline with an observer that tells when it opens, hears and closes."""

    @contextmanager
    def hearing(grid: Grid) -> Iterator[Callable[[Step], None]]:
        heard.append("open")
        try:
            yield lambda step: heard.append("step")
        finally:
            heard.append("close")

    return pipe.replace(observers=[hearing])


@pytest.mark.parametrize("scheduler", ["euler", "heun", "euler_ancestral"])
def test_the_steps_and_latents_are_those_of_a_call(pipe: Pipeline, scheduler: str) -> None:
    chosen = pipe.replace(scheduler=scheduler, attention="chunked")
    told: list[Step] = []
    expected = chosen(["a star", "a moon"], on_step=told.append, **CALL)
    stream = chosen.stream(["a star", "a moon"], **CALL)
    steps = list(stream)
    assert stream.output.images.equal(expected.images)
    assert stream.output.seeds == expected.seeds
    assert stream.output.manifests == expected.manifests
    assert [(s.call, s.index, s.point) for s in steps] == [(s.call, s.index, s.point) for s in told]
    for step, other in zip(steps, told, strict=True):
        assert step.x.equal(other.x)
        assert step.x0.equal(other.x0)
    assert not streaming()


def test_nothing_is_computed_before_it_is_asked_for(pipe: Pipeline) -> None:
    heard: list[str] = []
    stream = observed(pipe, heard).stream("a star", **CALL)
    assert heard == []
    for i, _ in enumerate(stream, 1):
        assert heard == ["open", *["step"] * i]
    assert heard[-1] == "close"


@pytest.mark.parametrize("leave", ["break", "close", "raise", "forget"])
def test_leaving_ends_the_run_and_its_thread(pipe: Pipeline, leave: str) -> None:
    heard: list[str] = []
    stream = observed(pipe, heard).stream("a star", **CALL)
    seen = 0

    def go_through() -> None:
        nonlocal seen
        steps = iter(stream)
        if leave == "forget":
            seen += bool(next(steps)) + bool(next(steps))
            return
        for _ in steps:
            seen += 1
            if seen == 2 and leave == "break":
                break
            if seen == 2 and leave == "close":
                stream.close()
            if seen == 2 and leave == "raise":
                raise KeyboardInterrupt

    if leave == "raise":
        with pytest.raises(KeyboardInterrupt):
            go_through()
    else:
        go_through()
    assert seen == 2
    assert heard == ["open", "step", "step", "close"]
    assert not streaming()
    with pytest.raises(LdmError, match="not come to its end"):
        stream.output  # noqa: B018 - asking is what is refused
    with pytest.raises(LdmError, match="looped over once"):
        iter(stream)


def test_a_run_can_be_ended_from_another_thread(pipe: Pipeline) -> None:
    stream = pipe.stream("a star", **CALL)
    steps = iter(stream)
    next(steps)
    closing = threading.Thread(target=stream.close)
    closing.start()
    closing.join()
    assert list(steps) == []
    assert not streaming()


def test_a_stream_that_is_closed_first_never_begins(pipe: Pipeline) -> None:
    heard: list[str] = []
    stream = observed(pipe, heard).stream("a star", **CALL)
    stream.close()
    with pytest.raises(LdmError, match="looped over once"):
        list(stream)
    assert heard == []


def test_what_the_run_raises_is_raised_in_the_loop(pipe: Pipeline) -> None:
    def failing(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        denoise(x, grid[0])
        raise ZeroDivisionError("in the scheduler")

    stream = pipe.replace(scheduler=failing).stream("a star", **CALL)
    steps = iter(stream)
    assert next(steps).index == 0
    with pytest.raises(ZeroDivisionError, match="in the scheduler") as caught:
        next(steps)
    assert caught.traceback[-1].name == "failing"
    assert not streaming()


def test_bad_input_is_told_in_the_loop(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="takes no 'promt'"):
        list(pipe.stream(promt="a star"))
    with pytest.raises(LdmError, match="takes no 'on_step'"):
        pipe.stream("a star", on_step=print)
    assert not streaming()


def test_it_is_computed_without_gradients_and_with_the_callers_context(pipe: Pipeline) -> None:
    seen = []

    def curious(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        seen.append((LANGUAGE.get(), torch.is_grad_enabled(), threading.current_thread().name))
        LANGUAGE.set("changed")
        return denoise(x, grid[0])

    token = LANGUAGE.set("mine")
    try:
        for step in pipe.replace(scheduler=curious).stream("a star", **CALL):
            assert torch.is_grad_enabled()
            assert not step.x0.requires_grad
        assert LANGUAGE.get() == "mine"
    finally:
        LANGUAGE.reset(token)
    assert seen == [("mine", False, "ldm-stream")]


def test_two_streams_are_gone_through_in_turn(pipe: Pipeline) -> None:
    other = pipe.replace(scheduler="heun", attention="chunked")
    pair = [made.stream("a star", **CALL) for made in (pipe, other)]
    count = sum(1 for _ in zip(*pair, strict=False))
    assert count == 4
    assert pipe("a star", **CALL).images.equal(pair[0].output.images)
    assert not streaming()
