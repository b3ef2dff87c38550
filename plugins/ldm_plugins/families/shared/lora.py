"""LoRA (Hu et al. 2021, arXiv:2106.09685) on copies of a model's modules, by Diffusers' loaders.

A copy has its own modules and the very tensors of the original, so that neither a scale nor a
layer set on it is seen by another pipeline, and nothing but the LoRA takes memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ldm_core.contracts.family import Lora, ModelInfo
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.model.files import check_safetensors
from ldm_core.model.modules import shallow_copy
from ldm_plugins.families.shared.quiet import quiet

if TYPE_CHECKING:
    from torch import nn

DORA = "dora_scale"
OTHER = "it was made for a model of another kind or size."


def find_loader(pipeline: Any, info: ModelInfo, loras: Sequence[Lora]) -> Any:
    """The part of a Diffusers pipeline class that reads LoRA files.

    Raises:
        LdmError: the class has none, PEFT is not installed, or Diffusers would leave out a part of
            a file.
    """
    if find_spec("peft") is None:
        raise LdmError("LoRA needs the package peft.", "pip install 'ldm-core[lora]'")
    from diffusers import DiffusionPipeline
    from diffusers.loaders.lora_base import LoraBaseMixin

    for loader in pipeline.__mro__:
        if issubclass(loader, LoraBaseMixin) and not issubclass(loader, DiffusionPipeline):
            break
    else:
        raise LdmError(
            f"the model '{info.source}' (family {info.family}) takes no LoRA: Diffusers' "
            f"{pipeline.__name__} has no loader for one."
        )
    for lora in loras:
        if any(DORA in name for name in check_safetensors(lora.file)):
            raise LdmError(
                f"the LoRA '{lora.source}' is a DoRA with magnitudes ({DORA}), which Diffusers "
                "leaves out: what it draws would not be what it was trained to."
            )
    return loader


def with_loras(
    loader: Any, info: ModelInfo, components: Mapping[str, Any], loras: Sequence[Lora]
) -> dict[str, Any]:
    """The components, those that a LoRA may change as copies with the LoRA on.

    Raises:
        LdmError: a file does not fit the modules.
    """
    offered: set[str] = set()

    class Parts(loader):  # type: ignore[misc]
        """As much of a pipeline as its loader asks for."""

        hf_device_map = None

        @classmethod
        def lora_state_dict(cls, *args: Any, **options: Any) -> Any:
            found = super().lora_state_dict(*args, **options)
            offered.clear()
            offered.update(found[0] if isinstance(found, tuple) else found)
            return found

    parts = Parts()
    copies = {
        name: shallow_copy(components[name])
        for name in loader._lora_loadable_modules
        if components.get(name) is not None
    }
    parts.components = copies
    for name in loader._lora_loadable_modules:
        setattr(parts, name, copies.get(name))
    names = [f"lora_{number}" for number in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        wrong = (
            f"the LoRA '{lora.source}' does not fit the model '{info.source}' "
            f"(family {info.family})"
        )
        try:
            with quiet():
                parts.load_lora_weights(str(lora.file), adapter_name=name, use_safetensors=True)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise LdmError(f"{wrong}: {reason}", OTHER) from error
        used = sum(name in adapters_of(m) for c in copies.values() for m in c.modules())
        offers = sum(".lora_A." in key or key.endswith(".down.weight") for key in offered)
        if not used:
            raise LdmError(f"{wrong}: none of its layers has a place there.", OTHER)
        if used < offers:
            warnings.warn(
                f"{wrong} altogether: {offers - used} of its {offers} layers have no place there "
                "and are left out.",
                LdmWarning,
                stacklevel=2,
            )
    with quiet():
        parts.set_adapters(names, [lora.scale for lora in loras])
    for module in copies.values():
        module.eval().requires_grad_(False)
    return {**components, **copies}


def adapters_of(module: nn.Module) -> set[str]:
    """The names of the adapters that PEFT put on this one module."""
    parts = getattr(module, "adapter_layer_names", ())
    return {name for part in parts for name in getattr(module, part)}
