"""Shared fixtures: a tiny model folder, made once; the command line."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["OMP_NUM_THREADS"] = "1"  # torch.set_num_threads holds for its own thread alone
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"
os.environ.setdefault("ACCELERATE_TORCH_DEVICE", "cpu")  # as the peers are, also beside a GPU

import torch
from torch import nn

import tiny
from forked import Server
from ldm_core import Pipeline
from ldm_core.cli import main
from ldm_core.plugins import late
from ldm_core.plugins.meanwhile import _meanwhile
from tiny.kept import PLACE

torch.set_num_threads(1)
OF_TORCH = nn.Module.register_parameter
FIRST = PLACE not in os.environ
"""This process starts the tests, and is no worker or other process of theirs."""
if FIRST:
    os.environ[PLACE] = tempfile.mkdtemp(prefix="ldm-tiny-")


TOGETHER = {
    **dict.fromkeys(["tests/fuzz/"], "the fixture fuzzer"),
    **dict.fromkeys(
        [
            "tests/core/test_libraries.py",
            "tests/core/test_paths.py",
            "tests/jobs/",
            "tests/neighbours/",
        ],
        "the fixture server",
    ),
    **dict.fromkeys(["tests/docs/", "tests/pipelines/"], "what takes minutes"),
}
"""Files that one worker runs, by the beginnings of their names: those that ask one process, which
takes long to start, and some that are not to come last, as files with few tests do."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests are given out by the file, and files that belong together to one worker."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            names = [name for start, name in TOGETHER.items() if nodeid.startswith(start)]
            return names[0] if names else str(super()._split_scope(nodeid))

    return Together(config, log)


def pytest_collection_finish() -> None:
    """What the tests are made of, some million objects, stays: no collection looks at it again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    if FIRST:
        shutil.rmtree(os.environ.pop(PLACE, ""), ignore_errors=True)


@pytest.fixture(autouse=True)
def no_training_before() -> Iterator[None]:
    """Accelerate keeps one precision for a process: no test meets the one of a test before it."""
    yield
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """What a test leaves changed of torch is its own failure, and not that of all after it.

    Accelerate makes a class of torch's another while Diffusers reads a network: where two threads
    read at once, the second puts back what the first had made of it.
    """
    yield
    running = [*_meanwhile._open]
    _meanwhile._open.clear()
    assert not running, f"this test leaves running: {running}"
    changed = nn.Module.register_parameter is not OF_TORCH or torch.empty(1).is_meta
    nn.Module.register_parameter = OF_TORCH  # type: ignore[method-assign]
    assert not changed, "this test leaves what makes networks without numbers behind"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion folder with random weights: 16x16 pictures."""
    return tiny.write_stable_diffusion(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder, num_inference_steps=4)


@pytest.fixture(scope="session")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What runs ``ldm`` in processes of their own; it keeps models."""
    words = ["generate", "a star", "--model", str(folder), "--steps", "2", "--seed", "1"]
    server = Server([words], tmp_path_factory.mktemp("server"), keep=True)
    yield server
    server.close()


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder that a test may damage."""
    import shutil

    return Path(shutil.copytree(folder, tmp_path / "model"))


@pytest.fixture
def ldm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run ``ldm`` with arguments, in an empty folder: (exit code, standard output, error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ldm", *map(str, arguments)])
        code: Any = 0
        late._listed.clear()  # nothing was listed before a program began
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run
