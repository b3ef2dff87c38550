"""By which words a command is typed, whatever other packages offer."""

from __future__ import annotations

from collections.abc import Sequence

from ldm_core.plugins.blame import OWN
from ldm_core.plugins.registry import Plugin

UNUSABLE = "cannot be used"
"""What the help of a command begins its reason with that cannot be made."""


def listed_as(plugin: Plugin, commands: Sequence[Plugin]) -> tuple[str, str]:
    """The group and the name by which a command is typed.

    One that comes with ldm has its own; another goes by its id where several packages offer the
    name, or it is a group's as well.
    """
    group, _, name = plugin.name.rpartition(" ")
    if plugin.distribution == OWN:
        return group, name
    full = f"{plugin.distribution}:{name}"
    several = sum(other.name == plugin.name for other in commands) > 1
    if several or any(other.name.startswith(f"{plugin.name} ") for other in commands):
        name = full
    if any(other.name == group and other.distribution == OWN for other in commands):
        group = f"{plugin.distribution}:{group}"
    return group, name
