"""A folder for weights that wait in files; it goes with the pipeline whose weights they are."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import weakref
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.errors import LdmError, LdmWarning
from ldm_core.machine import refused
from ldm_core.media.partial import partial_folder, sweep

if TYPE_CHECKING:
    from torch import Tensor, nn

MOUNTS = Path("/proc/mounts")
IN_MEMORY = ("tmpfs", "ramfs")
OTHER = 'name another: folder = "...".'


class OffloadFolder:
    """Folders for the weights of several modules, in one that is removed with this object, at the
    latest when the process ends; what a killed process left is removed when the next one is made.

    Args:
        within: where it is made; the system's folder for temporary files where None.
    Raises:
        MachineError: it cannot be made.
    """

    def __init__(self, within: Path | None) -> None:
        home = Path(tempfile.gettempdir()) if within is None else within.expanduser()
        warn_of_memory(home)
        stack = ExitStack()
        try:
            sweep(home)
            self._path = stack.enter_context(partial_folder(home))
        except OSError as error:
            raise refused(f"no folder for weights can be made in '{home}'", error) from None
        weakref.finalize(self, _remove, stack, os.getpid())
        self._made: dict[tuple[tuple[str, int], ...], tuple[Path, list[Tensor]]] = {}

    def of(self, module: nn.Module) -> Path:
        """The folder for a module's weights: the one that there is where their names and memory are
        those of another, such as of the network without a layer left out.

        Raises:
            LdmError: there is no place for them.
        """
        named = [*chain(module.named_parameters(), module.named_buffers())]
        key = tuple((name, tensor.data_ptr()) for name, tensor in named)
        if key not in self._made:
            tensors = [tensor.detach() for _, tensor in named]  # kept: no other has their memory
            self._check_room(sum(tensor.numel() * tensor.itemsize for tensor in tensors))
            self._made[key] = self._path / str(len(self._made)), tensors
        return self._made[key][0]

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self._path).free
        if free < size:
            raise LdmError(
                f"weights of {size / 2**30:.2f} GiB are to wait in files in "
                f"'{self._path.parent}', where {free / 2**30:.2f} GiB are free.",
                OTHER,
            )


def _remove(stack: ExitStack, process: int) -> None:
    if os.getpid() == process:  # a child that lives on does not remove its parent's
        stack.close()


def warn_of_memory(folder: Path, mounts: Path = MOUNTS) -> None:
    """Say where the files of a folder lie in memory, which they would not save."""
    try:
        entries = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:  # no Linux
        return
    home = folder.resolve()
    holding = [entry for entry in entries if home.is_relative_to(entry[1])]
    if holding and max(holding, key=lambda entry: len(entry[1]))[2] in IN_MEMORY:
        warnings.warn(
            f"the files of '{folder}' lie in memory themselves, so that weights in them take as "
            f"much of it as without; {OTHER}",
            LdmWarning,
            stacklevel=2,
        )
