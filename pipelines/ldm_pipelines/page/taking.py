"""A picture that was dropped on the page: its recipe, as a person would fill it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldm_core.composition.nested import only
from ldm_core.composition.noise import as_noise
from ldm_core.composition.recipe import LISTS
from ldm_core.media import manifest as manifests
from ldm_core.media.manifest_record import Manifest
from ldm_core.media.picture_manifests import read_manifest
from ldm_core.plugins.registry import Plugin, Registry
from ldm_pipelines.page.description import describe, plugin_names
from ldm_pipelines.page.filled import HOOKS, Filled
from ldm_pipelines.page.folders import Folders

TAKEN = ("dtype", "compute_dtype")
"""Keys of a recipe that are taken over, beside hook points and noise."""
NOT_TAKEN = ("model_config", "tf32", "fast")


@dataclass(frozen=True)
class Taken:
    """What was taken over, and in words what was not."""

    filled: Filled
    left: tuple[str, ...] = field(default=())


def take(picture: Path, folders: Folders, registry: Registry) -> Taken:
    """The recipe of a picture, video or sound that ldm made.

    Raises:
        LdmError: it has none, or none that can be used here.
    """
    manifest, left = Manifest.of(read_manifest(picture)), []
    layer = manifests.recipe_of(manifest, registry, checked=False)
    model = _model(str(layer.get("model", "")), folders, registry)
    parts: dict[str, tuple[str, ...]] = {}
    options: dict[tuple[str, str, str], Any] = {}
    for hook in HOOKS:
        kind, tables = LISTS.get(hook, hook), layer.get(hook, [])
        names = []
        for table in tables if isinstance(tables, list) else [tables]:
            plugin = only(registry, kind, table.get("name"))
            if plugin is None:
                left.append(f"the {kind} '{table.get('name')}', which is not installed")
                continue
            names.append(_name(plugin, registry))
            options |= {(hook, plugin.id, n): v for n, v in table.items() if n != "name"}
        parts[hook] = tuple(names)
    if manifest.command is not None:
        left.append(f"that the command {manifest.command.name} made it")
    if layer.get("loras"):
        left.append("its LoRA; name them again")
    settings = {key: layer[key] for key in TAKEN if key in manifest.recipe and key in layer}
    if "noise" in layer:
        settings["noise"] = layer["noise"]["name"]
        if as_noise(settings["noise"]) != layer["noise"]:
            left.append("the options of its noise")
    left += [f"its {key.replace('_', ' ')}" for key in NOT_TAKEN if manifest.recipe.get(key)]
    settings["num_inference_steps"] = manifest.num_inference_steps
    filled = Filled(model, parts, settings, options, {}, manifest.size, "", manifest.seed)
    described = describe(filled, folders, registry)
    if described.problem:
        left.append(f"its plugins together: {described.problem}")
    raw = {}
    for key, value in options.items():
        one = described.options.get(key)
        if one is None:
            continue
        if (filled_in := one.written(value)) != one.shown:
            raw[key] = filled_in
        if isinstance(value, dict) and one.widget == "choice" and [*value] != ["name"]:
            left.append(f"the options of '{value.get('name')}' in '{key[2]}'")
    inputs = {n: v for n, v in manifest.inputs.items() if n in described.input_fields}
    left += [f"the input '{n}'" for n in manifest.inputs.keys() - inputs.keys()]
    written = {n: described.input_fields[n].written(v) for n, v in inputs.items()}
    return Taken(
        Filled(model, parts, settings, raw, written, manifest.size, "", manifest.seed),
        tuple(left),
    )


def _model(source: str, folders: Folders, registry: Registry) -> str:
    """A model of a picture as the page names it."""
    names = folders.model_names(registry)
    for model in registry.models:
        if source in (model.name, model.id):
            return model.name if model.name in names else model.id
    if source in names:
        return source
    folders.check({"model": source}, {}, {}, registry)
    return source


def _name(plugin: Plugin, registry: Registry) -> str:
    short = plugin_names(registry, plugin.kind)
    return plugin.name if plugin.name in short else plugin.id
