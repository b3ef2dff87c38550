"""Weights in eight or four bits, quantised while they are read."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ldm_core.contracts import (
    Converter,
    Model,
    ModelInfo,
    PartInfo,
    Phase,
    PlaceNames,
    Speedup,
)
from ldm_core.errors import LdmError, LdmWarning, did_you_mean
from ldm_core.model import place as placement
from ldm_core.model.files import read_index
from ldm_plugins.converters.shared.processor import is_processor
from ldm_plugins.converters.shared.torchao_reader import counts, reading_config
from ldm_plugins.converters.shared.weight_formats import (
    FORMATS,
    bytes_as,
    check_installed,
    recipe_for,
    working,
)
from ldm_plugins.shared.networks import is_unet, network_config

ROLES = ("network", "text", "autoencoder", "side")
GGUF = ".gguf"
OPTIONS = {"format": "int8_dynamic", "parts": ["network"]}
WHY = "four layers of DiT's, of width {}, 256 tokens, batch 2, float32, one thread, CPU seconds"
ERROR = "answers of that network, of random weights, move by 1.3 %"
DYNAMIC = (
    (1152, Speedup(OPTIONS, 0.47, WHY.format(1152), ERROR)),
    (384, Speedup(OPTIONS, 0.83, WHY.format(384), ERROR)),
)
"""Of transformers at least so wide, the widest first."""
UNREAD = ("ClapModel",)
"""Classes of Transformers that it reads with no quantisation: it looks for the embeddings of their
input, and they do not say which those are."""
NETWORKS = ("unet", "transformer")
"""How networks are named among the parts of a folder of Diffusers."""


def quantize(*, format: str = "int8", parts: list[str] | None = None) -> Converter:
    """Weights in eight or four bits, quantised while they are read, so that those of a part are
    never held in full.

    What is drawn differs a little from what the full weights draw. The weights are read in this
    form, so a pipeline on them is made with the same choice; see ``Pipeline.replace``.

    int8_dynamic and fp8_dynamic also quantise what a layer is given, and multiply in eight bits;
    the others widen the weights when a layer computes.

    Args:
        format: of torchao int8, int8_dynamic, fp8, fp8_dynamic, int4; of bitsandbytes bnb_int8,
            bnb_nf4. With the two int8 formats convolutions are kept in 8 bits too; with the others
            linear layers alone are quantised.
        parts: names of the model's parts, or their roles: network, text, autoencoder, side. The
            network and the text encoders where nothing is said.
    """
    if format not in FORMATS:
        raise LdmError(
            f"no format named '{format}'.{did_you_mean(format, FORMATS)} There are "
            f"{', '.join(FORMATS)}; a .gguf file is quantised already, and is named as the model."
        )
    if parts is not None and not parts:
        raise LdmError("the converter quantize needs at least one part; leave it out for none.")
    return Quantize(format, ("network", "text") if parts is None else tuple(parts))


@dataclass(frozen=True)
class Quantize(Converter):
    """
    Attributes:
        format: one of `FORMATS`.
        parts: names or roles.
        place: device and types of the model, by their names.
        wide: the parts that compute in float32 where the others compute in float16.
    """

    format: str
    parts: tuple[str, ...]
    place: PlaceNames | None = None
    wide: frozenset[str] = frozenset()
    phase = Phase.LAYOUT
    lossless = False
    plain = False
    """Weights are no plain tensors, which could be written to a file as they are."""

    @property
    def reading(self) -> str:
        return f"quantize ({self.format}: {', '.join(sorted({*self.parts}))})"

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        check_installed(FORMATS[self.format].package, f"the format '{self.format}'")
        for part in {*self.parts} - {*ROLES}:
            entries = read_index(info.folder).items()
            names = [name for name, entry in entries if isinstance(entry, list)]
            if part not in names:
                raise LdmError(
                    f"the model '{info.source}' has no part '{part}' to quantise."
                    f"{did_you_mean(part, [*ROLES, *names])}",
                    f"roles are {', '.join(ROLES)}; its parts are {', '.join(names)}.",
                )
        if info.file is not None and not FORMATS[self.format].recipes:
            raise LdmError(
                f"the format '{self.format}' is for model folders: Diffusers takes a single file "
                f"such as '{info.source}' to be quantised by bitsandbytes already.",
                "int8 and the other formats of torchao read single files.",
            )
        packed = info.file is not None and info.file.suffix == GGUF
        if packed and {"network", *NETWORKS} & {*self.parts}:
            raise LdmError(
                f"the network in '{info.source}' is quantised already.",
                'the text encoders can be too: parts = ["text"].',
            )
        return Quantize(self.format, self.parts, place, info.wide_parts)

    def speedups(self, info: ModelInfo, place: PlaceNames) -> Sequence[Speedup]:
        """As measured on a processor in float32, of transformers, which have no convolutions but
        the first; int8_dynamic then multiplies in eight bits. The other formats keep weights in
        fewer bits and compute no faster. On CUDA nothing was measured."""
        config = network_config(info)
        if config is None or is_unet(config) or not is_processor(place):
            return ()
        if not {place.dtype, place.compute_dtype} <= {"auto", "float32"}:
            return ()
        if find_spec("torchao") is None or info.file is not None:
            return ()
        sizes = (config.get(name) for name in ("num_attention_heads", "attention_head_dim"))
        width = math.prod(size if isinstance(size, int) else 0 for size in sizes)
        fits = [speedup for least, speedup in DYNAMIC if width >= least]
        return fits[:1]

    def prepare(self, info: ModelInfo) -> None:
        if FORMATS[self.format].recipes:
            self._recipe()
        elif (device := self._where().device).type not in ("cuda", "xpu"):
            others = working(device, self._where().compute_dtype)
            raise LdmError(
                f"the format '{self.format}' needs a CUDA or XPU device in Diffusers, and this "
                f"pipeline is on {device}.",
                f"what works here: {', '.join(others)}." if others else "leave the converter out.",
            )

    def loading(self, part: PartInfo) -> Mapping[str, Any]:
        if part.role == "other" or not {part.name, part.role} & {*self.parts}:
            return {}
        if part.cls in UNREAD:
            return {}
        import torch
        from diffusers import ModelMixin

        from ldm_plugins.shared.classes import find_class

        diffusers = issubclass(find_class(part.cls), ModelMixin)
        # what is not quantised is kept as is computed in: a quantised layer takes and gives that
        where, key = self._where(), "torch_dtype" if diffusers else "dtype"
        wide = where.compute_dtype is torch.float16 and part.name in self.wide
        compute = torch.float32 if wide else where.compute_dtype
        options = {key: compute, "quantization_config": self._config(diffusers)}
        if where.device.type != "cpu":  # where weights are packed as the device computes with them
            options["device_map"] = {"": where.device}
        return options

    def kept_bytes(self, model: Model, name: str) -> int | None:
        part = model.parts[name]
        untouched = type(part.module).__name__ in UNREAD or (
            model.info.file is not None and part.role == "text"
        )
        if part.role == "other" or untouched or not {name, part.role} & {*self.parts}:
            return None
        return bytes_as(self.format, part.module, self._where().compute_dtype.itemsize)

    def _config(self, diffusers: bool) -> Any:
        """What Diffusers' ``from_pretrained`` is told, or that of Transformers."""
        if not FORMATS[self.format].recipes:
            return self._bitsandbytes("diffusers" if diffusers else "transformers")
        if not diffusers:
            from transformers import TorchAoConfig

            return TorchAoConfig(self._recipe())
        return reading_config(self._recipe(), FORMATS[self.format].convolutions)

    def convert(self, model: Model) -> Model:
        """The model as it is, once it is said which of its parts kept their weights."""
        for name, part in model.parts.items():
            if part.role == "other" or not {name, part.role} & {*self.parts}:
                continue
            quantised, layers = counts(part.module)
            if not quantised:
                why = f"none of them can be kept as '{self.format}'"
                if model.info.file is not None and part.role == "text":
                    why = "Diffusers quantises no text encoder that it reads out of a single file"
                if (cls := type(part.module).__name__) in UNREAD:
                    why = f"Transformers quantises no {cls}"
                warnings.warn(
                    f"the converter 'quantize' left all {layers} layers of the {name} as they "
                    f"were: {why}.",
                    LdmWarning,
                    stacklevel=2,
                )
        return model

    def _where(self) -> Any:
        assert self.place is not None
        names = self.place
        return placement.resolve(
            {
                "device": names.device,
                "dtype": names.dtype,
                "compute_dtype": names.compute_dtype,
            }
        )

    def _recipe(self) -> Any:
        where = self._where()
        return recipe_for(self.format, where.device, where.compute_dtype)

    def _bitsandbytes(self, library: str) -> Any:
        import diffusers
        import transformers

        cls = (diffusers if library == "diffusers" else transformers).BitsAndBytesConfig
        if self.format == "bnb_int8":
            return cls(load_in_8bit=True)
        return cls(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=self._where().compute_dtype,
        )
