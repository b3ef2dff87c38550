"""What a person filled in on the page, as a recipe and a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldm_core.composition.named_files import KEY, names_file
from ldm_core.composition.nested import only
from ldm_core.composition.recipe import LISTS, STAGES, Layer, as_layer
from ldm_core.contracts import Input
from ldm_core.contracts.files import parts_of, with_full_paths
from ldm_core.errors import LdmError
from ldm_core.model.lora import as_lora
from ldm_core.plugins.options import Option
from ldm_core.plugins.registry import Registry
from ldm_pipelines.page.fields import LEFT, Field, Names, is_required, of_option
from ldm_pipelines.page.folders import Folders
from ldm_pipelines.page.nesting import put, still_there

MOST_IMAGES = 64
"""Pictures that are made at once."""
HOOKS = (*STAGES, *LISTS)


@dataclass(frozen=True)
class Filled:
    """What a person filled in.

    Attributes:
        parts: by hook point the names of plugins; none for what the model has.
        settings: keys of a recipe that are no hook point's, such as ``num_inference_steps``.
        options: by hook point, by plugin, by option.
        inputs: by name, and lengths of the model's axes.
        loras: a file a line, with ``:SCALE`` behind it.
        seed: of the first picture; drawn where None.
        format: name of a writer; of the medium's own where empty.
    """

    model: str
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[tuple[str, str, str], Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Any] = field(default_factory=dict)
    loras: str = ""
    seed: int | None = None
    count: int = 1
    format: str = ""


@dataclass(frozen=True)
class Asked:
    """A recipe, and a call of the pipeline that it makes."""

    layer: Layer
    inputs: dict[str, Any]
    seed: int | None
    count: int
    axes: dict[str, int] = field(default_factory=dict)
    format: str | None = None

    @property
    def call(self) -> dict[str, Any]:
        """What a pipeline takes."""
        given = {"seed": self.seed, "num_images_per_prompt": self.count}
        return {**self.inputs, **self.axes, **{k: v for k, v in given.items() if v is not None}}


def names_alone(filled: Filled, folders: Folders, registry: Registry) -> Layer:
    """The recipe without options but those that plugins fill, and those that have to be filled in:
    by these it is seen which fields there are.

    Raises:
        LdmError: a value does not fit, or a file lies outside the folders.
    """
    layer: Layer = {"model": filled.model}
    for hook in HOOKS:
        tables = [{"name": name} for name in filled.parts.get(hook, ())]
        for table in tables:
            plugin = only(registry, LISTS.get(hook, hook), table["name"])
            for name, option in ({} if plugin is None else plugin.options).items():
                told = filled.options.get((hook, plugin.id, name)) if plugin else None
                if told and option.kind not in (None, "model"):
                    table[name] = told
                elif told and is_required(option):
                    table[name] = _in_full(of_option(option, Names()).read(told), option, folders)
        if tables:
            layer[hook] = tables if hook in LISTS else tables[0]
    return layer


def asked(
    filled: Filled,
    options: Mapping[tuple[str, str, str], Field],
    inputs: Mapping[str, Field],
    declared: Mapping[str, Input],
    folders: Folders,
    registry: Registry,
) -> Asked:
    """What is asked for, once all that can be seen of it without the model is seen to.

    Args:
        options, inputs: the fields that were shown.
        declared: the inputs of the model.
    Raises:
        LdmError: a value does not fit, or a file lies outside the folders.
    """
    layer: Layer = {"model": filled.model}
    layer |= {key: value for key, value in filled.settings.items() if value not in (None, "")}
    if lines := [line.strip() for line in filled.loras.splitlines() if line.strip()]:
        layer["loras"] = [_lora(line, folders) for line in lines]
    for hook in HOOKS:
        names = filled.parts.get(hook, ())
        tables = [{"name": name} for name in names]
        for (where, plugin, name), one in options.items():
            if where != hook or (where, plugin, name) not in filled.options:
                continue
            value = one.read(filled.options[where, plugin, name])
            if value is LEFT:
                continue
            fields = {n: f for (w, p, n), f in options.items() if (w, p) == (hook, plugin)}
            told = {n: v for (w, p, n), v in filled.options.items() if (w, p) == (hook, plugin)}
            if not still_there(name, fields, told, registry):
                continue
            leaf = name.rpartition(".")[2]
            value = _in_full(value, Option(leaf, one.annotation, None, ""), folders)
            put(_table_of(tables, plugin, hook, registry), name, value, fields)
        if tables:
            layer[hook] = tables if hook in LISTS else tables[0]
    values = {name: one.read(filled.inputs.get(name)) for name, one in inputs.items()}
    values = {name: value for name, value in values.items() if value is not LEFT}
    given = {n: _input_in_full(declared[n], v, folders) for n, v in values.items()}
    if not (isinstance(filled.count, int) and 1 <= filled.count <= MOST_IMAGES):
        raise LdmError(f"the page makes 1 to {MOST_IMAGES} pictures at once, not {filled.count}.")
    axes = {name: int(value) for name, value in filled.axes.items() if value not in (None, "")}
    layer = as_layer(layer)
    folders.check(layer, given, declared, registry)
    return Asked(layer, given, filled.seed, filled.count, axes, filled.format or None)


def _table_of(tables: list[Layer], plugin: str, hook: str, registry: Registry) -> Layer:
    """The choice of a plugin, to which an option is added; of the model's own a new one."""
    kind = LISTS.get(hook, hook)
    for table in tables:
        found = only(registry, kind, table.get("name"))
        if table.get("name") == plugin or (found is not None and found.id == plugin):
            return table
    if hook in LISTS:  # of the model's own list, whose entries are then all named
        raise LdmError(f"choose '{plugin}' under '{hook}' to set its options.")
    if not tables:
        tables.append({})
    return tables[0]


def _in_full(value: Any, option: Option, folders: Folders) -> Any:
    if option.kind is None and names_file(option):
        return with_full_paths(value, True, (KEY,), folders.named)
    return str(value) if isinstance(value, Path) else value


def _input_in_full(one: Input, value: Any, folders: Folders) -> Any:
    if not (Path in parts_of(one.type) or one.file_keys):
        return value
    names = Path in parts_of(one.type)
    return with_full_paths(value, names, one.file_keys, lambda name: str(folders.file(name)))


def _lora(line: str, folders: Folders) -> Layer:
    table = as_lora(line)
    return {**table, "path": folders.named(table["path"])}
