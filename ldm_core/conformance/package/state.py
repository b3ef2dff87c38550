"""What all code of a process shares, and no plugin may change for the others."""

from __future__ import annotations

import hashlib
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ldm_core.errors import PutBackWarning

State = Mapping[str, Mapping[str, Any]]
"""By the name of a check, what it looks at: ``{"environment": {"PATH": "/bin"}}``."""

QUESTIONS: Mapping[str, str] = {
    "default_dtype": "torch's default dtype and device",
    "random_state": "the random streams of Python, numpy and torch",
    "torch_settings": "torch's threads, gradients, determinism, precision and kernels",
    "environment": "the environment's variables",
    "working_folder": "the working folder and the mask of new files",
    "signals": "what is done at signals",
    "python_path": "Python's path",
    "warning_filters": "the filters of warnings",
    "logging": "the root logger",
    "streams": "the standard streams, hooks for errors and warnings, the locale and limits",
}
"""What there is, by the name of the check of a package that looks at it."""


OF_A_COMPILER = "_TORCHINDUCTOR_"
"""How variables begin that torch sets for code that it compiled."""
BUNDLED = os.path.join("setuptools", "_vendor")
"""What setuptools, by which torch finds that compiler, puts on Python's path."""


@contextmanager
def put_back_into(said: list[str]) -> Iterator[None]:
    """Take what the host says meanwhile that a plugin changed and that it put back; other warnings
    go on their way.

    Args:
        said: gets a line for each.
    """
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", PutBackWarning)
        yield
    for one in heard:
        if issubclass(one.category, PutBackWarning):
            said.append(str(one.message).removesuffix("."))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def state() -> State:
    """The state of this process; of torch and numpy only where they are imported."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    root = logging.getLogger()
    return {
        "default_dtype": _default_dtype(torch),
        "random_state": {
            "random": _digest(repr(random.getstate()).encode()),
            **({} if torch is None else {"torch": _digest(torch.get_rng_state().numpy())}),
            **({} if numpy is None else {"numpy": _digest(repr(numpy.random.get_state()))}),
        },
        "torch_settings": _torch_settings(torch),
        "environment": {k: v for k, v in os.environ.items() if not k.startswith(OF_A_COMPILER)},
        "working_folder": {"folder": os.getcwd(), "umask": _umask()},
        "signals": {s.name: signal.getsignal(s) for s in signal.valid_signals() if _named(s)},
        "python_path": {"sys.path": tuple(p for p in sys.path if not p.endswith(BUNDLED))},
        "warning_filters": {"warnings.filters": tuple(map(str, warnings.filters))},
        "logging": {
            "level": root.level,
            "handlers": tuple(map(id, root.handlers)),
            "disabled": logging.root.manager.disable,
        },
        "streams": {
            "sys.stdout": id(sys.stdout),
            "sys.stderr": id(sys.stderr),
            "sys.excepthook": sys.excepthook,
            "threading.excepthook": threading.excepthook,
            "warnings.showwarning": warnings.showwarning,
            **_recursion_limit(),
            "locale": locale.setlocale(locale.LC_ALL),
            "socket timeout": socket.getdefaulttimeout(),
        },
    }


def changes(before: State, after: State) -> dict[str, str]:
    """What has changed, in words, by the name of the check; a thing that was not there before,
    such as torch's state, is compared with nothing."""
    said: dict[str, str] = {}
    for name, old in before.items():
        new = after.get(name, {})
        if name == "environment":
            altered = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
            text = ", ".join(altered)
        else:
            text = ", ".join(
                f"{key}: {_short(old[key])} became {_short(new[key])}"
                for key in old
                if key in new and old[key] != new[key]
            )
        if text:
            said[name] = text
    return said


def _default_dtype(torch: Any) -> dict[str, Any]:
    if torch is None:
        return {}
    return {
        "dtype": str(torch.get_default_dtype()),
        "device": str(torch.get_default_device()),
    }


def _torch_settings(torch: Any) -> dict[str, Any]:
    if torch is None:
        return {}
    return {
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "matmul precision": torch.get_float32_matmul_precision(),
        "flash attention": torch.backends.cuda.flash_sdp_enabled(),
        "anomaly detection": torch.is_anomaly_enabled(),
    }


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _named(number: int) -> bool:
    return isinstance(number, signal.Signals)


def _digest(data: Any) -> str:
    raw = data.encode() if isinstance(data, str) else bytes(data)
    return hashlib.sha256(raw).hexdigest()[:8]


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _recursion_limit() -> dict[str, int]:
    """How deep calls may go; not where torch's compiler is in use, which raises it."""
    compiles = "torch._dynamo.convert_frame" in sys.modules
    return {} if compiles else {"recursion limit": sys.getrecursionlimit()}
