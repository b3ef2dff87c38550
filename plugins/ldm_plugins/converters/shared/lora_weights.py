"""The weights of a LoRA file, each with the strength that it was trained with in it.

Files say the strength in many ways: an alpha for each weight (kohya-ss), one for all in the
header (Diffusers) or in a file beside it (PEFT), with patterns of exceptions, or not at all, which
is a strength of 1. Here it is multiplied into the second factor once, as the change to a weight is
alpha / rank · up · down (Hu et al. 2021, arXiv:2106.09685, Section 4.1), so that whoever puts
it on a network has nothing more to know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.model.loading import check_finite, reading
from ldm_core.model.lora import HALVES, PEFT_START, Lora
from ldm_core.model.reading import read_json, strict_json
from ldm_core.model.safetensors_header import read_header

if TYPE_CHECKING:
    from torch import Tensor, nn

METADATA = "lora_adapter_metadata"
"""Where in the header Diffusers writes PEFT's configs, their keys beginning with the component."""


def read_weights(lora: Lora, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors of a LoRA, of strength 1, and named as Diffusers' loaders expect it.

    Args:
        modules: those that it may change, by their names in the folder.
    Raises:
        LdmError: PEFT saved it for none of the modules, or for one that cannot be told.
    """
    from safetensors.torch import load_file

    what = f"the LoRA '{lora.source}'"
    with reading(what):
        weights: dict[str, Tensor] = load_file(lora.file)
    check_finite(what, weights)
    if lora.config is not None:
        config = read_json(lora.config)
        _check_settings(what, config)
        component = _component(lora, config, weights, modules)
        weights = {f"{component}.{n.removeprefix(PEFT_START)}": t for n, t in weights.items()}
        return with_strength(weights, {component: config})
    configs = _configs(what, read_header(lora.file).metadata.get(METADATA))
    return with_strength(weights, configs)


def with_strength(
    weights: Mapping[str, Tensor], configs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Tensor]:
    """The weights with their strength multiplied in."""
    import torch

    folded = {n: t for n, t in weights.items() if not n.endswith((".alpha", ".lora_mid.weight"))}
    read = set(folded)
    for down_end, up_end in HALVES:
        for name in [name for name in folded if name.endswith(down_end)]:
            layer = name.removesuffix(down_end)
            down, up = folded[name], layer + up_end
            mid = weights.get(f"{layer}.lora_mid.weight")
            if mid is not None:  # Tucker's three factors, of which the inner two make one
                folded[name] = torch.einsum("abhw,bc->achw", mid.float(), down.flatten(1).float())
                read.add(f"{layer}.lora_mid.weight")
            alpha = weights.get(f"{layer}.alpha")
            if alpha is not None:
                strength = float(alpha) / down.shape[0]
                read.add(f"{layer}.alpha")
            else:
                strength = _strength(layer, down.shape[0], configs)
            if strength != 1:
                for key in (up, up.removesuffix("weight") + "bias"):
                    if key in folded:
                        folded[key] = folded[key].float() * strength
    left = {name: tensor for name, tensor in weights.items() if name not in read}
    return {**folded, **left}


def _strength(layer: str, rank: int, configs: Mapping[str, Mapping[str, Any]]) -> float:
    """What PEFT multiplies a weight's change by; 1 where no config says."""
    from peft.utils.other import get_pattern_key

    component, _, module = layer.partition(".")
    config = configs.get(component)
    if config is None:
        return 1.0
    patterns = config.get("alpha_pattern") or {}
    alpha = patterns.get(get_pattern_key(patterns.keys(), module), config["lora_alpha"])
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def _configs(what: str, metadata: str | None) -> dict[str, dict[str, Any]]:
    """PEFT's config of each component, from the header.

    Raises:
        LdmError: the header says there what no config says.
    """
    try:
        table = strict_json(metadata or "{}")
    except ValueError as error:
        raise LdmError(f"{what} has a broken {METADATA} in its header: {error}.") from None
    if not isinstance(table, dict):
        raise LdmError(f"{what} has a {METADATA} in its header that is no table.")
    configs: dict[str, dict[str, Any]] = {}
    for key, value in table.items():
        component, _, option = key.partition(".")
        configs.setdefault(component, {})[option] = value
    for config in configs.values():
        _check_settings(what, config)
    return configs


def _check_settings(what: str, config: Mapping[str, Any]) -> None:
    """See that a config says the strength as numbers.

    Raises:
        LdmError: it does not.
    """
    alphas = [config.get("lora_alpha"), *_values(config.get("alpha_pattern"))]
    if not all(type(alpha) in (int, float) and math.isfinite(alpha) for alpha in alphas):
        raise LdmError(
            f"{what}: lora_alpha, and each entry of alpha_pattern, should be a number, not "
            f"{alphas!r}."
        )


def _values(patterns: Any) -> list[Any]:
    if patterns is None or isinstance(patterns, dict):
        return list((patterns or {}).values())
    return [patterns]


def _component(
    lora: Lora,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module],
) -> str:
    """For which of the modules PEFT saved a file; their names tell.

    Raises:
        LdmError: none has all its layers, or several have.
    """
    ends = tuple(end for pair in HALVES for end in pair)
    layers = {
        name.removeprefix(PEFT_START).removesuffix(end).removeprefix("text_model.")
        for name in weights
        for end in ends
        if name.endswith(end)
    }
    fits = [
        name
        for name, module in modules.items()
        if layers <= {inner.removeprefix("text_model.") for inner, _ in module.named_modules()}
    ]
    if len(fits) == 1:
        return fits[0]
    cls = (config.get("auto_mapping") or {}).get("base_model_class")
    alike = [name for name in fits if type(modules[name]).__name__ == cls]
    if len(alike) == 1:
        return alike[0]
    which = f"fits {' and '.join(fits)} alike" if fits else "has layers that none of them has"
    raise LdmError(
        f"the LoRA '{lora.source}' does not fit the model's {', '.join(modules)}: it {which}.",
        "PEFT saves one component in a file, and does not say which.",
    )
