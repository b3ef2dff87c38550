"""The working folder, which relative names of files mean, and which no plugin is to change."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ldm_core.errors import LdmWarning


@contextmanager
def kept_folder(whose: Callable[[], str]) -> Iterator[None]:
    """See that the working folder is afterwards what it was; where it was changed, that is said.

    Args:
        whose: in words, who may have changed it.
    """
    here = _folder()
    try:
        yield
    finally:
        now = _folder()
        if here and now != here:
            with suppress(OSError):  # it is gone, and there is nowhere to go back to
                os.chdir(here)
                what = f"the working folder was changed to {now or 'one that is gone'}"
                warnings.warn(LdmWarning(f"{what} by {whose()}; it is put back."), stacklevel=3)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
