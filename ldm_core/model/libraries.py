"""What the libraries say while they work for a pipeline: what matters reaches the person as ours.

Diffusers, Transformers and PEFT write what they notice to logs and to Python's warnings, and go on.
While they load or compute for a pipeline, a handler of ours hears it in place of theirs, and says
it again as an `LdmWarning`; what is dropped on purpose stands in `DROPPED` with the reason. Outside
of that, as when a person uses them in the same program, they say what they say by themselves.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from typing import Any

from ldm_core.errors import LdmWarning
from ldm_core.model.own_thread import protect

LIBRARIES = ("diffusers", "transformers", "peft", "accelerate")
WITH_BARS = ("diffusers", "transformers")
"""Those that show bars while they load."""
DROPPED = {
    r"LOAD REPORT|Some weights of .* were not (used|initialized)|newly initialized": (
        "weights that are missing, left over or of other shapes are an error of ours, by name"
    ),
    r"Token indices sequence length is longer|part of your input was truncated": (
        "a prompt that is too long is said in our own words, with what is cut off"
    ),
    r"No LoRA keys associated to|were not found in the model|led to unexpected keys|"
    r"led to missing keys": "layers of a LoRA are counted, and those that have no place are said",
    r"Already found a `peft_config`|Adapter .* was active which is now deleted|"
    r"Multiple active adapters": "several LoRA side by side are what was asked for",
    r"(is|are|was|will be) deprecated|deprecat|in a future (version|release)|"
    r"will be removed": "it is said of the calls that we make, not of what a person chose",
    r"should be kept in float32: \[\]": "the list of what it warns of is empty",
    r"`low_cpu_mem_usage`|low_cpu_mem_usage was None": "how memory is used while reading",
    r"Device \d+ is not available, available devices are|"
    r"device_map keys do not match any submodules": (
        "devices are counted there to share a network among them, and not chosen; a network's own "
        "parameter is no module, and lies on the first"
    ),
    r"some layers were not executed during the forward pass": (
        "a layer that is called later after all brings its weights then"
    ),
    r"slow image processor|fast (image )?processor": (
        "which code reads pictures for an image encoder; both resize alike within rounding"
    ),
    r"torch_dtype to .* for integer quantization": (
        "whole-number weights compute in each type that is tried before; see quantize"
    ),
    r"\{'block_out_channels': .*\} were passed to "
    r"(AutoencoderTiny|AsymmetricAutoencoderKL|ConsistencyDecoderVAE)": (
        "what Diffusers writes into each such config itself"
    ),
    r"Unable to import `torchao` Tensor objects": "of files that torchao wrote, which are not read",
}
"""Patterns of what is not passed on, each with the reason."""
BENEATH = {
    "torchao": "which of its kernels are of another device: a format that needs one is tried first",
    "torch.utils._pytree": "how torchao makes its types known to torch",
}
"""Logs of what these libraries import, of which only errors are passed on in a program of our own,
each with the reason for the rest."""

_whose: ContextVar[str | None] = ContextVar("whose", default=None)
_one_at_a_time = RLock()  # levels and Python's warnings are those of the whole process
_heard: set[str] = set()
_own_program = False


def reason_to_drop(text: str) -> str | None:
    """Why a message of a library is not passed on; None where it is."""
    reasons = (why for pattern, why in DROPPED.items() if re.search(pattern, text, re.IGNORECASE))
    return next(reasons, None)


@contextmanager
def heard(whose: str = "") -> Iterator[None]:
    """Say as our warnings what the libraries log in this thread meanwhile.

    Args:
        whose: what they work on, such as a part of a model; named in the warnings.
    """
    _listen()
    token = _whose.set(whose)
    try:
        yield
    finally:
        _whose.reset(token)


@contextmanager
def loading(whose: str = "") -> Iterator[None]:
    """As `heard`, whatever level their logs are set to, with Python's warnings of the libraries
    too, and without bars of their own; and what they build networks with alters torch for no other
    thread. One thread at a time."""
    protect()
    with _one_at_a_time, heard(whose), _at_warnings(), _without_bars():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        _pass_on(caught, whose)


def _pass_on(caught: list[warnings.WarningMessage], whose: str) -> None:
    for one in caught:
        theirs = any(f"/{name}/" in one.filename.replace("\\", "/") for name in LIBRARIES)
        if issubclass(one.category, LdmWarning) or not theirs:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        elif not issubclass(one.category, DeprecationWarning | FutureWarning | ImportWarning):
            _say(str(one.message), whose)


def _say(text: str, whose: str) -> None:
    text = " ".join(text.split())
    if text and reason_to_drop(text) is None:
        said = f"{whose}: {text}" if whose else text
        warnings.warn(LdmWarning(said), stacklevel=2)


@contextmanager
def _at_warnings() -> Iterator[None]:
    """Their logs at the level of warnings, where they are set to say less."""
    before = {
        logger: logger.level
        for logger in map(logging.getLogger, LIBRARIES)
        if logger.getEffectiveLevel() > logging.WARNING
    }
    for logger in before:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Their bars, of the tensors of one part, off where they are on: a person who wants a bar has
    ours, over all parts."""
    modules: list[Any] = [sys.modules.get(f"{name}.utils.logging") for name in WITH_BARS]
    shown = [module for module in modules if module and module.is_progress_bar_enabled()]
    for module in shown:
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module in shown:
            module.enable_progress_bar()


def listen_always() -> None:
    """In a program of our own: say as our warnings all that the libraries log from now on."""
    global _own_program
    _own_program = True
    for name in BENEATH:
        logging.getLogger(name).setLevel(logging.ERROR)
    _whose.set("")
    _listen()


def _listen() -> None:
    """Put our handler beside each library's own, which rests while ours hears."""
    for name in LIBRARIES:
        if name in _heard or name not in sys.modules:
            continue
        with _one_at_a_time:
            if name not in _heard:
                logger = logging.getLogger(name)
                for handler in logger.handlers:
                    handler.addFilter(_is_outside)
                logger.addHandler(_Handler(logging.WARNING))
                if _own_program and logger.getEffectiveLevel() > logging.WARNING:
                    logger.setLevel(logging.WARNING)  # they were kept quiet while imported
                _heard.add(name)


def _is_outside(record: logging.LogRecord) -> bool:
    return _whose.get() is None


class _Handler(logging.Handler):
    """Says what a library logs, where it works for a pipeline."""

    def emit(self, record: logging.LogRecord) -> None:
        whose = _whose.get()
        if whose is not None:
            _say(record.getMessage(), whose or f"{record.name.partition('.')[0]} says")
