"""What cells of a comparison differ in: keys of a recipe, options of hook points, and inputs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, get_args

from ldm_core.composition.composition import Composition
from ldm_core.composition.recipe import KEYS, SETTINGS, STAGES, TRUST, read_value
from ldm_core.contracts import Input
from ldm_core.contracts.files import parts_of
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.jobs.columns import OF_CALL, SAME, read_input
from ldm_core.jobs.compositions import key_of
from ldm_core.plugins.registry import Registry
from ldm_core.values import brief

SHORT = {"guidance_scale": "guidance.scale"}
"""Other names of options."""
NO_AXES = {TRUST, "observers", "file_name"}
"""Keys and columns that change no picture."""
CLOSING = {"[": "]", "{": "}"}
EXAMPLE = "as in --over scheduler=euler,dpmpp_2m --over guidance.scale=2,4"


@dataclass(frozen=True)
class Axis:
    """One thing that cells differ in, with its values in their order.

    Attributes:
        name: as a person gave it.
        key: the key of a recipe, or the name of an input or of an argument of a call.
        option: of the hook point that the key names; empty where it is the key itself.
        values: as they are laid into a recipe or given to a call.
        labels: one for each value, all different.
    """

    name: str
    key: str
    option: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]

    @property
    def path(self) -> str:
        """What tells it from others, however it was called."""
        return f"{self.key}.{self.option}" if self.option else self.key


@dataclass(frozen=True)
class Names:
    """What can be an axis: what a recipe, a call and the models take.

    Args:
        declared: the models' inputs.
        lengths: the models' axes, such as width.
        registry: by which two names are seen to be of one plugin.
    """

    declared: Mapping[str, Input]
    lengths: frozenset[str]
    registry: Registry

    @classmethod
    def of(cls, compositions: Iterable[Composition]) -> Names:
        """Of models that are compared with one another."""
        several = list(compositions)
        declared = {name: one for c in reversed(several) for name, one in c.inputs.items()}
        lengths = frozenset(n for c in several for n in c.info.latents.names)
        return cls(declared, lengths, several[0].registry)

    def place(self, name: str) -> tuple[str, str]:
        """The key and the option that an axis is of.

        Raises:
            LdmError: there is no such key or input.
        """
        plain = name.strip().replace("-", "_")
        plain = SHORT.get(plain, SAME.get(plain, plain))
        key, dot, option = plain.partition(".")
        if dot and key in STAGES and option:
            return key, option
        if dot:
            raise LdmError(
                f"'{name}' is no axis: '{key}' takes no options so.{did_you_mean(key, STAGES)}",
                f"Hook points that do: {', '.join(STAGES)}.",
            )
        there = [n for n in (*KEYS, *OF_CALL, *self.lengths, *self.declared) if n not in NO_AXES]
        if plain not in there:
            shown = dict.fromkeys([*there, *SAME, *SHORT])
            raise LdmError(
                f"'{name}' is no key of a recipe and no input of the model, to compare over."
                f"{did_you_mean(plain, shown)}",
                f"inputs: {', '.join(self.declared) or 'none'}, seed; keys: "
                f"{', '.join(key for key in KEYS if key not in NO_AXES)}; "
                "options as scheduler.eta.",
            )
        return plain, ""


def axis(name: str, values: Sequence[Any], names: Names) -> Axis:
    """An axis of values as Python has them.

    Raises:
        LdmError: there is no such key or input, no values, or one of them twice.
    """
    key, option = names.place(name)
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise LdmError(f"the axis '{name}' should be a list of values, not {brief(values)}.")
    if not values:
        raise LdmError(f"the axis '{name}' has no values.")
    seen: dict[str, Any] = {}
    for value in values:
        text = key_of({"": _meant(value, key, option, names.registry)})
        if text in seen:
            also = "" if seen[text] is value else f", as {brief(seen[text])} too"
            also = also if brief(seen[text]) != brief(value) else ""
            raise LdmError(
                f"the axis '{name}' has the value {brief(value)} twice{also}; leave one."
            )
        seen[text] = value
    return Axis(name, key, option, tuple(values), _labels(values))


def _meant(value: Any, key: str, option: str, registry: Registry) -> Any:
    """What a value means, however it is written: 1.0 is 1, a table of a name alone is the name, and
    a name is that of one plugin."""
    if key in STAGES and not option and isinstance(value, str):
        value = {"name": value}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_meant(one, "", "", registry) for one in value]
    if not isinstance(value, Mapping):
        return value
    meant = {name: _meant(one, "", "", registry) for name, one in value.items()}
    if key in STAGES and not option and isinstance(name := meant.get("name"), str):
        with suppress(LdmError):  # which is said where the cell is composed
            meant["name"] = registry.find(key, name).id
    return meant


def read_axis(text: str, names: Names) -> Axis:
    """An axis as the command line has it, ``NAME=VALUE,VALUE``.

    Raises:
        LdmError: it has another form, or as of `axis`.
    """
    name, values = parted(text)
    key, option = names.place(name)
    one = axis(name, [_value(key, option, value, names) for value in values], names)
    typed = [
        label if text[:1] in "\"'[{" else text
        for text, label in zip(values, one.labels, strict=True)
    ]
    return replace(one, labels=tuple(typed))  # 1e38, as a person wrote it, and not 1e+38


def parted(text: str) -> tuple[str, list[str]]:
    """The name of an axis and the texts of its values.

    Raises:
        LdmError: it has another form, or an empty value.
    """
    name, equals, rest = text.partition("=")
    if not (equals and name.strip()):
        raise LdmError(f"--over '{text}' should look like NAME=VALUE,VALUE.", EXAMPLE)
    if not rest.strip():
        raise LdmError(f"the axis '{name}' has no values.", EXAMPLE)
    values = split_values(rest)
    if "" in values:
        raise LdmError(
            f"the axis '{name}' has an empty value between its commas.",
            'an empty text that is meant is given as "", and commas within a value stand in '
            "quotes or brackets.",
        )
    return name.strip(), values


def checked_axes(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    """Axes, seen to differ from one another.

    Raises:
        LdmError: there are none, or two are of the same thing.
    """
    if not axes:
        raise LdmError("there is nothing to compare over.", EXAMPLE)
    first: dict[str, Axis] = {}
    for one in axes:
        other = first.setdefault(one.path, one)
        if other is not one:
            also = "" if other.name == one.name else f", as '{other.name}' too"
            raise LdmError(
                f"the axis '{one.name}' is given twice{also}; put all its values in one."
            )
    return tuple(axes)


def split_values(text: str) -> list[str]:
    """Values with commas between them. One that begins with a quote or a bracket goes to its end,
    whatever commas are within.

    Raises:
        LdmError: a quote or bracket is not closed.
    """
    values, at = [], 0
    while True:
        begin = at
        while text[at : at + 1].isspace():
            at += 1
        at = _end(text, at)
        comma = text.find(",", at)
        values.append(text[begin : len(text) if comma < 0 else comma].strip())
        if comma < 0:
            return values
        at = comma + 1


def _end(text: str, at: int) -> int:
    """Where the quote or bracket ends that begins at a place; that place, where none does."""
    open_ones: list[str] = []
    quote = ""
    start = at
    while at < len(text):
        letter = text[at]
        if quote:
            at += letter == "\\" and quote == '"'
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in CLOSING:
            open_ones.append(CLOSING[letter])
        elif open_ones and letter == open_ones[-1]:
            open_ones.pop()
        elif not open_ones:
            return at
        at += 1
        if not (quote or open_ones):
            return at
    if quote or open_ones:
        raise LdmError(f"{brief(text[start:])} has a {quote or open_ones[-1]} that is missing.")
    return at


def _value(key: str, option: str, text: str, names: Names) -> Any:
    """The value that a text stands for on an axis: text that is quoted is what is within."""
    quoted = text[:1] in "\"'"
    if option or quoted:
        return read_value(text)
    if key in SETTINGS and str in parts_of(SETTINGS[key]):
        return text
    if key in OF_CALL or key in KEYS or key not in names.declared:
        return read_value(text)
    declared = names.declared[key]
    kinds = {*(get_args(declared.type) or (declared.type,))}
    return text if kinds - {NoneType} == {str} else read_input(declared, text)


def _labels(values: Sequence[Any]) -> tuple[str, ...]:
    labels: list[str] = []
    for value in values:
        text = _label(value)
        again = sum(label == text or label.startswith(f"{text} (") for label in labels)
        labels.append(f"{text} ({again + 1})" if text in labels else text)
    return tuple(labels)


def _label(value: Any) -> str:
    """What a value is called on a sheet and in a table."""
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, Mapping):
        rest = ", ".join(f"{k}={_label(v)}" for k, v in value.items() if k != "name")
        name = _label(value["name"]) if "name" in value else ""
        return f"{name} ({rest})" if name and rest else name or rest or "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_label, value))}]"
    if inspect.isroutine(value) or inspect.isclass(value):
        return value.__name__
    return str(value) if isinstance(value, int | float) else type(value).__name__
