"""Entries of an output as writers take them."""

from __future__ import annotations

import warnings
from typing import Any

from ldm_core.contracts import Shown, Writer
from ldm_core.errors import LdmWarning
from ldm_core.media.hashes import hashes_of
from ldm_core.media.manifest_record import RATE
from ldm_core.media.writers import writer_of, writers_of
from ldm_core.plugins.registry import Registry
from ldm_core.run.output import Output


def entry_of(
    writer: Writer, output: Output, index: int, registry: Registry
) -> tuple[Shown, list[tuple[Writer, Shown]]]:
    """One entry of an output as its writer takes it, and what belongs to it and goes into files of
    its own, with their writers; what none writes is said."""
    inside: dict[str, Shown] = {}
    others: list[tuple[Writer, Shown]] = []
    for other in output.beside:
        shown = Shown(other.images[index], other.rate)
        if other.kind in writer.beside and other.kind not in inside:
            inside[other.kind] = shown
        elif (found := writer_of(other.kind, registry)) is not None:
            others.append((found, shown))
        else:
            needed = [w for w in writers_of(other.kind, registry) if w.extra]
            how = f" (pip install 'ldm-core[{needed[0].extra}]')" if needed else ""
            text = (
                f"the {other.kind} that belongs to it is not written: no installed package writes "
                f"{other.kind}{how}"
            )
            warnings.warn(text, LdmWarning, stacklevel=2)
    return Shown(output.images[index], output.rate, inside), others


def facts_of(output: Output, index: int) -> dict[str, Any]:
    """What the manifest of an entry says of what came out: hashes of its pixels and samples, and of
    what has time its rate."""
    facts: dict[str, Any] = {}
    for part in (output, *output.beside):
        facts = {**hashes_of(part.kind, part.images[index]), **facts}
    return facts if output.rate is None else {**facts, RATE: output.rate}
