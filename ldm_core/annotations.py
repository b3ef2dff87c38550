"""What an annotation stands for, which a module may have quoted, and quoted again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

PLAIN = (str, bool, NoneType, type(Path()))
"""Types whose values fit as they are, and are none of each other's."""


def evaluated(
    annotation: Any, namespace: Mapping[str, Any], later: Mapping[str, Any] | None = None
) -> Any:
    """An annotation without quotes, also of what stands in it, as in ``list["Scheduler"]``; a name
    that stands for itself is left.

    Args:
        namespace: the names that it may use; and those of `later`.
    Raises:
        NameError: it uses another one, such as of what is imported for type checkers alone.
    """
    names = {**namespace, **(later or {})}
    seen: set[str] = set()
    while isinstance(annotation, str | ForwardRef):
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        if text in seen:
            return annotation
        seen.add(text)
        annotation = eval(text, names)  # noqa: S307 - our own source, or a plugin's
    if is_quoted(annotation):
        holder = SimpleNamespace(__annotations__={"it": annotation})
        return get_type_hints(holder, globalns=names, include_extras=True)["it"]
    return annotation


def is_quoted(annotation: Any) -> bool:
    """Whether an annotation, or what stands in it, is but the text of one."""
    if isinstance(annotation, str | ForwardRef):
        return True
    if get_origin(annotation) is Literal:
        return False
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        parts = parts[:1]
    return any(is_quoted(part) for part in parts)


def names_pipeline(annotation: Any) -> bool:
    """Whether an annotation, as it stands in a signature, is that of a pipeline."""
    name = annotation if isinstance(annotation, str) else ""
    if isinstance(annotation, type):
        name = annotation.__name__
    return name.strip("'\" ").rpartition(".")[2] == "Pipeline"


@cache
def takes_plain(annotation: Any, kind: type) -> bool:
    """Whether a value of a type, one of those in `PLAIN`, fits an annotation as it is."""
    union = get_origin(annotation) in (Union, UnionType)
    parts = [_plainly(part) for part in (get_args(annotation) if union else (annotation,))]
    return kind in parts and all(part in PLAIN or get_origin(part) is Callable for part in parts)


def _plainly(part: Any) -> Any:
    """A type as that of its values."""
    return NoneType if part is None else type(Path()) if part is Path else part
