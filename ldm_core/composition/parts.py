"""The names and options in a recipe become the parts that they stand for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from ldm_core import contracts
from ldm_core.composition.added import is_more
from ldm_core.composition.options_over import options_over
from ldm_core.composition.recipe import LISTS, STAGES, Layer, as_choice, is_ready_made
from ldm_core.composition.short_names import owned_name
from ldm_core.contracts import OtherModel, Record
from ldm_core.contracts.guidance import ModelsOwn
from ldm_core.errors import LdmError, PluginError
from ldm_core.model.recognition import inspect_model
from ldm_core.plugins.blame import AS_THEY_ARE, blamed, is_of_others
from ldm_core.plugins.options import (
    REQUIRED,
    Option,
    check_options,
    described,
    read_options,
    with_options,
)
from ldm_core.plugins.owners import Owners
from ldm_core.plugins.registry import Plugin, Registry
from ldm_core.values import brief

EDGES: Mapping[str, Callable[[Any], Any]] = {
    "scheduler": contracts.as_scheduler,
    "spacing": contracts.as_spacing,
    "guidance": contracts.as_guidance,
    "conditioning": contracts.as_conditioning,
    "attention": contracts.as_kernel,
    "encoder": contracts.as_encoder,
    "decoder": contracts.as_decoder,
    "denoiser": contracts.as_wrapper,
    "observer": contracts.as_observer,
    "converter": contracts.as_converter,
    "writer": contracts.as_writer,
    "metric": contracts.as_metric,
    "family": contracts.as_family,
}
"""Where what a plugin gives becomes the typed part that the core holds, by kind."""
DEEPEST = 50
"""Parts within parts; what is made of itself would have no last one."""
_depth = ContextVar("_depth", default=0)
Fitter = Callable[[str, Any], Any]
"""``fit(kind, part)``: the part for a model."""


def as_it_is(kind: str, part: Any) -> Any:
    """Where there is no model yet."""
    return part


def choices_of(layer: Layer) -> list[tuple[str, Layer]]:
    """Each choice of a layer with the key that it stands under; of lists, each entry."""
    one = [(key, layer[key]) for key in STAGES if key in layer]
    several = [(key, choice) for key in LISTS for choice in layer.get(key, [])]
    return one + [(key, choice) for key, choice in several if not is_more(choice)]


def check_choices(layer: Layer, registry: Registry) -> None:
    """Check the plugin names and options of a layer that may lack some; needs no model."""
    for key, choice in choices_of(layer):
        if isinstance(choice.get("name"), str):
            _plugin(LISTS.get(key, key), choice, registry, [], {})


def same_plugin(registry: Registry) -> Callable[[str, Any, Any], bool]:
    """Whether two names under a key of a recipe are one plugin's, such as ``ddim`` and
    ``ldm-core:ddim``; of parts made in Python, whether they are one object."""

    def same(key: str, name: Any, other: Any) -> bool:
        if not (isinstance(name, str) and isinstance(other, str)):
            return name is other
        kind = LISTS.get(key, key)
        resolved = [{plugin.id for plugin in registry.named(n, kind)} for n in (name, other)]
        return name == other or (len(resolved[0]) == 1 and resolved[0] == resolved[1])

    return same


def make(
    key: str,
    choice: Layer,
    registry: Registry,
    used: list[Plugin],
    own: Mapping[str, Layer],
    fit: Fitter = as_it_is,
    owners: Owners | None = None,
) -> Any:
    """The part that a choice under a key of a recipe stands for, its options set.

    Args:
        used: takes the plugins that it is made of.
        own: the model's own choices, which options may have as their default.
        fit: what fits the parts that options name to a model; the part itself is not yet fitted.
        owners: hears whose the part is, and those in it.
    Raises:
        LdmError: no such plugin or option.
        PluginError: another package's plugin fails, or gives no such part.
    """
    name = choice.get("name")
    options = {k: v for k, v in choice.items() if k != "name"}
    kind = LISTS.get(key, key)
    if name is None:
        raise LdmError(f"options are set for '{key}', but no {key} is chosen.")
    if is_ready_made(name):
        try:
            inner = partial(_inner, registry=registry, used=used, own=own, fit=fit, owners=owners)
            return EDGES[kind](_ready_made(key, name, options, inner))
        except LdmError as error:
            raise LdmError(f"'{key}': {error.message}", error.hint) from error
    depth = _depth.get()
    if depth > DEEPEST:
        raise LdmError(
            f"the {kind} '{name}' is made of others that are made of it, without end.",
            "an option that names another one is to have another default.",
        )
    before = _depth.set(depth + 1)
    try:
        return _plugin(kind, choice, registry, used, own, fit, owners)
    finally:
        _depth.reset(before)


def _plugin(
    kind: str,
    choice: Layer,
    registry: Registry,
    used: list[Plugin],
    own: Mapping[str, Layer],
    fit: Fitter = as_it_is,
    owners: Owners | None = None,
) -> Any:
    """A plugin with its options set; options that are plugins themselves are made first."""
    plugin = registry.find(kind, choice["name"])
    used.append(plugin)
    within = len(used)
    declared = plugin.settable
    values = {k: v for k, v in choice.items() if k != "name"}
    hint = f"`ldm plugins show {plugin.name}` describes it."
    options = check_options(declared, values, f"the {kind} '{plugin.name}'", hint)
    if is_of_others(plugin):
        options |= _of_its_own(declared, options)
    options |= _inner(plugin, declared, options, registry, used, own, fit, owners)
    with blamed(plugin, "while it was made", used):
        part = with_options(plugin.loaded, options)
        if plugin.earlier is not None:
            part = plugin.earlier.as_of_now(kind, part)
        part = _as_part(kind, part, plugin)
    if owners is not None:
        inside = next(filter(is_of_others, used[within:]), plugin)
        owners.add(part, plugin if is_of_others(plugin) else inside)
    return part


def _of_its_own(declared: Mapping[str, Option], options: Layer) -> dict[str, Any]:
    """Copies of the values that can be written into, defaults too, so that a part which does so
    changes neither what the manifest says nor the next part that is made."""
    plain = {name: option.default for name, option in declared.items() if option.kind is None}
    values = {**plain, **{name: value for name, value in options.items() if name in plain}}
    return {k: deepcopy(v) for k, v in values.items() if type(v) in (list, dict, set)}


def _as_part(kind: str, part: Any, plugin: Plugin) -> Any:
    """What a plugin gives, as the core holds it.

    Raises:
        LdmError: it is something else; a `PluginError` of another package's.
    """
    try:
        return EDGES[kind](part)
    except LdmError as error:
        if is_of_others(plugin):
            what = LdmError(f"it gives something else: {error.message}")
            raise PluginError(plugin.whose, "while it was made", what) from error
        raise LdmError(f"the {kind} '{plugin.id}' gives something else: {error.message}") from error


def _inner(
    owner: Plugin | str,
    declared: Mapping[str, Option],
    choice: Layer,
    registry: Registry,
    used: list[Plugin],
    own: Mapping[str, Layer],
    fit: Fitter,
    owners: Owners | None,
) -> dict[str, Any]:
    """The options that are parts or models themselves, by name, their defaults too, made and
    fitted."""
    made: dict[str, Any] = {}
    for name, option in declared.items():
        by_default = None if name in choice or isinstance(owner, str) else owner
        with by_its_word(by_default, f"by the default of its option '{name}'"):
            if option.kind == "model":
                sources = choice.get(name, option.default)
                if sources is None or sources is REQUIRED:
                    continue
                several = sources if isinstance(sources, list | tuple) else [sources]
                models = [other_model(source, registry) for source in several]
                made[name] = models if option.several else other_model(sources, registry)
            elif (inner := inner_choices(owner, option, choice, registry, own)) is not None:
                kind = str(option.kind)
                parts = [
                    fit(kind, make(kind, table, registry, used, below, fit, owners))
                    for table, below in inner
                ]
                made[name] = parts if option.several else parts[0]
    return made


@contextmanager
def by_its_word(plugin: Plugin | None, doing: str) -> Iterator[None]:
    """See that a choice which another package's plugin makes of itself, and which stands for no
    part, is the failure of that package; None where a person makes it."""
    try:
        yield
    except LdmError as error:
        if plugin is None or not is_of_others(plugin) or isinstance(error, AS_THEY_ARE):
            raise
        raise PluginError(plugin.whose, doing, error) from error


def inner_choices(
    owner: Plugin | str,
    option: Option,
    choice: Layer,
    registry: Registry,
    own: Mapping[str, Layer],
) -> list[tuple[Layer, Mapping[str, Layer]]] | None:
    """The choices that an option stands for which is a plugin itself, its default where the choice
    says nothing, each with the model's own choices for what lies in it.

    Args:
        owner: whose option it is; the name of a part that was made in Python.
        own: the model's own choices, which options may have as their default.
    Returns:
        One of most options, any number of one that takes several; None of an option that is no
        plugin, that stands for none, or whose model's own there is none of.
    """
    value = choice.get(option.name, option.default)
    if option.kind in (None, "model") or value is None or value is REQUIRED:
        return None
    if isinstance(value, ModelsOwn):
        if option.kind not in own:
            return None
        # it is made without itself as a default, so that it cannot stand in itself for ever
        return [(own[option.kind], {k: v for k, v in own.items() if k != option.kind})]
    if isinstance(value, Mapping) and "name" not in value:
        value = _named_by_default(option, value, own)
    several = option.several and isinstance(value, list | tuple)
    name = owner if isinstance(owner, str) else owner.name
    tables = [as_choice(f"{name}.{option.name}", v) for v in (value if several else [value])]
    if option.name not in choice and not isinstance(owner, str):
        tables = [_of_package(owner, str(option.kind), table, registry) for table in tables]
    return [(table, own) for table in tables]


def _named_by_default(
    option: Option, value: Mapping[str, Any], own: Mapping[str, Layer]
) -> Mapping[str, Any]:
    """The options of a plugin that is not named, with the one that the option takes by itself."""
    default = option.default
    if isinstance(default, ModelsOwn):
        default = own.get(str(option.kind))
    if isinstance(default, str):
        default = {"name": default}
    return options_over(default, value) if isinstance(default, Mapping) else value


def _of_package(plugin: Plugin, kind: str, choice: Layer, registry: Registry) -> Layer:
    """The default of an option, as the package means it that wrote it."""
    name = choice.get("name")
    if not isinstance(name, str):
        return choice
    return {**choice, "name": owned_name(registry, kind, name, plugin.distribution)}


def other_model(source: Any, registry: Registry) -> OtherModel:
    """The model that an option names.

    Raises:
        LdmError: there is none, or no family knows it.
    """
    if isinstance(source, OtherModel):
        return source
    if not isinstance(source, str | Path):
        raise LdmError(f"the model of an option is a name or a path, not {brief(source)}.")
    info, family = inspect_model(str(source), registry)
    return OtherModel(info, lambda place: family.load(info, place))


def _ready_made(
    key: str, thing: Any, options: dict[str, Any], inner: Callable[..., dict[str, Any]]
) -> Any:
    """A part given in Python: a function or factory like a plugin's target, or the thing itself.

    Args:
        inner: makes those of its options that are parts themselves.
    """
    if inspect.isroutine(thing) or inspect.isclass(thing) or isinstance(thing, Record):
        short = qualified_name(thing).rpartition(".")[2]
        declared = read_options(thing)
        options = check_options(declared, options, f"the {key} {short}", "")
        return with_options(thing, options | inner(short, declared, options))
    if options:
        raise LdmError(
            f"the {key} is an object made in Python, so its options ({', '.join(options)}) cannot "
            "be set here; make it with them, or give its factory."
        )
    return thing


def qualified_name(thing: Any) -> str:
    """A part made in Python by its module and name: of a function or class its own name, of
    anything else that of its class."""
    function = described(thing)
    named = inspect.isroutine(function) or inspect.isclass(function)
    owner: Any = function if named else type(function)
    return f"{owner.__module__}.{owner.__qualname__}"
