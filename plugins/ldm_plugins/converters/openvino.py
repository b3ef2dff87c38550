"""Networks and decoders compiled for the processor by OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ldm_core.contracts import (
    Converter,
    Kernel,
    ModelInfo,
    Part,
    Phase,
    PlaceNames,
    Speedup,
)
from ldm_core.contracts.files import FileName, to_read
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model import place as placement
from ldm_plugins.converters.cfg_parallel import CfgParallel
from ldm_plugins.converters.channels_last import ChannelsLast
from ldm_plugins.converters.context_parallel import ContextParallel
from ldm_plugins.converters.freeu import FreeU
from ldm_plugins.converters.quantize import Quantize
from ldm_plugins.converters.shared.compiled_parts import UNKNOWN, check_weights, in_place
from ldm_plugins.converters.shared.graph_cache import usual_folder
from ldm_plugins.converters.shared.placement import ROLES, Placement
from ldm_plugins.converters.shared.processor import computes_bfloat16, is_processor
from ldm_plugins.converters.shared.programs import PRECISIONS, computes
from ldm_plugins.converters.shared.structure import is_altered
from ldm_plugins.converters.shared.together import check_static

NAME = "openvino"
USUAL = ("network", "autoencoder", "decoder")
FLOAT32, BFLOAT16 = 0.62, 0.47
WHY = (
    "whole pictures of 25 steps of 'shapes', batch 8, on an AMD EPYC with AVX-512; of one picture "
    "0.50 and 0.37"
)
ERROR = "pictures of 'shapes' at 25 steps are within 52 dB (PSNR) of those in float32"
"""As `benchmarks/processor.py` measured them."""


def openvino(
    *, dtype: str = "float32", parts: list[str] | None = None, cache: FileName | None = None
) -> Converter:
    """Compute networks and decoders by programs that OpenVINO compiles for the processor.

    A program is made at the first call of each kind: of other sizes, or with a ControlNet beside
    it. Any number of pictures goes through the same one. Of an autoencoder the decoder is compiled,
    and the encoder stays as it is. Networks that a guidance such as perturbed_attention alters, in
    place of the model's own, are computed by torch, which is said.

    Args:
        dtype: in which is computed: float32, which draws what torch does but for rounding, or
            bfloat16, which is faster on processors that have it, and draws something a little else.
        parts: names of the model's components, or roles: network, autoencoder, decoder, text, side;
            the network and the decoder where left out.
        cache: folder where graphs and programs are kept, so that the next start need not convert;
            a folder of the user's cache where left out. Weights are not written there, but for what
            compiling made of some of them.
    """
    if dtype not in PRECISIONS:
        raise LdmError(
            f"openvino computes in {' or '.join(PRECISIONS)}, not in '{dtype}'."
            f"{did_you_mean(dtype, PRECISIONS)}"
        )
    if parts is not None and not parts:
        raise LdmError("the converter openvino needs at least one part; leave it out for none.")
    folder = None if cache is None else to_read(cache, "openvino's cache").absolute()
    return OpenVino(dtype, None if parts is None else tuple(parts), folder, dtype == "float32")


@dataclass(frozen=True)
class OpenVino(Converter):
    """
    Attributes:
        dtype: in which is computed.
        chosen: names or roles of the parts that it acts on.
        folder: where graphs are kept; the usual one where None.
        roles: of the model's parts, by their names, once it is fitted.
        place: names of the place.
    """

    dtype: str
    chosen: tuple[str, ...] | None
    folder: Path | None
    lossless: bool
    roles: tuple[tuple[str, str], ...] = ()
    place: PlaceNames | None = None
    phase = Phase.COMPILE
    whole_program = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        if find_spec("openvino") is None:
            raise LdmError(
                "the converter 'openvino' needs the package openvino.",
                "pip install 'ldm-core[openvino]'",
            )
        if place.device.partition(":")[0] not in ("auto", "cpu"):
            raise _not_here(place.device)
        narrow = {place.dtype, place.compute_dtype} - {"auto", "float32"}
        if narrow:
            raise LdmError(
                f"openvino takes weights in float32, and the recipe keeps them in {min(narrow)}.",
                "leave dtype out; openvino's own dtype = 'bfloat16' says in which it computes.",
            )
        fitted = replace(
            self, roles=tuple((part.name, part.role) for part in info.parts), place=place
        )
        names = [part.name for part in info.parts]
        for part in self.chosen or ():
            if part not in ROLES and info.parts and part not in names:
                raise LdmError(
                    f"openvino is to compile '{part}', and the model '{info.source}' has no such "
                    f"part.{did_you_mean(part, [*names, *ROLES])}",
                    f"its parts with weights and their roles: {', '.join([*names, *ROLES])}.",
                )
        if fitted._at("network"):
            check_static(NAME, info)
        for own in info.parts:
            if own.cls in UNKNOWN and fitted.takes(own.name, own.role):
                raise LdmError(
                    f"OpenVINO cannot convert the decoder of the {own.name} of '{info.source}', a "
                    f"{own.cls}.",
                    'say by parts = ["network"], say, on which others openvino acts.',
                )
        if info.file is not None and _packed(info) and fitted._at("network"):
            raise LdmError(
                f"the network in '{info.file.name}' is quantised, and OpenVINO takes weights in "
                "float32.",
                "load a safetensors file or folder of the model.",
            )
        return fitted

    def beside(self, others: Sequence[Converter]) -> None:
        for other in others:
            if isinstance(other, OpenVino):
                both = [r for r in ROLES if self._at(r) and other._at(r)]
                if both:
                    raise LdmError(
                        f"openvino is named twice, and both would compile {', '.join(both)}.",
                        "say by parts = [...] which parts each compiles.",
                    )
            if isinstance(other, CfgParallel | ContextParallel):
                raise LdmError(
                    "openvino computes on the processor, and another converter shares the network "
                    "among devices; leave one of the two out."
                )
            if isinstance(other, FreeU) and self._at("network"):
                raise LdmError(
                    "OpenVINO cannot convert the Fourier transforms with which freeu changes a "
                    "UNet; leave one of the two out."
                )
            if isinstance(other, ChannelsLast) and self._at("network"):
                raise LdmError(
                    "openvino arranges weights by itself, so that channels_last would do nothing "
                    "beside it; leave channels_last out."
                )
            if isinstance(other, Placement) and other.name != "whole":
                both = [n for n, r in self._parts() if self.takes(n, r) and other.takes(n, r)]
                if both:
                    raise LdmError(
                        f"openvino keeps weights where they compute, and the placement "
                        f"'{other.name}' moves those of the {', '.join(both)}.",
                        'say by parts = ["text"], say, on which others the placement acts.',
                    )
            if isinstance(other, Quantize):
                both = [n for n, r in self._parts() if self.takes(n, r) and {n, r} & {*other.parts}]
                if both:
                    raise LdmError(
                        f"openvino takes weights in float32, and quantize keeps those of the "
                        f"{', '.join(both)} in fewer bits; leave one of the two out.",
                        'or say by parts = ["text"], say, what is quantised.',
                    )

    def within(self, recipe: Mapping[str, Any], attention: Kernel) -> None:
        if self._at("network") and not attention.native:
            raise LdmError(
                f"the attention '{attention.label}' cannot reach into a network that OpenVINO "
                "compiles, which has an attention of its own.",
                "choose the attention 'native' without a backend, or leave openvino out.",
            )
        if "memory" in recipe:
            raise LdmError(
                "openvino arranges weights in memory of its own, which the plan for the recipe's "
                "memory does not know; leave one of the two out."
            )

    def prepare(self, info: ModelInfo) -> None:
        assert self.place is not None
        device = placement.resolve(
            {
                "device": self.place.device,
                "dtype": self.place.dtype,
                "compute_dtype": self.place.compute_dtype,
            }
        ).device
        if device.type not in ("cpu", "meta"):
            raise _not_here(str(device))
        if not computes(self.dtype):
            raise LdmError(
                f"this processor has no arithmetic in {self.dtype}, and OpenVINO would compute in "
                "float32.",
                "leave openvino's dtype out.",
            )

    def speedups(self, info: ModelInfo, place: PlaceNames) -> Sequence[Speedup]:
        """Of UNets alone, which is what was measured, and on a processor with AVX-512. Where the
        package is missing, or weights are not in float32, `fit` says so."""
        network = next((part.cls for part in info.parts if part.role == "network"), "")
        if not is_processor(place) or "UNet" not in network:
            return ()
        lossless = Speedup({}, FLOAT32, WHY)
        if not computes_bfloat16():
            return (lossless,)
        return (lossless, Speedup({"dtype": "bfloat16"}, BFLOAT16, WHY, ERROR))

    def takes(self, name: str, role: str) -> bool:
        """Whether it compiles a part, or something in it."""
        if self.chosen is None:
            return role in USUAL
        return role in self.chosen or (name in self.chosen and role != "side")

    def _at(self, role: str) -> bool:
        """Whether it compiles a part of a role."""
        return any(self.takes(n, r) for n, r in self._parts() if r == role)

    def _parts(self) -> Sequence[tuple[str, str]]:
        """The model's parts with their roles; one of each role where the family does not say."""
        return self.roles or tuple((role, role) for role in ROLES)

    def convert(self, model: Any) -> Any:
        names = {id(part): name for name, part in model.parts.items()}

        def named(part: Part) -> Part:
            return self._compiled(part, names.get(id(part), ""))

        changes = {n: other for n, p in model.parts.items() if (other := named(p)) is not p}
        place = replace(model.place, later=(*model.place.later, self.part))
        if not changes and model.remake is None:
            return model
        return model.replaced(changes, place)

    def part(self, part: Part) -> Part:
        return self._compiled(part, "")

    def _compiled(self, part: Part, name: str) -> Part:
        import torch

        if not self.takes(name, part.role) or not isinstance(part.module, torch.nn.Module):
            return part
        if part.device.type == "meta":
            return part
        if part.device.type != "cpu":
            raise _not_here(str(part.device))
        check_weights(part)
        if is_altered(part.module):
            raise LdmError(
                f"another converter changes what layers of the {type(part.module).__name__} do, "
                "and openvino would not see it; leave one of the two out."
            )
        return in_place(part, self.dtype, self.folder or usual_folder())


def _packed(info: ModelInfo) -> bool:
    """Whether the network's weights are quantised in its file."""
    return info.file is not None and info.file.suffix.lower() == ".gguf"


def _not_here(device: str) -> LdmError:
    return LdmError(
        f"openvino compiles for the processor, and this pipeline is on {device}.",
        "choose device = 'cpu', or leave openvino out.",
    )
