"""The network compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ldm_core.contracts import Converter, ModelInfo, Part, Phase, PlaceNames, Speedup
from ldm_core.errors import LdmError
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.openvino import OpenVino
from ldm_plugins.converters.prompt_cache import PromptCache
from ldm_plugins.converters.shared.compilation import (
    INDUCTOR,
    Mode,
    blocks_of,
    check_backend,
    check_triton,
    with_program,
)
from ldm_plugins.converters.shared.placement import stay_at_home
from ldm_plugins.converters.shared.processor import is_cuda_in_half
from ldm_plugins.converters.shared.together import (
    EACH_A_PROGRAM,
    WITHIN_LAYERS,
    check_apart,
    check_once,
    check_static,
)
from ldm_plugins.converters.token_merging import TokenMerging
from ldm_plugins.shared.classes import find_class

NAME = "compile"
REPEATED = (
    "ChromaTransformer2DModel",
    "Flux2Transformer2DModel",
    "FluxTransformer2DModel",
    "HunyuanVideoTransformer3DModel",
    "Krea2Transformer2DModel",
    "LTX2VideoTransformer3DModel",
    "LTXVideoTransformer3DModel",
    "QwenImageTransformer2DModel",
    "StableAudio3DiTModel",
    "UNet2DConditionModel",
    "WanTransformer3DModel",
    "ZImageTransformer2DModel",
)
"""Networks of families here of which Diffusers names the repeated blocks."""
WHY = (
    "Diffusers' guide to torch.compile, of repeated blocks on CUDA in half precision: their "
    "program takes seconds to make, for which the first picture waits"
)
MANY_STEPS = 20
"""Below, a picture takes too few calls for a program to be made for it."""


def compile(
    *,
    backend: str = INDUCTOR,
    mode: Mode = "default",
    regional: bool | None = None,
    dynamic: bool = False,
) -> Converter:
    """The network as a program that torch.compile makes when it is first called.

    The same numbers but for rounding. It is compiled once for each shape of what it is given,
    whatever the steps, scheduler, guidance scale and prompt. Weights are shared with the network as
    it is, which other pipelines go on using.

    Args:
        backend: of torch.compile; inductor needs a C++ compiler on the machine.
        mode: of inductor: "reduce-overhead" and "max-autotune" capture CUDA graphs too.
        regional: compile the network's repeated blocks alone, which takes seconds where the whole
            takes minutes; where nothing is said, for networks of which Diffusers names them.
        dynamic: one program for all sizes, in place of one for each; torch makes another one where
            the first size had equal sides.
    """
    if backend != INDUCTOR and mode != "default":
        raise LdmError(f"a mode is one of inductor, and '{mode}' none of the backend '{backend}'.")
    return Compile(backend, mode, regional, dynamic)


@dataclass(frozen=True)
class Compile(Converter):
    """
    Attributes:
        place: device and types of the model, by their names.
    """

    backend: str
    mode: Mode
    regional: bool | None
    dynamic: bool
    place: PlaceNames | None = None
    phase = Phase.COMPILE
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        if self.backend == INDUCTOR and is_cuda_in_half(place):
            check_triton()
        return replace(self, place=place)

    def speedups(self, info: ModelInfo, place: PlaceNames) -> Sequence[Speedup]:
        """On CUDA, as is published; no card measured it here. On a processor it did not pay."""
        network = next((part.cls for part in info.parts if part.role == "network"), "")
        if network not in REPEATED or not is_cuda_in_half(place):
            return ()
        return (Speedup({}, None, WHY, least_steps=MANY_STEPS),)

    def beside(self, others: Sequence[Converter]) -> None:
        stay_at_home(f"'{NAME}'", others)
        check_once(NAME, self, others)
        reasons = {
            OpenVino: ("openvino", EACH_A_PROGRAM),
            PromptCache: ("prompt_cache", WITHIN_LAYERS),
            TokenMerging: ("token_merging", WITHIN_LAYERS),
        }
        check_apart(NAME, others, reasons)

    def prepare(self, info: ModelInfo) -> None:
        assert self.place is not None
        check_backend(self.backend, self.place)
        for part in info.parts:
            if part.role != "network":
                continue
            blocks = blocks_of(find_class(part.cls))
            if self.regional is False or not blocks:
                check_static(NAME, info)
            if self.regional and not blocks:
                raise LdmError(
                    f"of the network of '{info.source}', a {part.cls}, Diffusers names no repeated "
                    "blocks that could be compiled alone.",
                    "leave out 'regional', and all of it is compiled.",
                )

    def part(self, part: Part) -> Part:
        if part.device.type == "meta":  # where nothing is computed
            return part
        return part.altered(self._compiled) if part.role == "network" else part

    def _compiled(self, module: Any) -> Any:
        own: Any = shallow_copy(module)
        options: dict[str, Any] = {
            "backend": self.backend,
            "dynamic": self.dynamic,
            "fullgraph": True,  # what cannot be in the program is said, and not left out of it
        }
        if self.mode != "default":
            options["mode"] = self.mode
        names = blocks_of(type(own)) if self.regional in (True, None) else ()
        blocks = [m for m in own.modules() if type(m).__name__ in names] or [own]
        made: dict[type, type] = {}
        for block in blocks:
            with_program(block, options, made)
        return own
