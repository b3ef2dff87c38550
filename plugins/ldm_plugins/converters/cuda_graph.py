"""The network's calls as CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from ldm_core.contracts import Converter, ModelInfo, Part, Phase, PlaceNames
from ldm_core.errors import LdmError
from ldm_core.model import place as placement
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.shared.cuda_graphs import Graphs, on_cuda
from ldm_plugins.converters.shared.placement import stay_at_home
from ldm_plugins.converters.shared.together import check_static

NAME = "cuda_graph"


def cuda_graph(*, most: Annotated[int, Field(ge=1)] = 4) -> Converter:
    """The network's calls recorded as CUDA graphs, and played again: one launch a call in place of
    thousands, which pays where the card waits for the processor, as with small batches.

    The numbers are the same. A call is recorded for each shape of what it is given, whatever the
    steps, scheduler, guidance scale and prompt; one thread at a time plays it. What is written into
    the weights is seen; where they come to lie elsewhere, or others are put in their place, the
    calls are recorded anew. For CUDA alone.

    Args:
        most: recordings that are kept, each with memory for its activations.
    """
    return CudaGraph(most)


@dataclass(frozen=True)
class CudaGraph(Converter):
    """
    Attributes:
        place: device and types of the model, by their names.
    """

    most: int
    place: PlaceNames | None = None
    phase = Phase.COMPILE
    whole_program = True
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        check_static(NAME, info)
        if place.device != "auto":
            _check(place.device)
        return replace(self, place=place)

    def beside(self, others: Sequence[Converter]) -> None:
        stay_at_home(f"'{NAME}'", others)

    def prepare(self, info: ModelInfo) -> None:
        assert self.place is not None
        names = self.place
        recipe = {
            "device": names.device,
            "dtype": names.dtype,
            "compute_dtype": names.compute_dtype,
        }
        _check(str(placement.resolve(recipe).device))

    def part(self, part: Part) -> Part:
        if part.role != "network":
            return part
        return part.altered(lambda module: recorded(module, Graphs(on_cuda, self.most, in_force)))


def in_force() -> tuple[Any, ...]:
    """What a recording depends on beside what it is given."""
    import torch

    from ldm_core.run.attention import kernels_in_force

    matrices: Any = torch.backends.cuda.matmul
    return (*kernels_in_force(), matrices.allow_tf32, torch.is_grad_enabled())


def recorded(module: Any, graphs: Graphs) -> Any:
    """A copy of a module, sharing its weights, whose calls are recorded and played.

    It is of a class made for that, so that a copy of it records too, with recordings of its own.
    """
    own: Any = shallow_copy(module)
    cls = type(own)

    def forward(self: Any, *args: Any, **named: Any) -> Any:
        return self.ldm_graphs.call(lambda *a, **n: cls.forward(self, *a, **n), args, named, self)

    body = {"forward": forward, "__module__": cls.__module__, "__doc__": cls.__doc__}
    own.__class__ = type(cls.__name__, (cls,), {**body, "__qualname__": cls.__qualname__})
    own.ldm_graphs = graphs
    return own


def _check(device: str) -> None:
    """See that a device has CUDA graphs.

    Raises:
        LdmError: it is none of CUDA's.
    """
    if device.partition(":")[0] != "cuda":
        raise LdmError(
            f"the converter '{NAME}' records CUDA graphs, and this pipeline is on {device}.",
            "leave it out; on a processor a call has little to launch.",
        )
