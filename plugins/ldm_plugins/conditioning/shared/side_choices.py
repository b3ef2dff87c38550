"""What a person chooses of ControlNets and T2I-Adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.values import brief, is_number, is_whole

OPTIONS = {
    **{"path": None, "weight": 1.0, "start": 0.0, "end": 1.0},
    **{"guess_mode": False, "mode": None},
}


@dataclass(frozen=True)
class SideChoice:
    """A side network as a person chose it.

    Attributes:
        path: its folder or Hub id.
        weight: factor of what it gives; of each of its pictures, where it reads several.
        start, end: it is asked between these shares of the grid's steps.
        guess_mode: speak to the positive branch alone, and less in the outer layers.
        mode: which of its kinds of picture a network for several reads, or which of them at once.
    """

    path: str
    weight: float | tuple[float, ...]
    start: float
    end: float
    guess_mode: bool
    mode: int | tuple[int, ...] | None = None

    def covers(self, step: int, steps: int) -> bool:
        """Whether it is asked in a step, the first being 0, of so many."""
        return step / steps >= self.start and (step + 1) / steps <= self.end


def read_choices(entries: Sequence[Any]) -> tuple[SideChoice, ...]:
    """The entries of the option ``models``.

    Raises:
        LdmError: there is none, or one is no path or table, or has a value that cannot be.
    """
    if not entries:
        raise LdmError(
            "the conditioning 'control' has no models.",
            'name one: { name = "control", models = ["FOLDER"] }',
        )
    return tuple(_read_choice(entry) for entry in entries)


def _read_choice(entry: Any) -> SideChoice:
    table = {"path": entry} if isinstance(entry, str) else dict(entry)
    for key in table:
        if key not in OPTIONS:
            raise LdmError(
                f"a control model has no '{key}'.{did_you_mean(key, OPTIONS)} "
                f"It has {', '.join(OPTIONS)}."
            )
    if not isinstance(table.get("path"), str):
        raise LdmError(
            f"a control model needs the path of its folder, and {brief(entry)} has none."
        )
    path = table["path"]
    start, end = (_number(table, key) for key in ("start", "end"))
    if not 0 <= start < end <= 1:
        raise LdmError(
            f"the control model '{path}' should start before it ends, both being shares of the "
            f"steps from 0 to 1, not start {start} and end {end}."
        )
    guess = table.get("guess_mode", False)
    if not isinstance(guess, bool):
        raise LdmError(
            f"the guess_mode of the control model '{path}' should be true or false, not "
            f"{brief(guess)}."
        )
    mode = _mode(table)
    return SideChoice(path, _weight(table, mode), start, end, guess, mode)


def _number(table: Mapping[str, Any], key: str, more: str = "") -> float:
    value: Any = table.get(key, OPTIONS[key])
    if not is_number(value):
        raise LdmError(
            f"the {key} of the control model '{table['path']}' should be a number{more}, not "
            f"{brief(value)}."
        )
    return float(value)


def _mode(table: Mapping[str, Any]) -> int | tuple[int, ...] | None:
    value: Any = table.get("mode")
    each = value if isinstance(value, list | tuple) else [value]
    if value is not None and not (each and all(is_whole(mode) for mode in each)):
        raise LdmError(
            f"the mode of the control model '{table['path']}' should be a number, or a list of "
            f"one for each of its pictures, not {brief(value)}."
        )
    return tuple(each) if isinstance(value, list | tuple) else value


def _weight(
    table: Mapping[str, Any], mode: int | tuple[int, ...] | None
) -> float | tuple[float, ...]:
    value: Any = table.get("weight")
    if not isinstance(mode, tuple):
        return _number(table, "weight")
    if not isinstance(value, list | tuple):
        return _number(table, "weight", " or a list of them")
    if len(value) != len(mode):
        raise LdmError(
            f"the control model '{table['path']}' has {len(value)} weights and {len(mode)} modes; "
            "give one for each, or one for all."
        )
    return tuple([_number({**table, "weight": each}, "weight") for each in value])
