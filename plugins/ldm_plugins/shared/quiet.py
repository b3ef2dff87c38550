"""Diffusers without its log, PEFT without its warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_one_at_a_time = RLock()  # both are set for the whole process


@contextmanager
def quiet() -> Iterator[None]:
    """Keep from the person what these say while they read a file: what matters is said here, as
    an error or a warning of ours."""
    logger = logging.getLogger("diffusers")
    with _one_at_a_time, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"peft\.")
        before = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(before)
