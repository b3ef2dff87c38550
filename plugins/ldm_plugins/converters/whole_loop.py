"""All steps as one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from ldm_core.contracts import Converter, ModelInfo, Phase, PlaceNames, Run, RunHooks
from ldm_core.errors import LdmError
from ldm_plugins.converters.compile import Compile
from ldm_plugins.converters.cuda_graph import CudaGraph
from ldm_plugins.converters.openvino import OpenVino
from ldm_plugins.converters.shared.compilation import INDUCTOR, check_backend, program
from ldm_plugins.converters.shared.placement import stay_at_home
from ldm_plugins.converters.shared.together import (
    EACH_A_PROGRAM,
    WITHIN_LAYERS,
    check_apart,
    check_once,
    check_static,
)
from ldm_plugins.converters.token_merging import TokenMerging

NAME = "whole_loop"


def whole_loop(*, backend: str = INDUCTOR, dynamic: bool = False) -> Converter:
    """One program for a whole step: network, guidance, x0 and what the scheduler makes of it.

    The scheduler's coefficients, the guidance's and the timesteps are tensors that the program is
    given, read out of a scheduler that is linear, and noise is drawn before. So one program serves
    all steps of any number, any such scheduler, guidance scale and prompt, and nothing in the loop
    waits for the device. Latents are the same but for rounding. What is not linear, or looks at
    each step, is refused: wrappers of the denoiser, control, regions, rescaled guidance. Whether
    all numbers are finite is looked at once, after the last step. Where the guidance is off, the
    network is asked for fewer rows, by another program.

    Args:
        backend: of torch.compile; inductor needs a C++ compiler on the machine.
        dynamic: one program for all sizes, in place of one for each.
    """
    return WholeLoop(backend, dynamic)


class Programs:
    """The program of a step, made when it is first asked for."""

    def __init__(self) -> None:
        self._made: Callable[..., Any] | None = None
        self._one_at_a_time = Lock()

    def of(self, advance: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
        with self._one_at_a_time:
            if self._made is None:
                self._made = program(advance, options)
            return self._made


@dataclass(frozen=True)
class WholeLoop(Converter):
    """
    Attributes:
        place: device and types of the model, by their names.
        programs: kept from run to run.
    """

    backend: str
    dynamic: bool
    place: PlaceNames | None = None
    programs: Programs = field(default_factory=Programs, repr=False, compare=False)
    phase = Phase.COMPILE
    whole_program = True
    lossless = True
    by_table = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        if info.boundary is not None:
            raise LdmError(
                f"'{NAME}' is one program for all steps, and '{info.source}' has one network down "
                f"to the timestep {info.boundary:g} and another below it.",
                "'compile' makes a program of each.",
            )
        check_static(NAME, info)
        return replace(self, place=place, programs=Programs())

    def beside(self, others: Sequence[Converter]) -> None:
        stay_at_home(f"'{NAME}'", others)
        check_once(NAME, self, others)
        reasons = {
            Compile: ("compile", EACH_A_PROGRAM),
            CudaGraph: ("cuda_graph", EACH_A_PROGRAM),
            OpenVino: ("openvino", EACH_A_PROGRAM),
            TokenMerging: ("token_merging", WITHIN_LAYERS),
        }
        check_apart(NAME, others, reasons)

    def prepare(self, info: ModelInfo) -> None:
        assert self.place is not None
        check_backend(self.backend, self.place)

    def bind(self, run: Run) -> RunHooks:
        return OneProgram(self)


class OneProgram(RunHooks):
    """Gives a run its program."""

    def __init__(self, loop: WholeLoop) -> None:
        self._loop = loop

    def program(self, advance: Callable[..., Any]) -> Callable[..., Any]:
        options = {
            "backend": self._loop.backend,
            "dynamic": self._loop.dynamic,
            "fullgraph": True,
        }
        return _explained(self._loop.programs.of(advance, options))


def _explained(program: Callable[..., Any]) -> Callable[..., Any]:
    """A program, which is made when it is first called; it is said where torch cannot make it."""

    def call(*args: Any, **given: Any) -> Any:
        from torch._dynamo.exc import Unsupported

        try:
            return program(*args, **given)
        except Unsupported as error:
            raise LdmError(
                f"the converter '{NAME}' cannot make one program of this model's step: "
                f"{str(error).partition(chr(10))[0]}.",
                "leave it out; 'compile' makes a program of the network alone.",
            ) from error

    return call
