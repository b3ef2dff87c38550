"""What an annotation stands for, which a module may have quoted, and quoted again."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Annotated, Any, ForwardRef, Literal, get_args, get_origin, get_type_hints


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
