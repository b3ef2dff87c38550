"""LoRA (Hu et al. 2021, arXiv:2106.09685) on copies of a model's modules, by Diffusers' loaders.

A copy has its own modules and the very tensors of the original, so that neither a scale nor a
layer set on it is seen by another pipeline, and nothing but the LoRA takes memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ldm_core.contracts import Converter, Model, ModelInfo, Part, Phase, PlaceNames
from ldm_core.contracts.files import FileName
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.model.files import class_name, read_index
from ldm_core.model.loading import reading
from ldm_core.model.lora import Lora, as_lora, find_loras
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.shared.lora_scales import adapters_of, check_scales, has_adapter
from ldm_plugins.converters.shared.lora_weights import read_weights
from ldm_plugins.shared.classes import find_class
from ldm_plugins.shared.quiet import quiet

FIRST, SECOND = "transformer", "transformer_2"
"""Two networks of which one answers above a boundary, the other below."""
OTHER = "it was made for a model of another kind or size."


def lora(*, files: list[FileName | dict[str, Any]]) -> Converter:
    """Low-rank changes to the weights, read from safetensors files, in copies that share them.

    A recipe's ``loras`` stand for this.

    Args:
        files: paths or Hub ids, with ``:scale`` behind those whose scale is not 1; or tables of
            ``path`` and ``scale``, or of ``path`` and ``scales``: by component, and by block in
            Diffusers' words where it is a UNet, as in ``{"unet": {"down": {"block_2": 0.5}, "mid":
            0}, "text_encoder": 0}``. What is not named there has the scale 1. Of a model with two
            networks that share the way, such as Wan 2.2, ``component`` names the one that a file
            changes, ``transformer`` (where it is not said) or ``transformer_2``.
    """
    if not files:
        raise LdmError("the converter lora needs at least one file.")
    return WithLoras(tuple(as_lora(entry) for entry in files))


@dataclass(frozen=True)
class WithLoras(Converter):
    """
    Attributes:
        entries: tables of path and scale.
        loras: their files, once they are seen to be whole.
    """

    entries: tuple[Mapping[str, Any], ...]
    loras: tuple[Lora, ...] = ()
    phase = Phase.WEIGHTS
    lossless = False

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        return replace(self, loras=find_loras(self.entries))

    def files(self) -> Sequence[Path]:
        configs = [entry.config for entry in self.loras if entry.config is not None]
        return [*(entry.file for entry in self.loras), *configs]

    def prepare(self, info: ModelInfo) -> None:
        find_loader(info)

    def convert(self, model: Model) -> Model:
        loader = find_loader(model.info)
        return model.replaced(with_loras(loader, model.info, model.parts, self.loras))


def find_loader(info: ModelInfo) -> Any:
    """What of the model's pipeline class in Diffusers reads LoRA files.

    Raises:
        LdmError: the class has nothing that does, or PEFT is not installed.
    """
    if find_spec("peft") is None:
        raise LdmError("LoRA needs the package peft.", "pip install 'ldm-core[lora]'")
    from diffusers import DiffusionPipeline, ModularPipeline
    from diffusers.loaders.lora_base import LoraBaseMixin

    refusal = f"the model '{info.source}' (family {info.family}) takes no LoRA"
    try:
        pipeline = find_class(class_name(read_index(info.folder)))
    except LdmError as error:
        raise LdmError(f"{refusal}: {error.message}") from None
    for loader in pipeline.__mro__:
        whole = issubclass(loader, DiffusionPipeline | ModularPipeline)
        if issubclass(loader, LoraBaseMixin) and not whole:
            break
    else:
        raise LdmError(f"{refusal}: Diffusers' {pipeline.__name__} has no loader for one.")
    return loader


def _into(lora: Lora, wrong: str, loader: Any, modules: Mapping[str, Any]) -> Mapping[str, bool]:
    """What a loader is told of the network that a LoRA is for, of two that share the way.

    Raises:
        LdmError: the model has no such network, or no second one.
    """
    if lora.component is None:
        return {}
    networks = [name for name in (FIRST, SECOND) if name in modules]
    if SECOND not in networks or lora.component not in networks:
        has = " and ".join(networks) if SECOND in networks else "no second network"
        raise LdmError(f"{wrong}: it is named for '{lora.component}', and the model has {has}.")
    return {"load_into_transformer_2": lora.component == SECOND}


def with_loras(
    loader: Any, info: ModelInfo, parts: Mapping[str, Part], loras: Sequence[Lora]
) -> dict[str, Part]:
    """The parts that a LoRA may change, as copies with the LoRA on.

    Raises:
        LdmError: a file does not fit the modules.
    """
    offered: set[str] = set()

    class Loader(loader):  # type: ignore[misc]
        """As much of a pipeline as its loader asks for."""

        hf_device_map = None

        @classmethod
        def lora_state_dict(cls, *args: Any, **options: Any) -> Any:
            state = super().lora_state_dict(*args, **options)
            offered.clear()
            offered.update(state[0] if isinstance(state, tuple) else state)
            return state

    pipeline = Loader()
    copies = {
        name: replace(parts[name], module=shallow_copy(parts[name].module))
        for name in loader._lora_loadable_modules
        if name in parts
    }
    modules = {name: part.module for name, part in copies.items()}
    pipeline.components = modules
    for name in loader._lora_loadable_modules:
        setattr(pipeline, name, modules.get(name))
    names = [f"lora_{number}" for number in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        wrong = (
            f"the LoRA '{lora.source}' does not fit the model '{info.source}' "
            f"(family {info.family})"
        )
        with reading(wrong, OTHER, wrong=""), quiet(f"the LoRA '{lora.source}'"):
            weights = read_weights(lora, modules)
            more = _into(lora, wrong, loader, modules)
            pipeline.load_lora_weights(weights, adapter_name=name, use_safetensors=True, **more)
        for layer in (layer for module in modules.values() for layer in module.modules()):
            if name in adapters_of(layer):  # its strength is in the weights already
                layer.lora_alpha[name] = layer.r[name]
                layer.scaling[name] = 1.0
        used = sum(name in adapters_of(layer) for m in modules.values() for layer in m.modules())
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
    networks = [n for n in copies if parts[n].role == "network"]
    plain = [n for n in networks if not any(has_adapter(modules[n], name) for name in names)]
    if plain and len(plain) < len(networks) and not all(lora.component for lora in loras):
        files = " and ".join(f"'{lora.source}'" for lora in loras)
        warnings.warn(
            f"of the networks of the model '{info.source}' the LoRA {files} change one alone; "
            f"the {' and '.join(plain)} beside it answers as it was; 'component' in a table of "
            "'loras' names the one that a file is for.",
            LdmWarning,
            stacklevel=2,
        )
    for name, lora in zip(names, loras, strict=True):
        check_scales(lora, name, modules)
    with quiet("the LoRA"):
        pipeline.set_adapters(
            names, [lora.scale if lora.scales is None else lora.scales for lora in loras]
        )
    for module in modules.values():
        module.eval().requires_grad_(False)
    return copies
