"""Which packages' plugins may be imported at all: lists that are read before any of them is.

A list names distributions, compared as PEP 503 normalises them, or ``distribution:entry``, an entry
point of one. What an entry point calls itself names nothing alone: every package chooses that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldm_core.errors import did_you_mean

ALLOW = "LDM_ALLOW_PLUGINS"
DENY = ("LDM_DISABLE_PLUGINS", "LDM_DENY_PLUGINS")
"""Variables that mean the same."""
LOCAL = "local"
"""The distribution of plugins that a person names by their file. No installed one may bear it."""


def normalised(name: str) -> str:
    """The name of a distribution, by which two spellings are one (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def means(name: str, distribution: str, entry: str | None) -> bool:
    """Whether a name in a list is that of a distribution, or of this entry point of it."""
    package, colon, label = name.partition(":")
    same = normalised(package) == normalised(distribution)
    return same and (not colon or label.strip() == entry)


@dataclass(frozen=True)
class Names:
    """A list of names, and where it stands."""

    names: tuple[str, ...]
    source: str

    def hold(self, distribution: str, entry: str | None) -> bool:
        return any(means(name, distribution, entry) for name in self.names)


@dataclass(frozen=True)
class Rules:
    """Which plugins may be imported: such as every allow-list holds, and no deny-list.

    A list can only take away from what the others leave, so that none widens another.
    """

    allow: tuple[Names, ...] = ()
    deny: tuple[Names, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.allow or self.deny)

    def admit(self, distribution: str, entry: str | None) -> bool:
        """Whether an entry point of a distribution may be imported."""
        allowed = all(names.hold(distribution, entry) for names in self.allow)
        return allowed and not any(names.hold(distribution, entry) for names in self.deny)

    def also(self, other: Rules) -> Rules:
        """These rules and others, each of which holds."""
        return Rules(self.allow + other.allow, self.deny + other.deny)

    def but(self, others: Rules) -> Rules:
        """These rules without names that others have too, of which all has been said."""
        said = {name for one in (*others.allow, *others.deny) for name in one.names}

        def rest(lists: tuple[Names, ...]) -> tuple[Names, ...]:
            return tuple(Names(tuple(n for n in o.names if n not in said), o.source) for o in lists)

        return Rules(rest(self.allow), rest(self.deny))

    def unknown(self, entries: Sequence[tuple[str, str]]) -> list[str]:
        """What is to be said of names that mean nothing.

        Args:
            entries: each distribution with each of its entry points.
        """
        known = {normalised(d) for d, _ in entries} | {f"{normalised(d)}:{e}" for d, e in entries}
        said = []
        for one in (*self.allow, *self.deny):
            for name in one.names:
                if any(means(name, distribution, entry) for distribution, entry in entries):
                    continue
                pairs = [f"{d}:{e}" for d, e in entries if e == name]
                near = f" Did you mean '{pairs[0]}'?" if pairs else did_you_mean(name, known)
                said.append(
                    f"{one.source} names '{name}', and no package of that name that offers plugins "
                    f"is installed.{near}"
                )
        return said


def of_environment(variables: Mapping[str, str] = os.environ) -> Rules:
    """What the environment says, which every process of a job inherits. A variable that is empty
    says nothing; one with commas alone is a list that holds nothing."""

    def lists(*names: str) -> tuple[Names, ...]:
        texts = {name: variables.get(name, "") for name in names}
        return tuple(Names(_words(text), name) for name, text in texts.items() if text.strip())

    return Rules(lists(ALLOW), lists(*DENY))


def of_table(table: Mapping[str, Any], source: str) -> Rules:
    """What the table ``[plugins]`` of a recipe says.

    Args:
        table: as `ldm_core.composition.recipe` checks it.
    """

    def lists(key: str) -> tuple[Names, ...]:
        return (Names(tuple(table[key]), f"'{key}' in {source}"),) if key in table else ()

    return Rules(lists("allow"), lists("deny"))


def narrowed(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """The names that two allow-lists have in common, as narrow as the narrower says them."""
    names, others = list(names), list(others)
    return list(dict.fromkeys([*_within(names, others), *_within(others, names)]))


def _within(names: list[str], others: list[str]) -> list[str]:
    """Those that others hold as well, or the whole distribution of."""
    pairs = [(name, *name.partition(":")) for name in names]
    return [
        name
        for name, package, colon, label in pairs
        if any(means(other, package, label.strip() if colon else None) for other in others)
    ]


def _words(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


_of_program = Rules()


def hold_to(rules: Rules) -> None:
    """Have these rules hold in this process, beside what the environment says."""
    global _of_program
    _of_program = rules


def in_force() -> Rules:
    """The rules by which this process imports plugins."""
    return of_environment().also(_of_program)
