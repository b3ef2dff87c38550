"""The scales of a LoRA by component and by block, as Diffusers names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.model.lora import Lora
from ldm_plugins.shared.unet_blocks import check_blocks

if TYPE_CHECKING:
    from torch import nn


def check_scales(lora: Lora, name: str, modules: Mapping[str, nn.Module]) -> None:
    """See that what the scales of a LoRA name is there, and that the LoRA changes it.

    Args:
        name: of its adapter.
        modules: those that it may change, by component, with its layers on.
    Raises:
        LdmError: a scale would have no effect, or no such block exists.
    """
    for component, scale in (lora.scales or {}).items():
        wrong = f"the scales of the LoRA '{lora.source}' name '{component}'"
        module = modules.get(component)
        if module is None:
            raise LdmError(
                f"{wrong}, which is no component that a LoRA may change; those of this model are "
                f"{', '.join(modules)}."
            )
        if not has_adapter(module, name):
            changed = [other for other, one in modules.items() if has_adapter(one, name)]
            raise LdmError(f"{wrong}, which it does not change; it changes {', '.join(changed)}.")
        if not isinstance(scale, Mapping):
            if isinstance(scale, list):
                raise LdmError(f"{wrong} with a list; a component has one number or a table.")
            continue
        check_blocks(wrong, scale, module)


def has_adapter(module: nn.Module, name: str) -> bool:
    """Whether PEFT put an adapter of this name on a module's layers."""
    return any(name in adapters_of(layer) for layer in module.modules())


def adapters_of(layer: Any) -> set[str]:
    """The names of the adapters that PEFT put on this one module."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    kinds = layer.adapter_layer_names if isinstance(layer, BaseTunerLayer) else ()
    return {name for kind in kinds for name in getattr(layer, kind)}
