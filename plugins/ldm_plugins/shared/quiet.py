"""Diffusers and Transformers without their logs, PEFT without its warnings."""

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
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    with _one_at_a_time, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"peft\.")
        before = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
