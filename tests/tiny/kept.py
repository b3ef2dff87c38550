"""Each tiny folder is written once for all processes of a run of the tests, and copied after that.

Making a network of Diffusers and writing it takes many times as long as copying its files, and
most tests want one of a few folders. A copy is its test's own, which may damage it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

PLACE = "LDM_TINY_FOLDERS"
"""The environment variable that names the folder where they are kept; without it none are."""
P = ParamSpec("P")
Write = Callable[Concatenate[Path, P], Path]


def kept(write: Write[P]) -> Write[P]:
    """A writer that copies what it has written before with the same arguments, and leaves torch's
    random numbers where writing would have left them."""

    @wraps(write)
    def written(folder: Path, *args: P.args, **options: P.kwargs) -> Path:
        place = os.environ.get(PLACE)
        if not place:
            return write(folder, *args, **options)
        import torch

        words = repr((write.__module__, write.__qualname__, args, sorted(options.items())))
        first = Path(place) / hashlib.sha256(words.encode()).hexdigest()[:24]
        if not first.is_dir():
            draft = Path(tempfile.mkdtemp(dir=place))
            write(draft / "model", *args, **options)
            (draft / "random").write_bytes(torch.get_rng_state().numpy().tobytes())
            with suppress(OSError):  # another process was faster
                draft.rename(first)
        shutil.copytree(first / "model", folder, dirs_exist_ok=True)
        state = bytearray((first / "random").read_bytes())
        torch.set_rng_state(torch.frombuffer(state, dtype=torch.uint8))
        return folder

    return written
