"""A module's graph for OpenVINO, whose weights are the module's own tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ldm_core.errors import LdmError
from ldm_plugins.converters.shared.without_telemetry import import_openvino

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHT = "weight:"
"""What the names of a stored graph's inputs begin with that stand for weights."""

SMALL = 64
"""Numbers of a constant that are taken to be the code's own, such as a shape."""

_one_at_a_time = Lock()  # torch keeps what it traces for the whole process


class Signature(NamedTuple):
    """What kind of call a module gets: all but the numbers in its tensors, and how many rows.

    Attributes:
        tree: how the arguments are nested.
        leaves: of each tensor its type and shape, -1 for rows; anything else as it is.
    """

    tree: str
    leaves: tuple[Any, ...]

    @property
    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Of the tensors alone."""
        return [(leaf.dtype, leaf.shape) for leaf in self.leaves if isinstance(leaf, Shape)]


class Shape(NamedTuple):
    """Type and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]


class Arguments(NamedTuple):
    """A call's arguments.

    Attributes:
        tensors: those among them, in order.
    """

    signature: Signature
    tensors: list[Tensor]
    leaves: list[Any]
    tree: Any

    @classmethod
    def of(cls, args: Sequence[Any], options: Mapping[str, Any]) -> Arguments:
        """Those of one call.

        Raises:
            LdmError: one of them is neither a tensor nor plain data.
        """
        from torch import Tensor
        from torch.utils._pytree import tree_flatten

        leaves, tree = tree_flatten((tuple(args), dict(options)))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        rows = next((len(tensor) for tensor in tensors if tensor.ndim), 0)
        kinds = tuple([_kind(leaf, rows) for leaf in leaves])
        return cls(Signature(str(tree), kinds), tensors, leaves, tree)


def _kind(leaf: Any, rows: int) -> Any:
    from torch import Tensor

    if isinstance(leaf, Tensor):
        shape = tuple(leaf.shape)
        if shape and shape[0] == rows:
            shape = (-1, *shape[1:])
        return Shape(str(leaf.dtype).removeprefix("torch."), shape)
    if leaf is None or isinstance(leaf, bool | int | float | str):
        return leaf
    raise LdmError(f"OpenVINO's programs take tensors and plain data, not a {type(leaf).__name__}.")


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, each once."""
    return dict(chain(module.named_parameters(), module.named_buffers()))


class Graph(NamedTuple):
    """What OpenVINO compiles.

    Attributes:
        read: gives it as an `openvino.Model`, the same one each time.
        answer: how the outputs are nested, as `torch.utils._pytree.treespec_dumps` has it.
        kept: folder where it is stored; None where it is not.
    """

    read: Callable[[], Any]
    answer: str
    kept: Path | None = None


def converted(module: nn.Module, arguments: Arguments) -> Graph:
    """A module's graph, by a trace of one call; it is the module's for calls of that signature.

    Raises:
        LdmError: it cannot be traced, or has operations that OpenVINO does not know.
    """
    import torch

    import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from torch.jit._trace import TracerWarning

    flat, trace = _flat(module, arguments), cast("Any", torch.jit.trace)
    try:
        with _one_at_a_time, torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            inputs = tuple(tensor.detach() for tensor in arguments.tensors)
            traced = trace(flat, inputs, strict=False, check_trace=False)
            frontend = FrontEndManager().load_by_framework("pytorch")
            decoder = TorchScriptPythonDecoder(traced)  # asked for constants while it converts
            model = frontend.convert(frontend.load(decoder))
    except MemoryError:
        raise
    except Exception as error:  # OpenVINO has classes of its own for what it cannot convert
        raise LdmError(
            f"OpenVINO cannot convert the {type(module).__name__}: "
            f"{' '.join(str(error).split())[:300]}",
            "name the other parts in the converter's 'parts', or leave it out.",
        ) from error
    _declare(model, arguments.signature)
    return Graph(lambda: model, flat.answer)


def _flat(module: nn.Module, arguments: Arguments) -> Any:
    """A module whose arguments and answers are tensors alone."""
    from torch import Tensor, nn
    from torch.utils._pytree import tree_flatten, tree_unflatten, treespec_dumps

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module
            self.answer = ""

        def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
            rest = iter(tensors)
            leaves = [next(rest) if isinstance(v, Tensor) else v for v in arguments.leaves]
            args, options = tree_unflatten(leaves, arguments.tree)
            outputs, tree = tree_flatten(self.module(*args, **options))
            self.answer = treespec_dumps(tree)
            return tuple(outputs)

    return Flat().eval()


def _declare(model: Any, signature: Signature) -> None:
    """Say the types and shapes of a graph's inputs, as the calls that it is for have them."""
    import numpy as np
    from openvino import PartialShape, Type

    shapes = signature.shapes
    parameters = model.get_parameters()
    if len(parameters) != len(shapes):
        raise LdmError(
            f"OpenVINO made a graph of {len(parameters)} inputs of a call with {len(shapes)}."
        )
    for number, (parameter, (dtype, shape)) in enumerate(zip(parameters, shapes, strict=True)):
        parameter.set_element_type(Type(np.dtype(dtype)))
        parameter.set_partial_shape(PartialShape(list(shape)))
        parameter.set_friendly_name(f"input:{number}")
    model.validate_nodes_and_infer_types()


def lifted(model: Any, weights: Mapping[str, Tensor]) -> tuple[set[str], int]:
    """Put named inputs in the place of a graph's weights, so that it can be stored without them.

    Returns:
        The names of those weights, and how many numbers are left that may have been computed of
        weights.
    """
    from openvino import opset13

    places = {
        (tensor.data_ptr(), tensor.nbytes): name
        for name, tensor in weights.items()
        if tensor.numel() and tensor.is_contiguous()
    }
    names: set[str] = set()
    others = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant":
            continue
        data = node.data
        name = places.get((data.ctypes.data, data.nbytes))
        if name is None:
            others += data.size if data.dtype.kind == "f" and data.size > SMALL else 0
            continue
        output = node.output(0)
        stand_in = opset13.parameter(output.get_shape(), output.get_element_type())
        stand_in.set_friendly_name(f"{WEIGHT}{name}")
        output.replace(stand_in.output(0))
        model.add_parameters([stand_in])
        names.add(name)
    return names, others


def attached(model: Any, weights: Mapping[str, Tensor]) -> None:
    """Put weights where `lifted` took them out; their memory is shared.

    Raises:
        KeyError: a weight is missing.
    """
    from openvino import op

    for stand_in in list(model.get_parameters()):
        name = stand_in.get_friendly_name()
        if not name.startswith(WEIGHT):
            continue
        tensor = weights[name.removeprefix(WEIGHT)].detach()
        constant = op.Constant(tensor.view(stand_in.get_shape()).numpy(), shared_memory=True)
        constant.set_friendly_name(name)
        stand_in.output(0).replace(constant.output(0))
        model.remove_parameter(stand_in)
