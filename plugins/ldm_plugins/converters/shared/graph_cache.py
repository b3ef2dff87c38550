"""Graphs of OpenVINO in a folder, each under a hash of what it was made from.

A graph is stored without weights, which are the model's own and attached when it is read again. So
what determines it is the module's structure, the kind of call, the versions of the libraries, and
the numbers of the few tensors that are not among what is attached.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.cache import cache_folder
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.partial import partial_folder, sweep
from ldm_plugins.converters.shared import graphs
from ldm_plugins.converters.shared.graphs import Arguments, Graph, weights_of
from ldm_plugins.converters.shared.structure import UnknownError, contents, structure
from ldm_plugins.converters.shared.without_telemetry import import_openvino

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 3
PACKAGES = ("openvino", "torch", "diffusers", "transformers", "peft", "ldm-core")
XML, BIN, ABOUT = "graph.xml", "graph.bin", "about.json"


def usual_folder() -> Path:
    """Where graphs are kept where no folder is chosen."""
    return cache_folder("openvino")


def graph_of(module: nn.Module, arguments: Arguments, folder: Path) -> Graph:
    """A module's graph for a kind of call: from the folder where it is there, or converted, and
    then kept there."""
    weights = weights_of(module)
    try:
        key = _key(structure(module), arguments)
    except UnknownError as why:
        warnings.warn(
            f"OpenVINO's graph of the {type(module).__name__} is made anew each time: {why}.",
            LdmWarning,
            stacklevel=2,
        )
        return graphs.converted(module, arguments)
    graph = _read(folder / key, weights)
    if graph is None:
        graph = graphs.converted(module, arguments)
        _keep(graph, folder, key, weights)
    return graph._replace(kept=folder / key) if (folder / key / ABOUT).is_file() else graph


def compared(graph: Graph, how: Sequence[Any]) -> bool:
    """Whether a program of a stored graph has been compared with torch.

    Args:
        how: all that it depends on beside the graph, as plain data.
    """
    return graph.kept is not None and _mark(graph.kept, how).is_file()


def note_compared(graph: Graph, how: Sequence[Any]) -> None:
    """Keep beside a stored graph that it has been, for the next start."""
    if graph.kept is not None:
        with suppress(OSError):  # the next start compares again
            _mark(graph.kept, how).touch()


def put_in_place(part: Path, folder: Path) -> None:
    """Give a folder that has been written its name, in the place of a damaged one or one of other
    numbers; where another process has just done so, that one stays."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        part.rename(folder)
    except OSError:
        if not (folder / ABOUT).is_file():
            raise


def _mark(folder: Path, how: Sequence[Any]) -> Path:
    return folder / f"compared-{hashlib.sha256(json.dumps(how).encode()).hexdigest()[:32]}"


def _key(own: str, arguments: Arguments) -> str:
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    signature = [arguments.signature.tree, [repr(leaf) for leaf in arguments.signature.leaves]]
    text = json.dumps([FORMAT, versions, own, signature], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(folder: Path, weights: Mapping[str, Tensor]) -> Graph | None:
    """A stored graph with these weights; None where there is none for them, or it is damaged,
    which is said. OpenVINO reads it only where it is to be compiled."""
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        files = {name: (folder / name).read_bytes() for name in (XML, BIN)}
        if any(hashlib.sha256(files[name]).hexdigest() != about[name] for name in files):
            raise ValueError("its contents are not those that were written")
        inlined = {name: weights[name] for name in about["inlined"]}
        if contents(inlined) != about["contents"]:
            return None
        return Graph(cache(lambda: _model(folder, files, weights)), about["answer"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        warnings.warn(
            f"OpenVINO's graph in {folder} cannot be read, and is made anew: "
            f"{' '.join(str(error).split())[:200]}.",
            LdmWarning,
            stacklevel=2,
        )
        return None


def _model(folder: Path, files: Mapping[str, bytes], weights: Mapping[str, Tensor]) -> Any:
    """What OpenVINO reads of a stored graph, with weights."""
    openvino = import_openvino()
    try:
        model = openvino.Core().read_model(files[XML], openvino.Tensor(_bytes(files[BIN])))
        graphs.attached(model, weights)
    except (LookupError, TypeError, RuntimeError) as error:
        raise LdmError(
            f"OpenVINO does not read the graph that it has written to {folder}: "
            f"{' '.join(str(error).split())[:200]}.",
            "remove that folder, so that it is made anew.",
        ) from error
    return model


def _bytes(data: bytes) -> Any:
    """As an array; one byte where there are none, which OpenVINO does not take."""
    import numpy as np

    return np.frombuffer(data or b"\0", dtype=np.uint8).copy()


def _keep(graph: Graph, folder: Path, key: str, weights: Mapping[str, Tensor]) -> None:
    """Write a graph, whole or not at all; where that cannot be it is said, and goes on."""
    openvino = import_openvino()

    names, others = graphs.lifted(graph.read(), weights)
    try:
        # what was computed of weights while converting holds for their numbers alone
        inlined = sorted(weights if others else {*weights} - names)
        about: dict[str, Any] = {
            "answer": graph.answer,
            "inlined": inlined,
            "contents": contents({name: weights[name] for name in inlined}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with partial_folder(folder) as part:
            openvino.serialize(graph.read(), part / XML, part / BIN)
            for name in (XML, BIN):
                about[name] = hashlib.sha256((part / name).read_bytes()).hexdigest()
            (part / ABOUT).write_text(json.dumps(about))
            put_in_place(part, folder / key)
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"OpenVINO's graph is not kept in {folder}, so that the next start makes it again: "
            f"{' '.join(str(error).split())[:200]}.",
            LdmWarning,
            stacklevel=2,
        )
    finally:
        graphs.attached(graph.read(), weights)
