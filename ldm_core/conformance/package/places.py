"""That options stand where recipes can set them."""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import partial
from typing import Any

from ldm_core.composition.parts import EDGES
from ldm_core.contracts import Record
from ldm_core.contracts.record import Marked
from ldm_core.errors import LdmError
from ldm_core.plugins.options import described
from ldm_core.plugins.registry import Plugin

FACTORIES = frozenset({"guidance", "conditioning", "converter", "family"})
"""Kinds whose targets are always factories, with nothing by place."""


def check_places(plugin: Plugin, whose: str) -> None:
    """See that nothing with a default stands where only what the contract gives by place does."""
    part: Any = plugin.loaded
    while isinstance(part, partial):
        part = part.func
    if isinstance(part, Marked) and plugin.kind in EDGES:
        with suppress(LdmError):
            part = EDGES[plugin.kind](part)  # what it is marked by says what else it gets by place
    function = described(part)
    parameters = inspect.signature(function).parameters.values()
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    member = plugin.member is not None or plugin.name.endswith(":")
    of_a_kind = isinstance(part, Record) and not isinstance(part, Marked)
    taken = len(part.arguments) if of_a_kind else int(member)
    optional = [p.name for p in places if p.default is not p.empty]
    if plugin.kind in FACTORIES or of_a_kind:
        optional = [p.name for p in places[taken:]]
    assert not optional, (
        f"{whose} takes {', '.join(optional)} by place, so that no recipe can set it; options "
        "stand behind a `*`"
    )
