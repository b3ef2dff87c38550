"""Recipes: which plugin at each hook point, with its options, as layers of plain tables.

A recipe is a TOML file::

    model = "shapes"
    num_inference_steps = 25
    scheduler = "ddim"                               # a name alone, or a table with options:
    guidance = { name = "classifier_free", scale = 4.0 }
    noise = "pyramid"                                # white where not said
    denoisers = [{ name = "clip_x0", limit = 1.0 }]  # a list, as are conditioning, observers
    loras = ["ink.safetensors:0.8"]                  # and converters; LoRA have a key of their own

    [spacing]
    name = "karras"
    rho = 7.0

    [plugins]                                        # which may be imported, and used, at all
    deny = ["ldm-other"]

Layers lie over one another: the family's defaults, the model folder's ``ldm.toml``, the recipe,
overrides. Where a layer names another plugin, the options below it go; where it names the same
or none, options are added to. A list takes the place of the one below, or adds to it where its
entry ``"..."`` stands for that. What ``[plugins]`` of each layer says holds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, Literal

from ldm_core.composition.added import MORE, is_more, joined
from ldm_core.composition.keys_elsewhere import key_elsewhere
from ldm_core.composition.limits import check_steps
from ldm_core.composition.memory_size import MemorySize
from ldm_core.composition.noise import KEY as NOISE
from ldm_core.composition.noise import as_noise
from ldm_core.composition.options_over import at_path, options_over
from ldm_core.contracts.files import to_read
from ldm_core.contracts.latents import AtLeastOne
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model.lora import as_lora
from ldm_core.model.reading import read_bytes
from ldm_core.plugins.trust import narrowed
from ldm_core.values import brief, fitted, plain, type_name

Layer = dict[str, Any]
Same = Callable[[str, Any, Any], bool]
"""``same(key, name, other)``: whether two names under a key of a recipe are one plugin's."""

Fast = Literal["lossless", "lossy"]
"""What a recipe's ``fast`` may be: converters that keep the picture, or also such that do not."""
STAGES = ("scheduler", "spacing", "guidance", "attention", "encoder", "decoder")
"""Hook points that take one plugin."""
LISTS = {
    "conditioning": "conditioning",
    "denoisers": "denoiser",
    "observers": "observer",
    "converters": "converter",
}
"""Hook points that take several, each with its kind of plugin."""
SETTINGS: dict[str, Any] = {
    "model": str | Path,
    "model_config": str | Path,
    "components": dict[str, str | Path],
    "num_inference_steps": AtLeastOne,
    "width": AtLeastOne,
    "height": AtLeastOne,
    "extent": dict[str, AtLeastOne],
    "device": str,
    "dtype": str,
    "compute_dtype": str,
    "memory": MemorySize,
    "tf32": bool,
    "fast": Fast,
}
TRUST = "plugins"
"""The key that says which plugins may be imported, and the lists that it may hold."""
TRUST_LISTS = ("allow", "deny")
KEYS = (*SETTINGS, TRUST, NOISE, "loras", *STAGES, *LISTS)
FIRST_OF = "ldm-core:first_of"
"""The attention plugin that several kernels in a list stand for."""
LONGEST = 2**20
"""Bytes of a recipe."""
BETWEEN = re.compile(r"[\n,={}\[\]]")
"""What stands between keys, and between numbers."""
MOST_DOTS = 1000
"""Of a key, or a text."""


def read_recipe(path: Path, *, translated: bool = True) -> Layer:
    """A recipe file as a layer.

    Args:
        translated: of a key that is none it is said what it is called here, as the tables of the
            installed packages say, which are looked for then.
    Raises:
        LdmError: no such file, no TOML, or a key or value that a recipe cannot have.
    """
    try:
        data = read_bytes(to_read(path, "the recipe"), LONGEST)
    except OSError as error:
        raise LdmError(f"the recipe {path} cannot be read: {error.strerror}.") from None
    try:
        raw = _loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise LdmError(
            f"the recipe {path} is not UTF-8 text: {error}", "save it in UTF-8, as TOML has to be."
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise LdmError(f"the recipe {path} is not valid TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        raise LdmError(f"the recipe {path} cannot be read: {_reason(error)}.") from None
    try:
        return as_layer(raw, translated=translated)
    except LdmError as error:
        raise LdmError(f"in the recipe {path}: {error}") from None


def as_layer(raw: Mapping[str, Any], *, translated: bool = True) -> Layer:
    """Check the keys of a recipe and write every choice as a table; unset (None) entries go.

    Args:
        translated: as of `read_recipe`.
    Raises:
        LdmError: an unknown key, or a value of the wrong kind.
    """
    layer: Layer = {}
    for key, value in raw.items():
        if not isinstance(key, str):
            raise LdmError(f"the keys of a recipe are text, and {brief(key)} is none.")
        if value is None and key in KEYS:
            continue
        if key in SETTINGS:
            layer[key] = _setting(key, value)
            if key == "num_inference_steps":
                check_steps(layer[key])
        elif key == TRUST:
            layer[key] = _trust(value)
        elif key == NOISE:
            layer[key] = as_noise(value)
        elif key == "loras":
            entries = value if isinstance(value, list | tuple) else [value]
            layer[key] = _once_more(key, [as_lora(entry) for entry in entries])
        elif key in STAGES:
            layer[key] = as_choice(key, value)
        elif key in LISTS:
            entries = value if isinstance(value, list | tuple) else [value]
            layer[key] = _once_more(key, [as_choice(key, entry) for entry in entries])
        else:
            near = (translated and key_elsewhere(key)) or did_you_mean(key, KEYS)
            raise LdmError(f"a recipe has no key {brief(key)}.{near} Its keys: {', '.join(KEYS)}.")
    for side in layer.keys() & layer.get("extent", {}).keys():
        raise LdmError(f"'{side}' is given twice, by its name and in 'extent'; give it once.")
    return layer


def _setting(key: str, value: Any) -> Any:
    """A value of a key that is no hook point's."""
    try:
        value = fitted(SETTINGS[key], value)
    except ValueError as error:
        form = type_name(SETTINGS[key])
        if type_name(type(value)) == form:  # but out of bounds
            raise LdmError(f"'{key}' cannot be {brief(value)}: {error}.") from None
        raise LdmError(f"'{key}' should be {form}, not {brief(value)}: {error}.") from None
    if key == "components":
        return {name: str(path) for name, path in value.items()}
    return str(value) if isinstance(value, Path) else value


def _trust(value: Any) -> Layer:
    """The table of plugins that may be imported."""
    if not isinstance(value, Mapping):
        raise LdmError(f"'{TRUST}' is a table of lists, 'allow' and 'deny', not {brief(value)}.")
    for name, entries in value.items():
        if name not in TRUST_LISTS:
            raise LdmError(
                f"'{TRUST}' has no list {brief(name)}.{did_you_mean(str(name), TRUST_LISTS)} "
                "Its lists: allow, deny."
            )
        if not isinstance(entries, list | tuple) or not all(isinstance(e, str) for e in entries):
            raise LdmError(
                f"'{TRUST}.{name}' should be a list of packages, or of 'package:entry point', not "
                f"{brief(entries)}."
            )
    return {name: list(entries) for name, entries in value.items()}


def _once_more(key: str, entries: list[Layer]) -> list[Layer]:
    """A list in which what is below it stands at one place."""
    if sum(map(is_more, entries)) > 1:
        raise LdmError(f"'{key}' says '{MORE}', which is all that is below it, more than once.")
    if strange := [e for e in entries if is_more(e) and e not in ({"name": MORE}, as_lora(MORE))]:
        raise LdmError(f"'{MORE}' in '{key}' stands by itself, without {brief(strange[0])}.")
    return entries


def as_choice(key: str, value: Any) -> Layer:
    """The choice of a plugin, by name or as a table, as a table; several attention kernels as the
    plugin that takes the first of them that can."""
    if key == "attention" and isinstance(value, list | tuple):
        entries = [as_choice(key, entry) for entry in value]
        return entries[0] if len(entries) == 1 else {"name": FIRST_OF, "kernels": entries}
    if isinstance(value, str):
        return {"name": value}
    if is_ready_made(value):
        return {"name": value}
    if isinstance(value, Mapping):
        name = value.get("name")
        if name is not None and not (isinstance(name, str) or is_ready_made(name)):
            raise LdmError(f"the name of '{key}' should be text, not {brief(name)}.")
        if strange := [option for option in value if not isinstance(option, str)]:
            raise LdmError(f"the options of '{key}' have names, and {brief(strange[0])} is none.")
        if name is None and key in LISTS:
            raise LdmError(f"each entry of '{key}' needs a name.")
        return {option: _plain(entry) for option, entry in value.items()}
    raise LdmError(f"'{key}' should be a plugin's name or a table with a name, not {brief(value)}.")


def _plain(value: Any) -> Any:
    """A value whose numbers of NumPy and torch are Python's, so that a manifest can hold it."""
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    if type(value) is dict:
        return {key: _plain(entry) for key, entry in value.items()}
    return plain(value)


def is_ready_made(value: Any) -> bool:
    """Whether a choice is, in Python, the thing itself rather than a plugin's name."""
    return not isinstance(value, str | int | float | list | tuple | Mapping | None)


def override(setting: str) -> Layer:
    """``hook.option=value`` as a layer; the value is read as TOML, or else as text. Of a plugin in
    an option it is ``hook.option.option=value``.

    Raises:
        LdmError: it has another form, or names no hook point.
    """
    target, equals, text = setting.partition("=")
    hook, dot, option = target.strip().partition(".")
    if not (equals and hook):
        raise LdmError(
            f"'{setting}' should look like hook.option=value.", "as in --set scheduler.eta=1"
        )
    if hook.strip() == TRUST:
        raise LdmError(
            f"'{TRUST}' is read before any plugin is imported, from the recipe's file; --set comes "
            "too late for it.",
            "LDM_DISABLE_PLUGINS and LDM_ALLOW_PLUGINS in the environment say it too.",
        )
    value = read_value(text)
    if not dot:
        return as_layer({hook: value})
    if hook not in STAGES:
        raise LdmError(
            f"'{hook}' takes no options by --set.{did_you_mean(hook, STAGES)} "
            f"Hook points that do: {', '.join(STAGES)}."
        )
    return as_layer({hook: at_path(option, value)})


def read_value(text: str) -> Any:
    """A value that is written in a line of its own, read as TOML or else as text.

    Raises:
        LdmError: it is nested more deeply than can be read, or a number is longer.
    """
    try:
        table = _loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    except (RecursionError, ValueError) as error:
        raise LdmError(f"the value {brief(text)} cannot be read: {_reason(error)}.") from None
    # what goes on in another line is no value; dates are text here
    dates = isinstance(table["value"], date | time)
    return text.strip() if len(table) > 1 or dates else table["value"]


def _loads(text: str) -> Layer:
    """TOML as a table.

    Raises:
        RecursionError: it is nested too deeply; keys of many dots take time with their square.
        ValueError: it is no TOML, or a number is too long.
    """
    if any(piece.count(".") > MOST_DOTS for piece in BETWEEN.split(text)):
        raise RecursionError
    return tomllib.loads(text)


def _reason(error: Exception) -> str:
    """Why TOML cannot be read, where it is not its form."""
    return (
        "it is nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
    )


def _same_text(key: str, name: Any, other: Any) -> bool:
    return bool(name == other)


def lay(below: Mapping[str, Any], over: Mapping[str, Any], same: Same = _same_text) -> Layer:
    """One layer over another.

    Args:
        same: whether two names are one plugin's; by their text where no registry is at hand.
    """
    extent = over.get("extent", {})
    result = {key: value for key, value in below.items() if key not in extent}
    if sides := {*result.get("extent", {})} & over.keys():
        result["extent"] = {n: v for n, v in result["extent"].items() if n not in sides}
    for key, value in over.items():
        lower = result.get(key)
        if key == "extent" and lower:
            result[key] = {**lower, **value}
        elif key in STAGES and lower and _goes_on(key, lower, value, same):
            result[key] = options_over(lower, value)
        elif key == TRUST and lower:
            result[key] = _both(lower, value)
        elif key in (*LISTS, "loras") and lower is not None:
            result[key] = joined(value, lower)
        else:
            result[key] = value
    return result


def _both(lower: Layer, value: Layer) -> Layer:
    """What may be imported by both of two tables."""
    result = {**lower, **value}
    if "deny" in lower and "deny" in value:
        result["deny"] = list(dict.fromkeys([*lower["deny"], *value["deny"]]))
    if "allow" in lower and "allow" in value:
        result["allow"] = narrowed(lower["allow"], value["allow"])
    return result


def _goes_on(key: str, lower: Layer, value: Layer, same: Same) -> bool:
    """Whether a choice adds options to the one below, which may not have a name yet."""
    if "name" not in value or "name" not in lower:
        return "name" not in value
    return same(key, value["name"], lower["name"])
