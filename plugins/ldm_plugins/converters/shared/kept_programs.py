"""Programs of OpenVINO in a folder, beside the graph that they were compiled from.

A program is kept without the weights that lie in the model's own file, where OpenVINO finds them
again; what it computed of weights while it compiled is kept with it. So it belongs to the contents
of that file, which are hashed once (`kept_hash`), and is kept only while the module's weights are
the file's, untouched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.errors import LdmWarning
from ldm_core.media.partial import partial_folder, sweep
from ldm_core.model.files import file_hash
from ldm_core.model.kept_hashes import kept_hash
from ldm_plugins.converters.shared.graph_cache import ABOUT, put_in_place
from ldm_plugins.converters.shared.graphs import Graph
from ldm_plugins.converters.shared.mapped_weights import FileWeights, in_one_file
from ldm_plugins.converters.shared.structure import contents
from ldm_plugins.converters.shared.without_telemetry import import_openvino

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 2**26
"""Bytes of weights from which on a program is kept; what has fewer is compiled at each start."""
OTHERS = 2**27
"""Bytes of weights that are not in the file, such as a LoRA's, at most: they are hashed at each
start."""
MOST = 4
"""Programs beside one graph of the weights in one file."""
BYTES = 2**31
"""Of programs beside one graph; of a network of Stable Diffusion 1.5's size each has 140 MB."""
PROGRAM = "program.bin"
FORMAT = 1
"""Raised where graphs are arranged in another way, so that programs are made anew."""
WEIGHTLESS = {"CACHE_MODE": "OPTIMIZE_SIZE"}
ATTRIBUTE = "WeightlessCacheAttribute"
"""By which OpenVINO knows a constant's place in a file; only its own reader makes one."""


class Compiled(NamedTuple):
    """A program.

    Attributes:
        model: an `openvino.CompiledModel`.
        sha256: of the file that it was read from; None where it was compiled.
        data: memory that it stands on.
    """

    model: Any
    sha256: str | None = None
    data: Any = None


@cache
def core() -> Any:
    return import_openvino().Core()


def compiled(
    graph: Graph,
    arranged: Callable[[], Any],
    how: Sequence[Any],
    settings: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> Compiled:
    """A graph's program: from the folder where it is there, or compiled, and then kept there.

    One that is kept is read back at once, so that what is compared with torch is what later starts
    read.

    Args:
        arranged: what is compiled, of the graph.
        how: all that it depends on beside the graph, the weights and the settings, as plain data.
        settings: OpenVINO's.
        weights: of the module, by name.
    """
    place = _place(graph, [*how, dict(settings)], weights)
    if place is None:
        return Compiled(core().compile_model(arranged(), "CPU", dict(settings)))
    folder, lie = place
    program = _read(folder, lie, settings)
    if program is None and _keep(folder, lie, arranged(), settings, weights):
        program = _read(folder, lie, settings)
    return program or Compiled(core().compile_model(arranged(), "CPU", dict(settings)))


def _place(
    graph: Graph, how: Sequence[Any], weights: Mapping[str, Tensor]
) -> tuple[Path, FileWeights] | None:
    """The folder of a program, and where its weights lie; None where it cannot be kept."""
    if graph.kept is None or _bytes(weights) < LEAST or (lie := in_one_file(weights)) is None:
        return None
    others = {name: weight for name, weight in weights.items() if name not in lie.offsets}
    if _bytes(others) > OTHERS:
        return None
    try:
        sha256 = kept_hash(lie.file, file_hash)
    except OSError:
        return None
    of = [FORMAT, how, sha256, sorted(lie.offsets.items()), contents(others)]
    own = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
    return graph.kept / f"program-{sha256[:16]}-{own[:32]}", lie


def _bytes(weights: Mapping[str, Tensor]) -> int:
    return sum(weight.nbytes for weight in weights.values())


def _read(folder: Path, lie: FileWeights, settings: Mapping[str, Any]) -> Compiled | None:
    """A stored program; None where there is none, or it is damaged, which is said."""
    import numpy as np

    openvino = import_openvino()
    try:
        sha256 = json.loads((folder / ABOUT).read_bytes())[PROGRAM]
        data = np.memmap(folder / PROGRAM, np.uint8, "c")  # which OpenVINO takes only if writable
        if _sha256(data) != sha256:
            raise ValueError("its contents are not those that were written")
        tensor = openvino.Tensor(data, shared_memory=True)
        more = {**settings, **WEIGHTLESS, "WEIGHTS_PATH": str(lie.file)}
        model = core().import_model(tensor, "CPU", more)
        if not lie.there:
            raise ValueError(f"{lie.file} has just been replaced")
        with suppress(OSError):
            os.utime(folder)
        return Compiled(model, sha256, (data, tensor))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        warnings.warn(
            f"OpenVINO's program in {folder} cannot be read, and is made anew: "
            f"{' '.join(str(error).split())[:200]}.",
            LdmWarning,
            stacklevel=2,
        )
        return None


def _sha256(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


def _keep(
    folder: Path,
    lie: FileWeights,
    model: Any,
    settings: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> bool:
    """Compile a program and write it, whole or not at all; whether that could be, else it is
    said."""
    try:
        _mark(model, lie, weights)
        program = core().compile_model(model, "CPU", {**settings, **WEIGHTLESS})
        data = program.export_model()
        sweep(folder.parent)
        with partial_folder(folder.parent) as part:
            (part / PROGRAM).write_bytes(data.getbuffer())
            (part / ABOUT).write_text(json.dumps({PROGRAM: _sha256(data.getbuffer())}))
            put_in_place(part, folder)
        _remove_oldest(folder)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        warnings.warn(
            f"OpenVINO's program is not kept in {folder.parent}, so that the next start compiles "
            f"it again: {' '.join(str(error).split())[:200]}.",
            LdmWarning,
            stacklevel=2,
        )
        return False
    return True


def _remove_oldest(written: Path) -> None:
    """Leave the programs that were used last, of the file of the one just written and of all."""
    own = written.name.rpartition("-")[0]
    with suppress(OSError):
        programs = sorted(written.parent.glob("program-*"), key=lambda path: -path.stat().st_mtime)
        old = [path for path in programs if path.name.rpartition("-")[0] == own][MOST:]
        others = [path for path in programs if path not in old]
        sizes = accumulate(sum(file.stat().st_size for file in path.iterdir()) for path in others)
        old += [path for path, size in zip(others, sizes, strict=True) if size > BYTES]
        for path in {*old} - {written}:
            shutil.rmtree(path, ignore_errors=True)


def _mark(model: Any, lie: FileWeights, weights: Mapping[str, Tensor]) -> None:
    """Say of a graph's constants which lie in the file, and where; of no others, such as those of
    the stored graph's own file."""
    names = {weights[name].data_ptr(): name for name in lie.offsets}
    marks = _marks(lie, weights)
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant":
            continue
        info = node.get_rt_info()
        for key in [key for key in info if key.startswith(ATTRIBUTE)]:
            del info[key]
        data = node.data
        name = names.get(data.ctypes.data)
        if name is not None and data.nbytes == weights[name].nbytes:
            node.set_rt_info(*marks[name])


def _marks(lie: FileWeights, weights: Mapping[str, Tensor]) -> dict[str, tuple[Any, str]]:
    """By the weights' names what OpenVINO's reader says of constants that lie there, and its name
    for that."""
    import numpy as np

    openvino = import_openvino()
    names, layers, edges = list(lie.offsets), [], []
    for number, name in enumerate(names):
        shape = tuple(weights[name].shape)
        port = f'<port id="0" precision="FP32">{"".join(f"<dim>{d}</dim>" for d in shape)}</port>'
        layers += [
            f'<layer id="{2 * number}" name="{number}" type="Const" version="opset1">'
            f'<data element_type="f32" shape="{",".join(map(str, shape))}" '
            f'offset="{lie.offsets[name]}" size="{weights[name].nbytes}"/>'
            f"<output>{port}</output></layer>",
            f'<layer id="{2 * number + 1}" name="to {number}" type="Result" version="opset1">'
            f"<input>{port}</input></layer>",
        ]
        edges.append(
            f'<edge from-layer="{2 * number}" from-port="0" to-layer="{2 * number + 1}" '
            'to-port="0"/>'
        )
    text = (
        f'<net name="weights" version="11"><layers>{"".join(layers)}</layers>'
        f"<edges>{''.join(edges)}</edges></net>"
    )
    data = openvino.Tensor(np.memmap(lie.file, np.uint8, "c"), shared_memory=True)
    model = core().read_model(text.encode(), data)
    marks = {}
    for node in model.get_ops():
        if node.get_type_name() == "Constant":
            info = node.get_rt_info()
            key = next(key for key in info if key.startswith(ATTRIBUTE))
            marks[names[int(node.get_friendly_name())]] = (info[key], key)
    return marks
