"""Shared fixtures: a tiny model folder, made once; the command line."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections import Counter
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
from ldm_core.plugins import contents, late, meanwhile
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


WHOLE = (
    *("tests/core/test_blame.py", "tests/core/test_isolation.py", "tests/core/test_kept_folder.py"),
    *("tests/docs/", "tests/neighbours/test_shared_torch.py", "tests/neighbours/test_spoilers.py"),
)
"""Files in which all is looked at that other packages' code could replace as it is imported or
called, as in a program. Elsewhere that is so at night alone: these processes have imported several
times what a program has, and would spend a fifth of their time on looking."""


@pytest.fixture(autouse=True, scope="module")
def looked_at(request: pytest.FixtureRequest) -> Iterator[None]:
    """How much is looked at, see `WHOLE`: of torch and of what lists plugins it always is."""
    quick = request.config.getoption("markexpr") == "not slow"
    if not quick or request.node.nodeid.startswith(WHOLE):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meanwhile, "USED", frozenset())
        patch.setattr(contents, "USED", contents.OURS)
        patch.setattr(contents, "APART", sys.stdlib_module_names)
        _meanwhile._forget()
        yield
    _meanwhile._forget()


LONG = (
    *("tests/plugins/test_recipes_on_other_families.py", "tests/core/test_media_commands.py"),
    *("tests/neighbours/", "tests/conformance/test_guidance_checks.py", "tests/core/test_fast.py"),
    *("tests/conformance/test_conditioning_checks.py", "tests/plugins/test_openvino.py"),
    "tests/docs/",
)
"""Files with few tests that take long, which come first: behind the others a worker would wait."""


def unit(nodeid: str) -> str:
    """What goes to one worker: a file, or those that belong together."""
    names = [name for start, name in TOGETHER.items() if nodeid.startswith(start)]
    return names[0] if names else nodeid.partition("::")[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, and then those of most tests."""
    sizes = Counter(unit(item.nodeid) for item in items)
    first = {unit(item.nodeid) for item in items if item.nodeid.startswith(LONG)}

    def place(item: pytest.Item) -> tuple[bool, int, str]:
        name = unit(item.nodeid)
        return name not in first, -sizes[name], name

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests are given out by the file, in their order."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    config.option.loadscopereorder = False
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
