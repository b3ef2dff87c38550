"""From the name of a model to its family, and to what its folder says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from ldm_core.contracts import Family, ModelInfo
from ldm_core.contracts.files import in_full
from ldm_core.errors import LdmError
from ldm_core.model.component_folder import component_folder
from ldm_core.model.configs import read_config
from ldm_core.model.families import Families, seen_as_family
from ldm_core.model.files import class_name, find_model, read_index
from ldm_core.model.gguf_header import read_header_of_weights
from ldm_core.model.lora import is_lora
from ldm_core.model.shipping import shipped_in
from ldm_core.model.what_families_say import check_info
from ldm_core.plugins.blame import blamed, is_of_others
from ldm_core.plugins.registry import Registry
from ldm_core.values import brief


def inspect_model(
    source: str,
    registry: Registry,
    config: str | None = None,
    family_id: str | None = None,
    components: Mapping[str, str] = MappingProxyType({}),
) -> tuple[ModelInfo, Family]:
    """Find a model and the family that knows it, and read what its folder says.

    Args:
        config: the folder, or Hub id, with the configs of a model that is a single file.
        family_id: of the family that is taken where several claim the model.
        components: folders, or Hub ids, of components that the model has not of its own, by name.
    """
    folder, file = find_model(source, registry), None
    shapes: Mapping[str, tuple[int, ...]] = {}
    source = lasting(source, folder)
    families = Families(registry)
    if folder.is_file():
        file, shapes = folder, read_header_of_weights(folder).shapes
        if is_lora(shapes):
            raise LdmError(
                f"'{source}' is a LoRA, no model.",
                "name the model that it was made for, and give it with --lora.",
            )
        folder = _config_folder(source, shapes, config, families, registry)
    elif config is not None:
        raise LdmError(
            f"'model_config' is for a model in a single file, and '{source}' is a folder."
        )
    index = read_index(folder)
    for name in components:
        if name.startswith("_"):
            raise LdmError(f"'{name}' is no name of a component.")
    folders = {name: component_folder(path, name) for name, path in components.items()}
    index |= {name: ["", class_name(read_config(path))] for name, path in folders.items()}
    plugin, family = families.of(source, index, _shipped_by(folder, registry), family_id)
    if file is not None:
        with blamed(plugin, "while it was asked to read a file"):
            of_file = family.of_file(file, dict(shapes))
        if of_file is None:
            raise LdmError(
                f"'{source}' is a file, and the family '{plugin.name}' of "
                f"its {class_name(index)} reads folders alone."
            )
        family = seen_as_family(plugin, of_file)
    if folders:
        with blamed(plugin, "while it was asked to take components"):
            of_components = None if file is not None else family.of_components(dict(folders))
        if of_components is None:
            kinds = [f"{name} = '{components[name]}' ({index[name][1]})" for name in folders]
            raise LdmError(
                f"the model '{source}' (a {class_name(index)}, family '{plugin.name}') takes no "
                f"component of another folder by the names of {', '.join(kinds)}.",
                "docs/reference/plugins.md says of each family which it takes.",
            )
        family = seen_as_family(plugin, of_components)
    with blamed(plugin, f"while it read what the model '{source}' says of itself"):
        info = family.inspect(source, folder, index)
        if not isinstance(info, ModelInfo):
            raise TypeError(f"inspect gave {brief(info)}, and should give a ModelInfo")
        if is_of_others(plugin):
            check_info(info, family)
    return replace(info, file=file, components=folders, family_id=plugin.id), family


def _shipped_by(folder: Path, registry: Registry) -> str | None:
    """The distribution that ships a model's folder."""
    model = shipped_in(registry, folder)
    return None if model is None else model.distribution


def _config_folder(
    source: str,
    shapes: Mapping[str, tuple[int, ...]],
    config: str | None,
    families: Families,
    registry: Registry,
) -> Path:
    """The folder with the configs of a single-file model: the one given, or the usual one."""
    give = "give the folder with its configs: --model-config FOLDER, or model_config in a recipe."
    if config is not None:
        folder = find_model(config, registry, weights=False)
        if not folder.is_dir():
            raise LdmError(f"the model_config '{config}' is a file; {give}")
        return folder
    usual = families.default_config(shapes)
    if usual is None:
        raise LdmError(f"no installed family knows the weights in '{source}'; {give}")
    try:
        return find_model(usual, registry, weights=False)
    except LdmError as error:
        raise LdmError(f"the configs of '{source}' are missing: {error.message}", give) from error


def lasting(source: str, path: Path) -> str:
    """A path in full, so that a manifest names it wherever it is read; or the name as it is."""
    return str(path) if in_full(source) == str(path) else source
