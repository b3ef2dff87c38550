"""The formats that weights can be quantised to, and whether they work on a device here."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.model.libraries import loading as quiet
from ldm_core.model.loading import in_short

if TYPE_CHECKING:
    import torch

WIDTH = 256
"""Of the layer that a format is tried on: a multiple of every group and tile there is."""

GROUP = 128
"""Weights that share a scale in four bits of torchao's; a layer that is no multiple of it is not
quantised to them."""


@dataclass(frozen=True)
class Format:
    """A way to keep weights.

    Attributes:
        package: what reads it, with the extra of ours that installs it.
        convolutions: their weights are kept in eight bits too, those of linear layers alone else.
        each: bytes that a weight takes, with its share of the scales of groups.
        recipes: torchao's configs for it, by the name of a function of this module; the first that
            works is taken.
        far: how far a layer's answers may lie from those of the plain layer, relative; a format
            that is further off on a device does not work there.
    """

    package: str
    convolutions: bool = False
    each: float = 1.0
    recipes: Sequence[str] = ()
    far: float = 0.2


def _int8() -> Any:
    from torchao.quantization import Int8WeightOnlyConfig

    return Int8WeightOnlyConfig(set_inductor_config=False)


def _int8_dynamic() -> Any:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    return Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)


def _fp8() -> Any:
    from torchao.quantization import Float8WeightOnlyConfig

    return Float8WeightOnlyConfig(set_inductor_config=False)


def _fp8_dynamic() -> Any:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig

    return Float8DynamicActivationFloat8WeightConfig(set_inductor_config=False)


def _int4_plain() -> Any:
    from torchao.quantization import Int4WeightOnlyConfig

    return Int4WeightOnlyConfig(set_inductor_config=False)


def _int4_tiles() -> Any:
    """Of a kernel that comes with torch, for bfloat16 on CUDA."""
    from torchao.quantization import Int4WeightOnlyConfig

    return Int4WeightOnlyConfig(int4_packing_format="tile_packed_to_4d", set_inductor_config=False)


def int8_convolution() -> Any:
    """For the weight of a convolution; it is widened when it is called."""
    import torch
    from torchao.quantization import IntxWeightOnlyConfig, PerAxis

    return IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=PerAxis(0))


RECIPES: Mapping[str, Callable[[], Any]] = {
    "int8": _int8,
    "int8_dynamic": _int8_dynamic,
    "fp8": _fp8,
    "fp8_dynamic": _fp8_dynamic,
    "int4_plain": _int4_plain,
    "int4_tiles": _int4_tiles,
}
FORMATS: Mapping[str, Format] = {
    "int8": Format("torchao", convolutions=True, recipes=("int8",)),
    "int8_dynamic": Format("torchao", convolutions=True, recipes=("int8_dynamic",)),
    "fp8": Format("torchao", recipes=("fp8",)),
    "fp8_dynamic": Format("torchao", recipes=("fp8_dynamic",)),
    "int4": Format("torchao", each=0.5 + 4 / GROUP, recipes=("int4_plain", "int4_tiles")),
    "bnb_int8": Format("bitsandbytes"),
    "bnb_nf4": Format("bitsandbytes", each=0.5 + 4 / 64),
}
"""Those called dynamic quantise what a layer is given too, and multiply in eight bits."""
INSTALLS = {"torchao": "quantize", "bitsandbytes": "bitsandbytes", "gguf": "gguf"}
"""The extra of ours that installs a package."""


def bytes_as(format: str, module: torch.nn.Module, wide: int) -> int:
    """About how many bytes a module's weights take in a format, with the largest of them once more
    as it is computed with.

    Args:
        wide: bytes of a number as it is computed with, in which all else is kept.
    """
    from itertools import chain

    from torch import nn

    own = FORMATS[format]
    kinds = (nn.Linear, nn.Conv2d) if own.convolutions else (nn.Linear,)
    weights = [
        layer.weight
        for layer in module.modules()
        if isinstance(layer, kinds)
        and layer.weight.shape[1] > 1
        and (format != "int4" or layer.weight.shape[1] % GROUP == 0)
    ]
    narrow = {id(weight): weight for weight in weights}.values()
    total = sum(one.numel() for one in chain(module.parameters(), module.buffers()))
    left = total - sum(weight.numel() for weight in narrow)
    scales = sum(2 * 4 * weight.shape[0] for weight in narrow)
    largest = max((weight.numel() for weight in narrow), default=0)
    kept = sum(weight.numel() for weight in narrow) * own.each
    return int(kept) + scales + (left + largest) * wide


def check_installed(package: str, what: str) -> None:
    """Raise `LdmError` with the line that installs a package where it is missing."""
    if find_spec(package) is None:
        raise LdmError(
            f"{what} needs the package {package}.", f"pip install 'ldm-core[{INSTALLS[package]}]'"
        )


def recipe_for(name: str, device: torch.device, dtype: torch.dtype) -> Any:
    """torchao's config of a format.

    Args:
        dtype: in which is computed.
    Raises:
        LdmError: the format does not work on the device, or in the type; with those that do.
    """
    recipe, why = _works(name, str(device), dtype)
    if recipe is not None:
        return RECIPES[recipe]()
    kind = str(dtype).removeprefix("torch.")
    others = working(device, dtype)
    hint = f"what works here: {', '.join(others)}." if others else "leave the converter out."
    raise LdmError(
        f"weights of the format '{name}' cannot be computed with in {kind} on {device}: {why}.",
        hint,
    )


def working(device: torch.device, dtype: torch.dtype) -> list[str]:
    """torchao's formats that work on a device with a type; none where it is not installed."""
    names = [name for name, format in FORMATS.items() if format.recipes]
    return [name for name in names if _works(name, str(device), dtype)[0] is not None]


@cache
def _works(name: str, device: str, dtype: torch.dtype) -> tuple[str | None, str]:
    """The first of a format's recipes by which a small layer answers on a device as the plain
    layer does; else why not."""
    reasons = []
    for recipe in FORMATS[name].recipes:
        try:
            with quiet():
                off = _distance(RECIPES[recipe](), device, dtype)
        except Exception as error:  # whatever kernels, compilers and drivers raise
            reasons.append(in_short(error).rstrip("."))
            continue
        if off <= FORMATS[name].far:
            return recipe, ""
        reasons.append(f"a layer's answers are {off:.2g} off")
    return None, "; ".join(reasons)


def _distance(config: Any, device: str, dtype: torch.dtype) -> float:
    """How far the answers of a layer with quantised weights lie from those of the plain one."""
    import torch
    from torchao.quantization import quantize_

    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(WIDTH, WIDTH, generator=generator) for _ in range(2))
    with torch.no_grad():
        plain = torch.nn.Linear(WIDTH, WIDTH, bias=False, device=device, dtype=dtype)
        plain.weight.copy_(weight)
        x = x.to(device, dtype)
        other = copy.deepcopy(plain)
        quantize_(other, config, filter_fn=lambda module, name: True)
        if type(other.weight) is type(plain.weight):
            raise LdmError("torchao leaves such layers as they are")
        exact = plain(x).float()
        return float((other(x).float() - exact).norm() / exact.norm())
