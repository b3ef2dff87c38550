"""What a rerun does with a file that the run before it may have written already."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ldm_core.contracts.files import WRITTEN, expanded, parts_of
from ldm_core.media.names import write_whole
from ldm_core.media.partial import partial_folder, sweep
from ldm_core.plugins.options import describe


def files_of(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Path]:
    """The files that are there of those that a function's options name to be written, by option."""
    declared = describe(function, list(inspect.signature(function).parameters.values())[1:])
    files = {
        name: expanded(path)
        for name, path in options.items()
        if isinstance(path, Path) and WRITTEN in parts_of(declared[name].annotation)
    }
    return {name: path for name, path in files.items() if path.is_file()}


@contextmanager
def set_aside(
    function: Callable[..., Any], options: Mapping[str, Any], rerun: bool
) -> Iterator[dict[str, Any]]:
    """A function's options, where the files that it is to write, and that are there, are written
    elsewhere, and compared in the end.

    Args:
        rerun: the same command has made pictures before; where it has not, nothing is changed, and
            the function refuses a file that is there before it computes anything.
    Raises:
        LdmError: in the end: what is there is another file.
    """
    options = dict(options)
    files = files_of(function, options) if rerun else {}
    with ExitStack() as stack:
        for name, path in files.items():
            sweep(path.parent)
            options[name] = stack.enter_context(partial_folder(path.parent)) / path.name
        yield options
        for name, path in files.items():
            write_whole(path, partial(shutil.copyfile, options[name]))
