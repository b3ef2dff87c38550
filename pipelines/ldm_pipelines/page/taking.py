"""A file that was dropped on the page: how it was made, as a person would fill it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ldm_core.cli.show import made
from ldm_core.cli.taken_over import taken_of_recorded
from ldm_core.composition.nested import only
from ldm_core.composition.noise import as_noise
from ldm_core.composition.recipe import LISTS, Layer
from ldm_core.contracts import ModelInfo
from ldm_core.errors import LdmError
from ldm_core.media import manifest as manifests
from ldm_core.media.manifest_record import Manifest
from ldm_core.media.recorded import Recorded
from ldm_core.model.recognition import inspect_model
from ldm_core.plugins.registry import Plugin, Registry
from ldm_pipelines.page.description import describe, plugin_names
from ldm_pipelines.page.filled import HOOKS, Filled
from ldm_pipelines.page.folders import Folders
from ldm_pipelines.page.nesting import flat

TAKEN = ("dtype", "compute_dtype")
"""Keys of a recipe that are taken over, beside hook points, LoRA and noise."""
NOT_TAKEN = ("model_config", "components", "tf32", "fast")
LEFT = "not taken over: "
"""What a note begins with that says so."""


@dataclass(frozen=True)
class Taken:
    """What was taken over, in words what was not, and what else is to be said."""

    filled: Filled
    left: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = ()


def take(picture: Path, folders: Folders, registry: Registry, model: str = "") -> Taken:
    """What a picture, video or sound of ours says, or a picture of A1111 or ComfyUI.

    Args:
        model: that is chosen on the page; it stays where another program made the picture.
    Raises:
        LdmError: it does not say how it was made, or that cannot be used here.
    """
    table, recorded = made(picture)
    if recorded is not None:
        return _of_another(recorded, model, folders, registry)
    if "chain" in (table or {}):
        raise LdmError(
            "several pipelines made it, one after the other, and the page has the form of one.",
            "`ldm replay` makes it again.",
        )
    return _of_ours(Manifest.of(table or {}), folders, registry)


def _of_ours(manifest: Manifest, folders: Folders, registry: Registry) -> Taken:
    layer, left = dict(manifests.recipe_of(manifest, registry, checked=False)), []
    if manifest.command is not None:
        left.append(f"that the command {manifest.command.name} made it")
    settings = {key: layer[key] for key in TAKEN if key in manifest.recipe and key in layer}
    if "noise" in layer:
        settings["noise"] = layer["noise"]["name"]
        if as_noise(settings["noise"]) != layer["noise"]:
            left.append("the options of its noise")
    left += [f"its {key.replace('_', ' ')}" for key in NOT_TAKEN if manifest.recipe.get(key)]
    if manifest.decoded_in_tiles is not None:
        left.append("that it was decoded in tiles")
    settings["num_inference_steps"] = manifest.num_inference_steps
    form = _Form(_model(str(layer.get("model", "")), folders, registry), folders, registry, left)
    loras = form.loras(layer.get("loras", []))
    return form.taken(layer, settings, manifest.inputs, manifest.size, manifest.seed, loras)


def _of_another(recorded: Recorded, model: str, folders: Folders, registry: Registry) -> Taken:
    found = taken_of_recorded(recorded, registry, _info(model, folders, registry))
    layer = dict(found.layer)
    settings = {"num_inference_steps": layer.pop("num_inference_steps", "")}
    left = [note.removeprefix(LEFT) for note in found.notes if note.startswith(LEFT)]
    form = _Form(model, folders, registry, left)
    taken = form.taken(layer, settings, found.inputs, found.size, found.seed)
    notes = tuple(note for note in found.notes if not note.startswith(LEFT))
    return replace(taken, notes=notes)


def _info(model: str, folders: Folders, registry: Registry) -> ModelInfo | None:
    """What is known of the model that is chosen; None where there is none, or it cannot be had,
    which the form says."""
    try:
        folders.check({"model": model}, {}, {}, registry)
        return inspect_model(model, registry)[0] if model else None
    except LdmError:
        return None


@dataclass(frozen=True)
class _Form:
    """The form of a model, filled in from a recipe and a call.

    Attributes:
        left: in words what is not taken over, to which more is added.
    """

    model: str
    folders: Folders
    registry: Registry
    left: list[str]

    def taken(
        self,
        layer: Layer,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Any],
        size: Mapping[str, int],
        seed: int | None,
        loras: str = "",
    ) -> Taken:
        parts, options = self._parts(layer)
        filled = Filled(self.model, parts, settings, options)
        described = describe(filled, self.folders, self.registry)
        if described.problem:
            self.left.append(f"its plugins together: {described.problem}")
        raw = {}
        for key, value in options.items():
            one = described.options.get(key)
            if one is None:
                self.left.append(f"'{key[2]}' of its {key[0]}, which has no such option here")
            elif (filled_in := self._short(one.kind, one.written(value))) != one.shown:
                raw[key] = filled_in
        known = {n: v for n, v in inputs.items() if n in described.input_fields}
        self.left.extend(f"the input '{n}'" for n in inputs if n not in known)
        written = {n: described.input_fields[n].written(v) for n, v in known.items()}
        axes = {n: length for n, length in size.items() if n in described.axes}
        self.left.extend(f"its {n}" for n in size if n not in axes)
        return Taken(
            Filled(self.model, parts, settings, raw, written, axes, loras, seed), tuple(self.left)
        )

    def _parts(self, layer: Layer) -> tuple[dict[str, tuple[str, ...]], dict[Any, Any]]:
        """Plugins by hook point, and the options of all of them."""
        parts: dict[str, tuple[str, ...]] = {}
        options: dict[tuple[str, str, str], Any] = {}
        for hook in HOOKS:
            kind, tables, names = LISTS.get(hook, hook), layer.get(hook, []), []
            for table in tables if isinstance(tables, list) else [tables]:
                name = table.get("name") or self._own(hook)
                plugin = only(self.registry, kind, name)
                if plugin is None:
                    self.left.append(f"the {kind} '{name}', which is not installed")
                    continue
                if table.get("name"):
                    names.append(_name(plugin, self.registry))
                below = flat(plugin, table, self.registry)
                options |= {(hook, plugin.id, n): v for n, v in below.items()}
            parts[hook] = tuple(names)
        return parts, options

    def _short(self, kind: str | None, value: Any) -> Any:
        """A value, the names of plugins in it as the page has them."""
        if kind is None or not value:
            return value
        if isinstance(value, list):
            return [self._short(kind, entry) for entry in value]
        plugin = only(self.registry, kind, value)
        return value if plugin is None else _name(plugin, self.registry)

    def _own(self, hook: str) -> str:
        """The plugin that the model has at a hook point."""
        sections = describe(Filled(self.model), self.folders, self.registry).sections
        return next((s.plugin.id for s in sections if s.hook == hook), "")

    def loras(self, entries: Any) -> str:
        """Lines for LoRA that lie in the folders of the page; of others it is said."""
        lines = []
        for entry in entries:
            path, called = str(entry.get("path")), Path(str(entry.get("path"))).name
            if "scales" in entry:
                self.left.append(f"its LoRA '{called}', as its parts have scales of their own")
                continue
            try:
                lines.append(f"{self.folders.named(path)}:{entry.get('scale', 1.0)}")
            except LdmError:
                self.left.append(f"its LoRA '{called}', which lies in none of the folders here")
        return "\n".join(lines)


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
