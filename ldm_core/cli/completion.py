"""What a shell completes: names of plugins and models, without reading a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ldm_core.plugins.registry import installed

KINDS = {
    "scheduler": "scheduler",
    "spacing": "spacing",
    "guidance": "guidance",
    "attention": "attention",
    "format": "writer",
}
"""Options that name a plugin, with its kind."""
WORDS = {
    "preview_by": ("linear", "decoder"),
    "device": ("auto", "cpu", "cuda", "mps", "xpu"),
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "compute_dtype": ("auto", "float32"),
    "shards": ("folders", "webdataset"),
    "engine": ("local", "ray"),
}
"""Options of a few words."""
Complete = Callable[[str], list[str]]


def completion_of(name: str, kind: Any) -> Complete | None:
    """What completes the value of an option; None where the shell's own way does, such as for
    files.

    Args:
        name: of the option.
        kind: its type; other packages may have options of these names for something else.
    """
    if kind not in (str, str | None, list[str] | None):
        return None
    if name == "model":
        return models
    if name in KINDS:
        return lambda incomplete: plugins(KINDS[name], incomplete)
    if name in WORDS:
        return lambda incomplete: begun(WORDS[name], incomplete)
    return None


def models(incomplete: str) -> list[str]:
    """Names of the models that packages ship."""
    return begun((model.name for model in installed().models), incomplete)


def plugins(kind: str | None, incomplete: str) -> list[str]:
    """Names of plugins of a kind; of any where None."""
    return begun((p.name for p in installed().plugins if kind in (None, p.kind)), incomplete)


def of_any_kind(incomplete: str) -> list[str]:
    """Names of plugins."""
    return plugins(None, incomplete)


def begun(names: Iterable[str], incomplete: str) -> list[str]:
    """Names that begin with what is typed, each once; of those, such as may stand in a shell."""
    return sorted({name for name in names if name.startswith(incomplete) and _is_plain(name)})


def _is_plain(name: str) -> bool:
    """Whether a name is one word to a shell, and nothing that it would run."""
    return all(letter.isalnum() or letter in "_-.:" for letter in name)
