"""How the program ends: one message, its own exit code, and what is on disk."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from forked import Server, output_of
from ldm_core import Pipeline
from ldm_core.cli.ends import ended
from ldm_core.cli.signals import Stop, StopSignals
from ldm_core.cli.streams import ClosedOutput
from ldm_core.errors import LdmError, MachineError, NotFiniteError, PluginError
from ldm_core.machine import machine_error
from ldm_core.plugins.registry import Plugin, installed


def raised_from(error: Exception, cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception:
            raise error from None
    except Exception as both:
        return both


ERRORS: list[tuple[BaseException, int, str]] = [
    (LdmError("no such thing", "look there"), 2, "error: no such thing\n  look there"),
    (MachineError("it is full"), 3, "error: it is full"),
    (NotFiniteError("NaN"), 1, "error: NaN"),
    (
        PluginError("the spacing 'a' of the package b 1", "as it ran", ValueError("c\nd")),
        1,
        "error: the spacing 'a' of the package b 1 failed as it ran: ValueError: c d\n  it is for",
    ),
    (OSError(errno.ENOSPC, "No space left on device"), 3, "No space left on device"),
    (OSError(errno.EDQUOT, "Disk quota exceeded", "a.png"), 3, "quota exceeded: 'a.png'"),
    (OSError(errno.EROFS, "Read-only file system"), 3, "Read-only"),
    (PermissionError(errno.EACCES, "Permission denied", "x" * 999), 3, "xxx…'"),
    (OSError(errno.ENAMETOOLONG, "File name too long"), 3, "too long"),
    (OSError(errno.EMFILE, "Too many open files"), 3, "Too many open files"),
    (MemoryError(), 3, "the memory does not suffice: MemoryError"),
    (
        ExceptionGroup("of tasks", [MemoryError(), ExceptionGroup("more", [MemoryError()])]),
        3,
        "the memory does not suffice: MemoryError",
    ),
    (ExceptionGroup("of tasks", [MemoryError(), KeyError("x")]), 1, "a fault of ldm"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, "a fault of ldm"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 3, "memory does not"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried"), 3, "memory does not suffice"),
    (RuntimeError("Error: Cannot allocate memory (os error 12)"), 3, "memory does not suffice"),
    (ValueError("I/O error: No space left on device (os error 28)"), 3, "No space left"),
    (
        RuntimeError("unable to open file <a> in read-only mode: Too many open files (24)"),
        3,
        "Too many",
    ),
    (RuntimeError("unable to open file <a: b (24)> in some mode: No such file (2)"), 1, "of ldm"),
    (RuntimeError("it has too many columns: twice as many (24)"), 1, "of ldm"),
    (
        raised_from(LdmError("it cannot be read", "look"), OSError(errno.EMFILE, "Too many")),
        3,
        "error: it cannot be read\n  the machine refuses: Too many open files.",
    ),
    (
        raised_from(LdmError("it cannot be read"), PermissionError(errno.EACCES, "denied")),
        2,
        "error: it cannot be read",
    ),
    (KeyboardInterrupt(), 130, "interrupted"),
    (Stop(signal.SIGTERM), 143, "interrupted"),
    (Stop(signal.SIGHUP), 129, "interrupted"),
    (ClosedOutput(OSError(errno.EPIPE, "Broken pipe")), 3, ""),
    (ClosedOutput(OSError(errno.ENOSPC, "No space left on device")), 3, "standard output"),
    (KeyError("x"), 1, "error: KeyError: 'x'\n  This is a fault of ldm: please report it."),
    (RecursionError("maximum"), 1, "LDM_TRACEBACK=1"),
]


@pytest.mark.parametrize(("error", "code", "message"), ERRORS, ids=lambda value: repr(value)[:40])
def test_each_kind_of_error_has_one_message_and_its_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    assert ended(error) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("error: ") == (0 if code > 100 or not message else 1)
    assert "Traceback" not in said


def test_what_is_on_disk_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (
        KeyboardInterrupt(),
        MachineError("full"),
        ClosedOutput(OSError(errno.EPIPE, "p")),
    ):
        error.add_note("3 pictures are in here")
        ended(error)
        assert "3 pictures are in here" in capsys.readouterr().err


def test_a_signal_counts_whatever_a_library_made_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(ImportError("numpy failed to import"), signal.SIGTERM) == 143
    assert capsys.readouterr().err == "interrupted\n"


def test_signals_are_heard_once_and_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        with pytest.raises(Stop):
            signal.raise_signal(signal.SIGTERM)
        assert signals.signum == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == before
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with StopSignals():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_signal_ends_where_something_put_the_first_ones_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    sent: list[tuple[int, int]] = []
    with StopSignals():
        heard = signal.getsignal(signal.SIGTERM)
        with pytest.raises(Stop):
            signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, heard)
        monkeypatch.setattr(os, "kill", lambda *to: sent.append(to))
        signal.raise_signal(signal.SIGTERM)
        assert sent == [(os.getpid(), signal.SIGTERM)]
        assert signal.getsignal(signal.SIGTERM) == before


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, list[str]]]:
    place = tmp_path_factory.mktemp("ends")
    model = str(tiny.write_stable_diffusion(place / "models" / "tiny"))
    run = ["generate", "a red star", "--model", model, "--steps", "2", "--seed", "7"]
    server = Server([run], place)
    yield server, [*run, "--num-images", "6", "--batch-size", "2", "--size", "64x64"]
    server.close()


LIMITS = [
    ({"RLIMIT_FSIZE": 1000}, [], "no picture can be written to 'pictures': File too large"),
    ({"RLIMIT_NOFILE": 4}, [], "Too many open files"),
    ({"RLIMIT_AS": 2**27}, ["--size", "1024x1024"], "the memory does not suffice"),
]


@pytest.mark.parametrize(("limits", "more", "message"), LIMITS, ids=lambda value: str(value)[:20])
def test_a_machine_that_refuses_ends_with_3(
    server: tuple[Server, list[str]],
    tmp_path: Path,
    limits: dict[str, int],
    more: list[str],
    message: str,
) -> None:
    pid = server[0].start([*server[1], *more], tmp_path, limits)
    code = server[0].wait(pid)
    err = output_of(tmp_path, pid)[1]
    assert code == 3, err
    assert message in err
    assert err.count("error: ") == 1
    assert "Traceback" not in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        done = False
    if not done:
        pytest.skip("this process may not mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_keeps_what_is_there_and_says_so(
    server: tuple[Server, list[str]], tmp_path: Path, small_disk: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    run = [*server[1], "--num-images", "12", "--out", str(small_disk / "p")]
    for again in (False, True):
        pid = server[0].start(run, here)
        code = server[0].wait(pid)
        err, count = output_of(here, pid)[1], len([*(small_disk / "p").iterdir()])
        assert code == 3, err
        assert 0 < count < 12
        assert {path.suffix for path in (small_disk / "p").iterdir()} == {".png"}
        assert f"can be written to '{small_disk}/p': No space left on device" in err
        assert f"{count} pictures are in {small_disk}/p" in err
        assert (f", {count} of them from before" in err) == again
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    pid = server[0].start(run, here)
    assert server[0].wait(pid) == 0
    assert len([*(small_disk / "p").iterdir()]) == 12


def test_a_read_only_disk_is_the_machines(
    server: tuple[Server, list[str]], tmp_path: Path, small_disk: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    model = server[1][server[1].index("--model") + 1]
    table = here / "t.csv"
    table.write_text("prompt\na red star\n")
    for words in (
        [*server[1], "--out", str(small_disk)],
        [*server[1], "--sheet", str(small_disk / "s.png")],
        ["augment", "--table", str(table), "--model", model, "--out", str(small_disk / "set")],
        ["train", "autoencoder", "--out", str(small_disk / "out")],
    ):
        pid = server[0].start(words, here)
        assert server[0].wait(pid) == 3, output_of(here, pid)
        assert output_of(here, pid)[1].count("error: ") == 1
    assert not (here / "pictures").exists()


def shell(words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    ldm = f"{sys.executable} -c 'from ldm_core.cli import main; main()'"
    command = ["bash", "-c", f"set -o pipefail; {words.replace('ldm', ldm)}"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("ldm plugins list >/dev/full", 3, "takes no more: No space left on device"),
        ("ldm plugins list >&-", 3, "takes no more: Bad file descriptor"),
        ("ldm --help >/dev/full", 3, "takes no more: No space left on device"),
        ("ldm plugins list 2>&- >&-", 3, ""),
        ("ldm nonsense 2>/dev/full", 3, ""),
        ("ldm plugins list 2>&- <&- >list", 0, ""),
        ("ldm plugins show nonsense 2>&-", 2, ""),
    ],
)
def test_closed_streams_are_the_machines(
    tmp_path: Path, words: str, code: int, message: str
) -> None:
    run = shell(words, tmp_path)
    assert run.returncode == code, run.stderr
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_a_full_error_stream_is_complained_of_once(tmp_path: Path) -> None:
    """What a library leaves there at the end would turn the exit code into 120."""
    late = "import sys; from ldm_core.cli.ends import say; say('full'); sys.stderr.write('late')"
    command = ["bash", "-c", f'{sys.executable} -c "{late}; sys.exit(3)" 2>/dev/full']
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 3


def test_a_code_whose_last_byte_is_zero_is_no_success(ldm: Any, tmp_path: Path) -> None:
    """The system takes that byte alone."""
    file = tmp_path / "ends_by_code.py"
    file.write_text(
        "import sys\nfrom ldm_core import hookimpl\nldm_api = '>=2,<3'\n"
        'def bye(code: int) -> None:\n    "Ends."\n    sys.exit(code)\n'
        "@hookimpl\ndef ldm_commands(register):\n    register('bye', bye)\n"
    )
    assert [ldm("--plugin", file, "bye", str(code))[0] for code in (256, 300, 0)] == [1, 300, 0]


def test_a_reader_that_has_gone_stops_a_run_that_says_what_is_there(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(*words: Any, **more: Any) -> None:
        raise ClosedOutput(OSError(errno.EPIPE, "Broken pipe"))

    monkeypatch.setattr("ldm_core.cli.writing.print_line", echo)
    code, _, err = ldm("generate", "a red star", "--model", folder, "--steps", 1, "--num-images", 3)
    assert code == 3
    assert "1 picture is in pictures" in err
    assert len([*Path("pictures").iterdir()]) == 3 - 2


def test_sigterm_while_a_model_is_loading_ends_with_143(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminated(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr("ldm_core.run.pipeline.load_model", terminated)
    code, _, err = ldm("generate", "a red star", "--model", folder)
    assert (code, err) == (143, "interrupted: no picture of this run is in pictures yet\n")


def test_a_folder_that_vanishes_under_way_is_the_machines(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, batches = Pipeline.sample, []

    def vanishing(self: Pipeline, plan: Any, on_step: Any = None) -> Any:
        batches.append(plan)
        if len(batches) == 2:
            Path("pictures").rename("moved")
        return sample(self, plan, on_step)

    monkeypatch.setattr(Pipeline, "sample", vanishing)
    run = ("generate", "a red star", "--model", folder, "--steps", 1, "--num-images", 4)
    code, _, err = ldm(*run, "--batch-size", 2)
    assert code == 3
    assert "no picture can be written to 'pictures': No such file or directory" in err


def test_names_too_long_are_the_machines(ldm: Any, folder: Path) -> None:
    for name in ("x" * 300, "/".join(["y" * 200] * 25)):
        for option in ("--out", "--sheet"):
            value = f"{name}.png" if option == "--sheet" else name
            code, _, err = ldm("generate", "a star", "--model", folder, option, value)
            assert code == 3, err
            assert err.count("error: ") == 1
            assert len(err) < 600


def test_garbage_arguments_never_end_in_a_traceback(ldm: Any, folder: Path) -> None:
    """`ldm` of the fixture sees that there is none."""
    rng = random.Random(0)
    words = ["generate", "replay", "explain", "plugins", "list", "show", "train", "--steps", "-1"]
    words += ["", "--", "-", "--help", "--json", "--out", "\x00", "\udcff", "🙂", "a" * 5000, "[1"]
    words += ["--set", "=", "scheduler.eta=", "--input", "a=b=c", "--seed", "1e9", "--model", "."]
    words += ["--size", "x", "--recipe", "recipe", "check", "augment", "--table", "{}", "features"]
    for _ in range(60):
        code, _, _ = ldm(*(rng.choice(words) for _ in range(rng.randint(0, 6))))
        assert code in (0, 2, 3)


def test_a_plugins_error_in_python_stays_what_it_is(folder: Path) -> None:
    def broken(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        raise KeyError("theirs")

    pipe = Pipeline.from_pretrained(folder, scheduler=broken)
    with pytest.raises(KeyError, match="theirs"):
        pipe("a red star", num_inference_steps=1)


def test_a_plugins_memory_is_the_machines(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def large(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        limit = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (2**34, limit[1]))
        try:
            return torch.empty(2**40)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limit)

    theirs = Plugin("scheduler", "large", "pkg-a", "1.2", large)
    monkeypatch.setattr(installed(), "plugins", [*installed().plugins, theirs])
    code, _, err = ldm("generate", "a", "--model", folder, "--scheduler", "large")
    assert code == 3
    assert "the memory does not suffice" in err
    assert machine_error(KeyError("x")) is None


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["generate", "a", "--steps", "0"], "num_inference_steps"),
        (["generate", "a", "--steps", "many"], "--steps"),
        (["generate", "a", "--nonsense", "1"], "--nonsense"),
        (["recipe", "check", "nowhere.toml"], "nowhere.toml"),
        (["plugins", "show", "nothing"], "nothing"),
        (["explain", "--scheduler", "nothing"], "nothing"),
        (["replay", "nowhere.png"], "nowhere.png"),
    ],
)
def test_with_json_an_error_is_an_object_too(ldm: Any, words: list[str], part: str) -> None:
    code, out, err = ldm(*words, "--json")
    record = json.loads(out)
    assert (code, record["exit_code"], part in record["error"]) == (2, 2, True)
    assert record["error"].split()[0] in err
    assert ldm(*words)[1] == ""
    assert ldm(*words, "--", "--json")[1] == ""


def test_with_json_tune_and_plugins_new_and_recipe_check_print_json(ldm: Any, folder: Path) -> None:
    made = json.loads(ldm("plugins", "new", "ldm-mine", "--kind", "spacing", "--json")[1])
    assert Path(made["path"], "pyproject.toml").is_file()
    assert made["next"]
    Path("r.toml").write_text(f'model = "{folder}"\nscheduler = "heun"\n')
    checked = json.loads(ldm("recipe", "check", "r.toml", "--json")[1])
    assert checked["scheduler"]["name"] == "heun"
    run = ["a", "--model", folder, "--steps", 1, "--only", "chunked", "--rounds", 1, "--json"]
    code, out, _ = ldm("tune", *run)
    tried, whole = [json.loads(line) for line in out.splitlines()]
    assert (code, tried["tried"]) == (0, "ldm-core:chunked")
    assert Path(whole["path"]).read_text().startswith("#")
