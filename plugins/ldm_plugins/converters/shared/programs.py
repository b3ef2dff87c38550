"""A module computed by programs that OpenVINO compiled, one for each kind of call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_plugins.converters.shared import group_norms, winograd
from ldm_plugins.converters.shared.graph_cache import compared, graph_of, note_compared
from ldm_plugins.converters.shared.graphs import Arguments, Graph, Signature, weights_of
from ldm_plugins.converters.shared.kept_programs import Compiled, compiled, core
from ldm_plugins.converters.shared.watched_weights import WatchedWeights

if TYPE_CHECKING:
    from torch import Tensor, nn

KEPT = 4
"""Programs of one module, each with its own arrangement of the weights."""
Shapes = tuple[tuple[int, ...], ...]
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
FARTHEST = {"float32": 0.01, "bfloat16": 0.25}
"""Relative distance of a program's answer to torch's that is still rounding, in either type."""


class Program:
    """A compiled graph; any number of threads may call it.

    Args:
        answer: how its outputs are nested, as a graph has it.
    """

    def __init__(self, compiled: Compiled, answer: str) -> None:
        from torch.utils._pytree import treespec_loads

        self._compiled = compiled
        self._answer = treespec_loads(answer)
        self._idle: list[Any] = []

    def __call__(self, tensors: list[Tensor]) -> Any:
        import torch
        from torch.utils._pytree import tree_unflatten

        try:
            request = self._idle.pop()  # by one thread alone, as lists are
        except IndexError:
            request = self._compiled.model.create_infer_request()
        inputs = [tensor.detach().contiguous().numpy() for tensor in tensors]
        answers = request.infer(inputs, share_inputs=True, share_outputs=True)
        outputs = [torch.from_numpy(answers[i].copy()) for i in range(len(answers))]
        self._idle.append(request)
        return tree_unflatten(outputs, self._answer)


class Programs:
    """In the place of a module's ``forward``.

    Where the module's weights change, all programs are made anew.

    Args:
        module: which the programs are made of, and share some of the weights with.
        dtype: in which they compute, ``float32`` or ``bfloat16``.
        folder: where graphs are kept.
        copied: what is copied around it has the same programs; else that is refused, as a copy may
            be meant to compute something else.
    """

    def __init__(self, module: nn.Module, dtype: str, folder: Path, copied: bool = False) -> None:
        self._module = module
        self._dtype = dtype
        self._folder = folder
        self._copied = copied
        self._graphs: OrderedDict[Signature, Graph] = OrderedDict()
        self._programs: OrderedDict[tuple[Signature, Shapes, int], Program] = OrderedDict()
        self._weights = WatchedWeights([module])
        self._one_at_a_time = Lock()

    def __call__(self, *args: Any, **options: Any) -> Any:
        import torch

        arguments = Arguments.of(args, options)
        if torch.is_grad_enabled() and any(t.requires_grad for t in arguments.tensors):
            raise LdmError(
                f"a gradient is asked for through the {type(self._module).__name__}, and a program "
                "of OpenVINO has none.",
                "leave the converter 'openvino' out.",
            )
        return self._program(arguments, args, options)(arguments.tensors)

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Programs:
        if self._copied:
            return self
        raise LdmError(
            f"the {type(self._module).__name__} is a program of OpenVINO already, which another "
            "converter cannot change.",
            "leave one of the two out, or say by 'parts' which parts each acts on.",
        )

    def _program(
        self, arguments: Arguments, args: Sequence[Any], options: Mapping[str, Any]
    ) -> Program:
        import torch

        signature, threads = arguments.signature, torch.get_num_threads()
        shapes = tuple([tuple(tensor.shape) for tensor in arguments.tensors])
        key = signature, shapes, threads
        with self._one_at_a_time:
            if self._weights.changed:  # programs have arranged copies of them
                self._programs.clear()
                self._graphs.clear()
                self._weights = WatchedWeights([self._module])
            program = self._programs.get(key)
            if program is None:
                if signature not in self._graphs:
                    self._graphs[signature] = graph_of(self._module, arguments, self._folder)
                graph = self._graphs[signature]
                made = self._compiled(graph, shapes, threads)
                program = Program(made, graph.answer)
                how = (shapes, self._dtype, _processor(), made.sha256)
                if not compared(graph, how):
                    self._check(program(arguments.tensors), args, options)
                    note_compared(graph, how)
                self._programs[key] = program
                self._weights = WatchedWeights([self._module])  # a trace may change buffers
            self._programs.move_to_end(key)
            for kept in (self._programs, self._graphs):
                while len(kept) > KEPT:
                    kept.popitem(last=False)
        return program

    def _compiled(self, graph: Graph, shapes: Shapes, threads: int) -> Compiled:
        """A graph compiled for shapes: OpenVINO arranges weights for them, which makes it about
        twice as fast as one for any number of rows."""

        def arranged() -> Any:
            model = graph.read().clone()  # of the same numbers
            model.reshape({i: list(shape) for i, shape in enumerate(shapes)})
            group_norms.arrange(model, self._dtype)
            if self._dtype == "float32":
                winograd.arrange(model)
            return model

        how = (shapes, _processor())
        return compiled(
            graph, arranged, how, _settings(self._dtype, threads), weights_of(self._module)
        )

    def _check(self, answer: Any, args: Sequence[Any], options: Mapping[str, Any]) -> None:
        """See that a program's first answer is torch's: OpenVINO converts some networks into others
        and says nothing. A stored graph's program is compared once for all starts.

        Raises:
            LdmError: it is not.
        """
        import torch
        from torch.utils._pytree import tree_leaves

        with torch.no_grad():
            own = tree_leaves(self._module(*args, **options))
        for one, other in zip(tree_leaves(answer), own, strict=True):
            apart = float((one.float() - other.float()).norm() / other.float().norm().clamp(1e-12))
            if not (apart < FARTHEST[self._dtype]):
                raise LdmError(
                    f"OpenVINO's program of the {type(self._module).__name__} gives another answer "
                    f"than torch: they are apart by {apart:.2g}, relative to torch's.",
                    "name the other parts in the converter's 'parts', or leave it out.",
                )


def computes(dtype: str) -> bool:
    """Whether the processor has arithmetic in a type, as OpenVINO sees it; without it OpenVINO
    would compute in float32."""
    known = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return dtype == "float32" or "BF16" in known


def _processor() -> str:
    name: str = core().get_property("CPU", "FULL_DEVICE_NAME")
    return name


def _settings(dtype: str, threads: int) -> dict[str, Any]:
    """How a graph is compiled: nothing is computed in another precision than the one chosen, and
    as many threads work as torch has, on whatever cores are free."""
    return {
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "EXECUTION_MODE_HINT": "ACCURACY" if dtype == "float32" else "PERFORMANCE",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
