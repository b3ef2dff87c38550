"""Pillow, strict and quiet."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from PIL import ImageFile

LOCK = threading.Lock()
"""What is set here holds in the whole process, for the time of a decoding."""


@contextmanager
def strict_pillow(*, has_c_messages: bool = False) -> Iterator[None]:
    """Have Pillow refuse cut-off files, whatever the program that uses it has set, and say nothing
    of what it makes of others.

    Args:
        has_c_messages: also keep from the terminal what a library in C writes there by itself, as
            libtiff does; for that time nobody else writes to the standard error stream either.
    """
    log = logging.getLogger("PIL")
    with LOCK, warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")
        tolerant, propagated = ImageFile.LOAD_TRUNCATED_IMAGES, log.propagate
        silent = logging.NullHandler()
        try:
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            log.propagate = False
            log.addHandler(silent)
            if has_c_messages:
                stack.enter_context(_no_standard_error())
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = tolerant
            log.propagate = propagated
            log.removeHandler(silent)


@contextmanager
def _no_standard_error() -> Iterator[None]:
    with ExitStack() as stack:
        with suppress(OSError):  # a closed one
            own, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, own)
            os.dup2(nothing, 2)
            os.close(nothing)
            stack.callback(os.dup2, own, 2)
        yield
