"""A network's weights in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts.files import to_read
from ldm_core.errors import LdmError
from ldm_core.model.files import from_hub
from ldm_core.model.hub import as_file, download_file
from ldm_core.model.loading import check_finite, reading

if TYPE_CHECKING:
    from torch import Tensor, nn


def weights_file(source: str, what: str) -> Path:
    """A safetensors file; nothing of it is read.

    Args:
        source: the file; a folder that holds a single one; an id of the Hub, or one of its files.
        what: it holds, for messages.
    Raises:
        LdmError: there is none, or it is of another format.
    """
    path = to_read(source)
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if len(files) != 1:
            raise LdmError(
                f"the folder '{source}' holds {len(files)} safetensors files; name the one "
                f"with the {what}."
            )
        return files[0].resolve()
    if path.is_file():
        if path.suffix != ".safetensors":
            raise LdmError(
                f"the {what} in '{source}' should be a .safetensors file; others may run programs "
                "when they are read, and are not.",
                "the page 'Evaluate' shows how to turn one into the other.",
            )
        return path.resolve()
    if (hub := as_file(source)) is not None:
        return Path(from_hub(source, "file", partial(download_file, hub)))
    raise LdmError(f"there is no file '{source}' with {what}.")


def fill(network: nn.Module, weights: Mapping[str, Tensor], what: str) -> nn.Module:
    """A network with weights from a file, which may hold others too.

    Raises:
        LdmError: some are missing, of other shapes, or not finite.
    """
    own = network.state_dict()
    for name, tensor in own.items():
        if name.endswith("num_batches_tracked"):
            continue
        if name not in weights:
            raise LdmError(f"{what} lacks {name}; it is of another network.")
        if weights[name].shape != tensor.shape:
            raise LdmError(
                f"{what}: {name} has the shape {[*weights[name].shape]}, and should have "
                f"{[*tensor.shape]}; it is of another network."
            )
    chosen = {name: weights[name].float() for name in own if name in weights}
    check_finite(what, chosen)
    network.load_state_dict(chosen, strict=False)
    return network.eval().requires_grad_(False)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        LdmError: it cannot be read.
    """
    from safetensors.torch import load_file

    with reading(f"the file {file}"):
        tensors: dict[str, Tensor] = load_file(file)
        return tensors
