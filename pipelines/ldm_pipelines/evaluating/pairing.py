"""Which picture belongs to which reference."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.picture_manifests import manifest_in
from ldm_pipelines.evaluating.pictures import Entry

PairBy = Literal["name", "seed", "order"]
"""How pictures find their references: by the names of their files within the folders, without
suffix; by seed and inputs of their manifests; or by their place in the order of names."""
HELP = "--pair seed pairs by seed and inputs of the manifests, --pair order by place."


def pair(
    pictures: Sequence[Entry], references: Sequence[Entry], by: PairBy, skip_bad: bool = False
) -> list[tuple[Entry, Entry]]:
    """Pictures with their references, in the pictures' order; two single ones are a pair.

    Args:
        skip_bad: leave out those without a partner, or of another size, and say so.
    Raises:
        LdmError: some have no partner, several have one key, or the sizes of a pair differ.
    """
    if by == "order" or len(pictures) == len(references) == 1:
        if len(pictures) != len(references):
            raise LdmError(
                f"there are {len(pictures)} pictures and {len(references)} references, which "
                "cannot be paired by their order."
            )
        return _of_one_size(list(zip(pictures, references, strict=True)), skip_bad)
    key = _name if by == "name" else _seed
    first, second = _by_key(pictures, key, by), _by_key(references, key, by)
    both = [(entry, second[k]) for k, entry in first.items() if k in second]
    alone = [entry.name for k, entry in first.items() if k not in second]
    alone += [f"{entry.name} (a reference)" for k, entry in second.items() if k not in first]
    if not both:
        raise LdmError(f"no picture has the {_words(by)} of a reference.", HELP)
    if alone:
        some = ", ".join(alone[:3]) + (", …" if len(alone) > 3 else "")
        text = f"pictures without a partner by {_words(by)} ({len(alone)}): {some}"
        if not skip_bad:
            raise LdmError(f"{text}.", f"--skip-bad leaves them out; {HELP}")
        warnings.warn(f"{text}; they are left out", LdmWarning, stacklevel=2)
    return _of_one_size(both, skip_bad)


def _of_one_size(pairs: list[tuple[Entry, Entry]], skip_bad: bool) -> list[tuple[Entry, Entry]]:
    fitting = [(a, b) for a, b in pairs if a.size == b.size]
    if len(fitting) == len(pairs):
        return pairs
    one, other = next((a, b) for a, b in pairs if a.size != b.size)
    text = (
        f"'{one.path}' is {one.size[0]}x{one.size[1]} pixels and its reference "
        f"{other.size[0]}x{other.size[1]}"
    )
    count = len(pairs) - len(fitting)
    if not (skip_bad and fitting):
        more = f" There are {count} such pairs." if count > 1 else ""
        raise LdmError(
            f"{text}, and a pair is of one size.{more}",
            "scale the one or the other; fid and kid compare sets of any sizes.",
        )
    warnings.warn(f"{text}; such pairs ({count}) are left out", LdmWarning, stacklevel=2)
    return fitting


def _by_key(entries: Sequence[Entry], key: Callable[[Entry], str], by: PairBy) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        one = key(entry)
        if one in found:
            raise LdmError(
                f"'{found[one].path}' and '{entry.path}' have the same {_words(by)}, so the "
                "reference of either is not known.",
                HELP,
            )
        found[one] = entry
    return found


def _words(by: PairBy) -> str:
    return "name" if by == "name" else "seed and inputs"


def _name(entry: Entry) -> str:
    return entry.name


def _seed(entry: Entry) -> str:
    manifest = manifest_in(Path(entry.path))
    if manifest is None or "seed" not in manifest:
        raise LdmError(
            f"'{entry.path}' has no manifest with its seed.",
            "pictures that `ldm` draws have one; --pair name and --pair order need none.",
        )
    of_file = [manifest["seed"], manifest.get("inputs"), entry.frame]
    return json.dumps(of_file, sort_keys=True)
