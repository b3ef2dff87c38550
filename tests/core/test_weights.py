"""Weights are read when they are first needed, once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from ldm_core.run.weights import Weights


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
