"""What is replaced in other packages' modules and classes, seen by identity."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

HOSTS = frozenset(
    {
        *("builtins", "copy", "importlib", "io", "json", "logging", "math", "os", "pathlib"),
        *("random", "subprocess", "time", "torch", "diffusers", "transformers", "accelerate"),
        *("safetensors", "huggingface_hub", "peft", "numpy", "scipy", "PIL", "pluggy", "typer"),
        *("pydantic", "ldm_core", "ldm_plugins", "ldm_pipelines"),
    }
)
"""Whose attributes are looked at."""

CODE = (
    *(type, staticmethod, classmethod, property, ModuleType, FunctionType, MethodType),
    *(BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType),
)
CONSTANTS = (bool, int, float, str, tuple)
Attributes = Mapping[tuple[str, str], Any]
"""By the name of a module or class, and of an attribute in it."""


def attributes() -> Attributes:
    """Functions, classes and constants of the host packages' modules, and of their classes."""
    return {(owner, name): value for owner, name, value in _walk() if _fixed(name, value)}


def replaced(before: Attributes, own: tuple[str, ...]) -> list[str]:
    """The attributes that are others now, or are gone, as ``torch.nn.functional.gelu``; and those
    that have come to be in classes, where they are a package's own.

    Args:
        own: the top-level modules of the package under check, whose attributes are its to change.
    """
    now = {(owner, name): value for owner, name, value in _walk()}
    gone = object()
    said = [
        f"{owner}.{name}"
        for (owner, name), value in before.items()
        if owner.partition(".")[0] not in own and now.get((owner, name), gone) is not value
    ]
    for (owner, name), value in now.items():
        if owner.partition(".")[0] in own or (owner, name) in before:
            continue
        home = _home(value)
        if home and home.partition(".")[0] in own and not _imports(owner):
            said.append(f"{owner}.{name}")
    return said


def _walk() -> Iterator[tuple[str, str, Any]]:
    seen: set[type] = set()
    for title, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or title.partition(".")[0] not in HOSTS:
            continue
        yield "sys.modules", title, module
        for name, value in list(vars(module).items()):
            if name.startswith("__"):
                continue
            yield title, name, value
            if issubclass(type(value), type) and value.__module__ == title and value not in seen:
                seen.add(value)
                for inner, member in list(vars(value).items()):
                    if not inner.startswith("_abc_"):
                        yield f"{title}.{value.__qualname__}", inner, member


def _fixed(name: str, value: Any) -> bool:
    """Whether no program of sense changes it: code, or a constant by its name."""
    kind = type(value)  # `isinstance` would ask the value itself, which some warn at
    if issubclass(kind, CODE):
        return True
    return name.isupper() and issubclass(kind, CONSTANTS)


def _home(value: Any) -> str:
    """The module in which a function or class is written."""
    if issubclass(type(value), staticmethod | classmethod):
        value = value.__func__
    if issubclass(type(value), property):
        value = value.fget
    return str(value.__module__) if issubclass(type(value), type | FunctionType) else ""


def _imports(owner: str) -> bool:
    """Whether it is a module of the host's that lists plugins, and so holds what they offer."""
    return owner.startswith(("ldm_core.conformance", "importlib"))
