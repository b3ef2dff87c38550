"""Weights are read when they are first needed, once."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import RunObserver, as_observer, sees_reading, sees_run
from ldm_core.plugins.registry import installed
from ldm_core.run.weights import Weights, load_model


def test_what_is_asked_is_checked_before_weights_are_read(folder: Path) -> None:
    reads: list[int] = []

    def around(load: Any) -> Any:
        reads.append(1)
        return load()

    composition = compose({"model": folder, "num_inference_steps": 2}, installed())
    pipe = Pipeline.from_composition(composition, around)
    other = pipe.replace(scheduler="ddim")
    with pytest.raises(LdmError, match="takes no 'prompts'"):
        other("a", prompts="b")
    with pytest.raises(LdmError, match="needs 'prompt'"):
        pipe()
    batches = pipe.batches("a red star", seed=1)
    assert reads == []
    assert len(list(batches)) == 1
    other("a red star", seed=1)
    assert reads == [1]
    assert other.model is pipe.model


def test_threads_read_them_once(folder: Path) -> None:
    composition = compose({"model": folder, "num_inference_steps": 2}, installed())
    reads: list[int] = []

    def around(load: Any) -> Any:
        reads.append(threading.get_ident())
        return load()

    pipe = Pipeline.from_composition(composition, around)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: pipe.model, range(8)))
    assert len(reads) == 1
    assert all(model is models[0] for model in models)


def test_a_failure_is_said_again(folder: Path) -> None:
    calls: list[int] = []

    def fail() -> Any:
        calls.append(1)
        raise LdmError("the disk is gone")

    weights = Weights(fail)
    for _ in range(2):
        with pytest.raises(LdmError, match="the disk is gone"):
            _ = weights.model
    assert calls == [1, 1]


def test_an_observer_hears_of_the_parts_that_are_read(folder: Path) -> None:
    said: list[Any] = []

    @contextmanager
    def told(parts: Any) -> Iterator[Any]:
        said.append([part.name for part in parts])
        try:
            yield lambda part: said.append(part.name)
        finally:
            said.append("read")

    @sees_reading(told)
    @sees_run
    def heard(run: Any, *, loud: bool = False) -> RunObserver:
        said.append(("run", loud))
        return RunObserver()

    observers = [{"name": heard, "loud": True}]
    pipe = Pipeline.from_pretrained(folder, num_inference_steps=1, observers=observers)
    parts = [part.name for part in pipe.composition.info.parts]
    assert len(parts) > 1
    assert said == [parts, *parts, "read"]
    pipe("a red star", seed=1)
    pipe.replace(scheduler="ddim")("a red star", seed=1)
    assert said[len(parts) + 2 :] == [("run", True), ("run", True)]
    said.clear()
    composition = compose({"model": folder, "observers": observers}, installed())

    def fails(*arguments: Any) -> Any:
        raise LdmError("the disk is gone")

    broken: Any = copy.copy(composition.family)
    broken.load = fails
    with pytest.raises(LdmError, match="the disk is gone"):
        load_model(replace(composition, family=broken))
    assert said == [parts, "read"]
    with pytest.raises(LdmError, match=r"is made of a function \(parts\)"):
        as_observer(sees_reading(lambda: None)(heard_of_nothing))


def heard_of_nothing(grid: Any) -> Any:
    """A plain observer."""


@pytest.mark.parametrize("more", [[], ["-q"], ["--json"]])
def test_a_bar_says_that_weights_are_read(
    more: list[str], ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as tqdm takes it for a terminal
    run = ["a star", "--model", folder, "--steps", 2, "--seed", 1, "--out", "o"]
    code, out, err = ldm("generate", *run, *more)
    assert (code, "reading weights" in out, len(out.splitlines())) == (0, False, 1), err
    assert ("reading weights:  67%" in err, "| 2/3 [" in err) == ((not more), (not more))
    end = err.rpartition("reading weights")[2]
    assert more or end.index("it/s]") > end.index("parts/s")  # and the steps come after


def test_outputs_that_are_handed_on_are_not_kept(pipe: Pipeline) -> None:
    import gc
    import weakref

    pictures = []
    for output in pipe.batches("a red star", seed=list(range(6)), batch_size=1):
        pictures.append(weakref.ref(output.images[0]))
        del output
        gc.collect()
        assert sum(ref() is not None for ref in pictures) == 0
    assert len(pictures) == 6
