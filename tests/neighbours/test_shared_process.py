"""What a neighbour does to the process and to the libraries that all share, by being imported, and
what a person hears of one that hangs, or fails where nobody called it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from ldm_core.cli.ends import FAILED, ended
from ldm_core.errors import LdmWarning, MachineError
from ldm_core.media.writers import named_writer
from ldm_core.plugins import discovery
from ldm_core.plugins.aftermath import whose_change
from ldm_core.plugins.folder import kept_folder, kept_output
from ldm_core.plugins.itself import open_streams
from neighbours.wrong_modules import HEAD, install

TORCH = f"""{HEAD}
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
class Calls(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        raise RuntimeError("every call of torch")
class Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        raise RuntimeError("every operator")
torch.autograd.set_detect_anomaly(True)
torch.set_autocast_enabled("cpu", True)
torch.set_flush_denormal(True)
torch.backends.cuda.enable_math_sdp(False)
torch._C._set_mkldnn_enabled(False)
torch.nn.modules.module.register_module_forward_hook(lambda module, given, gave: gave * 0)
library = torch.library.Library("aten", "IMPL")
library.impl("hardsigmoid", lambda x: x * 0, "CPU")
inference = torch.inference_mode()
inference.__enter__()
Dispatch().__enter__()
Calls().__enter__()
"""


def test_what_stands_between_a_call_of_torch_and_its_result_is_taken_away(
    site: Path, ldm: Any
) -> None:
    install(site, "between", TORCH)
    code, _, err = ldm("plugins", "list")
    assert code == 0
    (line,) = [line for line in err.splitlines() if "ldm-between 1.0 changed" in line]
    for words in (
        "what hears of each call of torch",
        "what hears of each module's calls",
        "whether torch keeps gradients",
        "torch's own operators (hardsigmoid/CPU)",
        "what torch rounds by itself",
        "whether torch looks for anomalies",
        "whether the smallest numbers are zero",
        "which kernels torch takes",
    ):
        assert words in line
    assert line.endswith("that was put back")
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    made = layer(torch.ones(1))
    assert (made.item(), made.dtype, made.requires_grad) == (1, torch.float32, True)
    assert torch.nn.functional.hardsigmoid(torch.zeros(1)).item() == 0.5
    assert (torch.full((1,), 1e-40) * 1).item() > 0
    assert not torch.is_anomaly_enabled()
    assert torch.backends.cuda.math_sdp_enabled()
    assert torch._C._get_mkldnn_enabled()


PROCESS = f"""{HEAD}
import faulthandler, gc, signal, sys, threading
import numpy
from PIL import Image, ImageFile
signal.setitimer(signal.ITIMER_VIRTUAL, 1000)
signal.setitimer(signal.ITIMER_PROF, 1000)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
faulthandler.dump_traceback_later(1000, exit=True, file=sys.__stderr__)
threading.settrace(lambda *_: None)
gc.set_threshold(1)
gc.callbacks.append(lambda *_: None)
numpy.seterr(all="raise")
Image.SAVE.clear()
Image.MAX_IMAGE_PIXELS = 1
ImageFile.LOAD_TRUNCATED_IMAGES = True
"""


def test_what_the_process_is_told_for_later_is_taken_back(site: Path, ldm: Any) -> None:
    Image.init()
    thresholds, callbacks = gc.get_threshold(), [*gc.callbacks]
    install(site, "later", PROCESS)
    code, _, err = ldm("plugins", "list")
    assert code == 0
    (line,) = [line for line in err.splitlines() if "ldm-later 1.0 changed" in line]
    for words in (
        "the timer that sends SIGPROF and SIGVTALRM",
        "which signals wait",
        "what watches threads",
        "how memory is collected",
        "what numpy makes of errors",
        "what Pillow reads and writes (SAVE)",
        "what Pillow refuses (MAX_IMAGE_PIXELS)",
    ):
        assert words in line
    assert line.endswith("that was put back")
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert (gc.get_threshold(), gc.callbacks) == (thresholds, callbacks)
    assert threading.gettrace() is None
    assert np.geterr()["under"] == "ignore"
    assert "PNG" in Image.SAVE
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (2**30 // 12, False)


def test_whoever_is_waited_for_is_named(
    site: Path, ldm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PATIENCE", 0.05)
    install(site, "slow", f"{HEAD}\nimport time\ntime.sleep(0.4)\n")
    code, _, err = ldm("models", "list")
    assert code == 0
    (line,) = [line for line in err.splitlines() if "ldm-slow is still being imported" in line]
    assert "LDM_DISABLE_PLUGINS=ldm-slow in the environment leaves it out" in line


def test_whoever_began_just_now_is_not_blamed_for_the_time_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A package is slow, and a quick one follows, at which the clock ticks."""
    now = time.monotonic()
    monkeypatch.setattr(discovery.time, "monotonic", lambda: now)
    for since, told in ((now - discovery.PATIENCE, 1), (now - 0.1, 0)):
        monkeypatch.setattr(discovery, "_asking", [("ldm-next", since)])
        ticks = iter([False, True])
        over = threading.Event()
        monkeypatch.setattr(over, "wait", lambda _, ticks=ticks: next(ticks))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            discovery._say_who_imports(over)
        assert len(caught) == told


SCHEDULERS = f"""{HEAD}
import signal

def raises(x, grid, denoise, noise):
    raise KeyboardInterrupt

def waits(x, grid, denoise, noise):
    signal.raise_signal(signal.SIGINT)  # as a person's Ctrl-C, while this computes
    return x

@hookimpl
def ldm_schedulers(register):
    register("raises", raises)
    register("waits", waits)
"""


def test_an_interrupt_says_in_whose_code_it_came_and_one_that_a_plugin_raises_is_its_failure(
    site: Path, ldm: Any, folder: Path
) -> None:
    install(site, "stops", SCHEDULERS)
    words = ["generate", "star", "--model", folder, "--steps", "2", "--scheduler"]
    code, out, err = ldm(*words, "raises")
    assert (code, out) == (1, "")
    assert "scheduler 'raises' of the package ldm-stops 1.0 failed at step 1 of 2: Keyb" in err
    code, out, err = ldm(*words, "waits")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1].startswith(
        "interrupted in the scheduler 'waits' of the package ldm-stops 1.0: no picture"
    )


LYING = f"""{HEAD}
from ldm_core.contracts import Scheduler

class Lying:
    asked = 0
    @property
    def __class__(self):
        Lying.asked += 1
        if Lying.asked > 10_000:
            raise RuntimeError("asked without end")
        return Scheduler
    def __getattr__(self, name):
        return Lying()
    def __call__(self, *args, **more):
        return Lying()

def later():
    raise ValueError("too late")

@hookimpl
def ldm_schedulers(register):
    register("lying", Lying())
"""


def test_what_says_that_it_is_of_another_class_is_not_believed(site: Path, ldm: Any) -> None:
    install(site, "lying", LYING)
    code, out, err = ldm("plugins", "list")
    assert (code, err) == (0, "")
    assert "scheduler\tlying\tldm-lying\t1.0" in out


def test_what_a_plugin_module_left_with_python_is_its_packages_failure(
    site: Path, ldm: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a hook for audits, which is called by whatever opens a file."""
    install(site, "left", f"{HEAD}\ndef later():\n    raise ValueError('too late')\n")
    assert ldm("plugins", "list")[0] == 0
    with pytest.raises(ValueError, match="too late") as caught:
        vars(sys.modules["wrong_left"])["later"]()
    assert ended(caught.value) == FAILED
    assert capsys.readouterr().err.startswith(
        "error: the plugin module 'x' of the package ldm-left 1.0 failed while the command ran: "
        "ValueError: too late\n"
    )


THREAD = f"""{HEAD}
import threading, time

def late():
    time.sleep(0.2)
    raise ValueError("in a thread")

threading.Thread(target=late, name="late").start()
"""


def test_a_thread_that_fails_is_told_in_a_line(site: Path) -> None:
    install(site, "thread", THREAD)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv = ['ldm', 'models', 'list']\n"
        "from ldm_core.cli import program\nprogram()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert run.stderr == (
        "warning: the thread 'late' of the plugin module 'x' of the package ldm-thread 1.0 failed: "
        "ValueError: in a thread\n"
    )


def test_a_method_that_is_set_on_a_stream_is_taken_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def quieten() -> None:
        sys.stdout.write = len  # type: ignore[method-assign, assignment]

    changed: list[str] = []
    with (tmp_path / "out").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with open_streams(changed):
            quieten()
        print("after an import")
        words = "what the standard output does was changed by it"
        with pytest.warns(LdmWarning, match=words), kept_output(lambda: "it"):
            quieten()
        print("after a call")
    assert changed == ["the standard streams"]
    assert (tmp_path / "out").read_text() == "after an import\nafter a call\n"


@pytest.mark.filterwarnings("ignore::ldm_core.errors.PutBackWarning")
def test_what_fails_after_a_change_says_whose_the_change_was() -> None:
    """Wherever it is raised, and whoever else is called on its way."""

    def computes() -> None:
        with kept_folder(lambda: "the one"):
            torch.nn.functional.silu = None  # type: ignore[assignment]
            try:
                torch.nn.SiLU()(torch.zeros(1))
            finally:
                with kept_folder(lambda: "another"):  # as it is told of the end
                    pass

    with pytest.raises(TypeError) as caught:
        computes()
    assert whose_change(caught.value) == "the one"
    assert torch.nn.SiLU()(torch.zeros(1)).item() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no timers")
def test_a_timer_that_a_part_sets_ends_nothing() -> None:
    def waits() -> None:
        with kept_folder(lambda: "it"):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            time.sleep(0.01)

    with pytest.warns(LdmWarning, match="the timer that sends SIGALRM was changed by it"):
        waits()
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    try:
        waits()  # whoever hears of one goes on doing so
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == [signal.SIGALRM]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_process_that_a_part_forks_does_not_go_on_with_the_work(tmp_path: Path) -> None:
    with kept_output(lambda: "it"):
        forked = os.fork()
    (tmp_path / str(os.getpid())).touch()
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
    assert [file.name for file in tmp_path.iterdir()] == [str(os.getpid())]


def test_a_file_of_ours_that_holds_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    writer = named_writer("image", discovery.installed(), "png")
    monkeypatch.setattr(Image.Image, "save", lambda *args, **options: None)
    (tmp_path / "it.png").touch()
    shown: Any = SimpleNamespace(data=Image.new("RGB", (8, 8)))
    with pytest.raises(MachineError, match="the writer 'ldm-core:png' wrote nothing"):
        writer.write(shown, {}, tmp_path / "it.png")
