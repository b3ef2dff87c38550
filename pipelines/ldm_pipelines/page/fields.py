"""One field of a form: made of the type, default and help that a plugin declares, and read back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ldm_core.composition.recipe import read_value
from ldm_core.composition.toml_text import as_toml
from ldm_core.contracts import Input
from ldm_core.contracts.files import NAMES_FILE, READ, WRITTEN, parts_of
from ldm_core.errors import LdmError
from ldm_core.plugins.options import REQUIRED, Option
from ldm_core.values import brief, fitted, json_schema, type_name

Widget = Literal["truth", "whole", "number", "choice", "several", "text", "lines", "file", "toml"]
"""What a person fills in: a box to tick, a whole number, a number, one or several of a list, a line
or lines of text, the path of a file or a list of such, or a value as a recipe has it."""
TEXT = (str, str | None)
"""Types of an input that is text alone."""
LEFT = object()
"""In the place of a value that is left as the plugin or the model has it."""
BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "from",
    "exclusiveMaximum": "below",
    "maximum": "up to",
}
TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        shown: what stands in it at first, as its widget holds it.
        choices: of ``choice`` and ``several``; an empty one stands for what is not said.
        bounds: of a number, in words.
        of: of an option of a plugin that is itself an option, that plugin's id; its name is then
            behind that of the option it fills, as ``inner.order``.
        own: what the plugin or the model has, as a recipe holds it.
    """

    name: str
    annotation: Any
    widget: Widget
    shown: Any = None
    choices: tuple[str, ...] = ()
    bounds: str = ""
    required: bool = False
    help: str = ""
    of: str = ""
    own: Any = None

    @property
    def kind(self) -> str | None:
        """The kind of plugin that fills it; None where none does."""
        kind = Option(self.name, self.annotation, None, "").kind
        return None if kind == "model" else kind

    def read(self, raw: Any) -> Any:
        """What a person filled in, as its type wants it; `LEFT` where they left it.

        Raises:
            LdmError: it is of another type, or out of range.
        """
        if raw is None or raw == "" or raw == []:
            if self.required:
                raise LdmError(
                    f"'{self.name}' is needed: {self.help or type_name(self.annotation)}."
                )
            return LEFT
        if raw == self.shown and not self.required:
            return LEFT
        value = self._of_widget(raw)
        if self.widget in ("several", "choice") and value is raw:
            return value  # names of plugins, which are resolved where the pipeline is composed
        try:
            return fitted(self.annotation, value, text=True)
        except ValueError as error:
            form = type_name(self.annotation)
            raise LdmError(
                f"'{self.name}' should be {form}, not {brief(value)}: {error}."
            ) from None

    def written(self, value: Any) -> Any:
        """A value as a person would fill it in; of a plugin its name alone."""
        return names_of_choice(value) if self._of_plugins else _shown(self.widget, value)

    def _of_widget(self, raw: Any) -> Any:
        if self.widget == "choice" and isinstance(raw, str) and not self._of_plugins:
            if raw not in self.choices:
                raise LdmError(f"'{self.name}' is one of {', '.join(filter(None, self.choices))}.")
            return TRUTHS.get(raw, _literals(self.annotation).get(raw, raw))
        lists = [kind for kind in _members(self.annotation) if get_origin(kind) is list]
        several = self.widget == "file" and bool(lists)
        if isinstance(raw, str) and (
            self.widget == "toml" or (several and raw.lstrip().startswith("["))
        ):
            return read_value(raw)
        return raw.strip() if self.widget in ("whole", "number") and isinstance(raw, str) else raw

    @property
    def _of_plugins(self) -> bool:
        return Option(self.name, self.annotation, None, "").kind is not None


@dataclass(frozen=True)
class Names:
    """What fields whose value is a plugin or a model may be.

    Attributes:
        plugins: names by kind.
        models: names of models.
    """

    plugins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    models: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[str, ...]:
        return self.models if kind == "model" else self.plugins.get(kind, ())


def is_required(option: Option) -> bool:
    """Whether an option that no plugin fills has to be filled in."""
    return option.default is REQUIRED and option.kind in (None, "model")


def of_option(option: Option, names: Names, own: Any = LEFT, name: str = "") -> Field:
    """The field of an option.

    Args:
        own: what the model's own recipe says of it.
        name: in place of the option's, of one that lies deeper.
    """
    required = option.default is REQUIRED and own is LEFT
    default = own if own is not LEFT else None if option.default is REQUIRED else option.default
    name = name or option.name
    if option.kind is not None:
        widget: Widget = "several" if option.several else "choice"
        choices = names.of(option.kind)
        choices = choices if option.several else ("", *choices)
        shown = names_of_choice(default) or ([] if option.several else "")
        return Field(
            name, option.annotation, widget, shown, choices, required=required,
            help=option.help, own=default,
        )  # fmt: skip
    return _made(name, option.annotation, default, required, option.help)


def names_of_choice(choice: Any) -> Any:
    """The names of plugins that a recipe chooses, without their options."""
    if isinstance(choice, list | tuple):
        return [names_of_choice(entry) for entry in choice]
    name = choice.get("name") if isinstance(choice, dict) else choice
    return name if isinstance(name, str) else ""


def of_input(name: str, one: Input) -> Field:
    """The field of an input of a conditioning."""
    made = _made(name, one.type, None if one.required else one.default, one.required, one.help)
    if made.widget == "text":
        made = Field(name, one.type, "lines", made.shown, required=one.required, help=one.help)
    return made


def _made(name: str, annotation: Any, default: Any, required: bool, help: str) -> Field:
    widget, choices = _widget(annotation)
    bounds = bounds_of(annotation) if widget in ("whole", "number") else ""
    shown = _shown(widget, default)
    return Field(name, annotation, widget, shown, choices, bounds, required, help)


def _widget(annotation: Any) -> tuple[Widget, tuple[str, ...]]:
    members = list(_members(annotation))
    kinds = [kind for kind in members if kind is not NoneType]
    nothing = ("",) if NoneType in members else ()
    if kinds and all(get_origin(kind) is Literal for kind in kinds):
        return "choice", (*nothing, *_literals(annotation))
    if kinds == [bool]:
        return ("choice", ("", *TRUTHS)) if nothing else ("truth", ())
    if kinds == [int]:
        return "whole", ()
    if kinds and set(kinds) <= {int, float}:
        return "number", ()
    if {NAMES_FILE, READ, WRITTEN, Path} & parts_of(annotation):
        ways = {entry for kind in kinds for entry in _entries(kind)}
        return ("file", ()) if {str, Path} & {*kinds} and ways <= {str, Path} else ("toml", ())
    return ("text", ()) if kinds == [str] else ("toml", ())


def _entries(kind: Any) -> tuple[Any, ...]:
    """What a list of a type holds, or the type itself."""
    return get_args(kind) if get_origin(kind) is list else (kind,)


def _members(annotation: Any) -> Iterable[Any]:
    """The types that a value may have, without what is annotated to them."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _members(parts[0])
    elif origin in (Union, UnionType):
        for part in parts:
            yield from _members(part)
    else:
        yield NoneType if annotation is None else annotation


def _literals(annotation: Any) -> dict[str, Any]:
    """The values of a `Literal`, by the text that stands for each."""
    several = (kind for kind in _members(annotation) if get_origin(kind) is Literal)
    return {str(value): value for kind in several for value in get_args(kind)}


def _shown(widget: Widget, default: Any) -> Any:
    if widget == "truth":
        return bool(default)
    if default is None:
        return ""
    if widget == "choice":
        return {True: "true", False: "false"}.get(default, str(default))
    if widget in ("toml", "file") and not isinstance(default, str | Path):
        try:
            return as_toml({"value": default}).removeprefix("value = ").strip()
        except LdmError:  # an object of Python, which no field holds
            return ""
    return str(default) if isinstance(default, Path | int | float) else default


def bounds_of(annotation: Any) -> str:
    """The bounds of a number, in words; nothing where its type says none, or several."""
    schema = json_schema(annotation)
    several = [s for s in schema.get("anyOf", [schema]) if s.get("type") in ("integer", "number")]
    said = {
        ", ".join(f"{words} {one[key]:g}" for key, words in BOUNDS.items() if key in one)
        for one in several
    }
    return said.pop() if len(said) == 1 else ""
