"""What plugins may rely on, as a table: the hooks with their arguments, and the names, parameters
and fields of `ldm_core.contracts`.

Run as a program, this file writes the snapshot of the hook API that there is. One that a release
was made of is never written again.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

SNAPSHOTS = Path(__file__).parent / "core" / "hook_api"


def hooks_of(module: ModuleType) -> list[str]:
    """The hooks and their arguments, ``ldm_schedulers`` and ``ldm_schedulers.register``."""
    names: list[str] = []
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("ldm_"):
            names += [name, *(f"{name}.{p}" for p in inspect.signature(function).parameters)]
    return sorted(names)


def contracts_of(module: ModuleType) -> list[str]:
    """The public names of contracts; of a function its parameters, of a record its fields and what
    its function takes, of a class its methods with theirs."""
    names: list[str] = []
    for name in module.__all__:
        names += [name, *(f"{name}.{member}" for member in _members(getattr(module, name)))]
    return sorted(names)


def _members(thing: Any) -> list[str]:
    if inspect.isfunction(thing):
        return list(inspect.signature(thing).parameters)
    if not inspect.isclass(thing):
        return []
    members: list[str] = []
    if is_dataclass(thing):
        members += [field.name for field in fields(thing)]
    takes = vars(thing).get("takes")
    if takes:
        members += [f"takes.{name}" for name in takes]
    for name, member in inspect.getmembers(thing):
        if name.startswith("_") or name in members:
            continue
        if inspect.isfunction(member):
            own = [p for p in inspect.signature(member).parameters if p != "self"]
            members += [name, *(f"{name}.{p}" for p in own)]
        elif isinstance(member, property):
            members.append(name)
    return members


def surface() -> dict[str, list[str]]:
    from ldm_core import contracts
    from ldm_core.plugins import hookspecs

    return {"hooks": hooks_of(hookspecs), "contracts": contracts_of(contracts)}


if __name__ == "__main__":
    from ldm_core.plugins import hookspecs

    file = SNAPSHOTS / f"{hookspecs.HOOK_API}.json"
    file.write_text(json.dumps(surface(), indent=1) + "\n")
