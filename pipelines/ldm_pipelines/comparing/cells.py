"""The cells of a comparison as lines of a job: one for each picture of each cell."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldm_core.composition.options_over import at_path
from ldm_core.composition.recipe import KEYS, Layer, as_layer, lay
from ldm_core.errors import LdmError, did_you_mean, message_and_hint
from ldm_core.jobs.columns import OF_CALL
from ldm_core.jobs.lines import BadLine, Line, Lines
from ldm_core.jobs.naming import words
from ldm_core.values import brief
from ldm_pipelines.comparing.axes import Axis

NAME = Path("cells")
"""What the lines are called in messages, in place of a file."""
WORDS = 24
"""Letters of a value in a file's name."""


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        axes: what cells differ in.
        prompts: of each cell; None for one that has none, or has it of an axis or from elsewhere.
        images: of each prompt.
        seed: of the first picture of a cell; the next ones count up, alike in all cells.
    """

    axes: tuple[Axis, ...]
    prompts: tuple[str | None, ...]
    images: int
    seed: int

    @property
    def about(self) -> dict[str, Any]:
        """What is compared, for the record of the job."""
        axes = {one.path: [*one.labels] for one in self.axes}
        prompts = [prompt for prompt in self.prompts if prompt is not None]
        return {**axes, **({"prompts": prompts} if prompts else {}), "images": self.images}

    @property
    def of_each(self) -> int:
        """How many pictures a cell has."""
        return len(self.prompts) * self.images

    def places(self) -> Iterator[tuple[int, ...]]:
        """Cells by the places of their values on each axis, the last axis first."""
        return itertools.product(*(range(len(one.values)) for one in self.axes))

    def labels(self, place: Sequence[int]) -> dict[str, str]:
        """The values of a cell, by the axes' names."""
        return {one.name: one.labels[at] for one, at in zip(self.axes, place, strict=True)}

    def cell(self, index: int) -> str:
        """The values of the cell of a picture, in a line."""
        place = next(itertools.islice(self.places(), index // self.of_each, None))
        return name_of(self.labels(place))

    def name(self, index: int) -> str:
        """The cell of a picture, and which of its pictures it is, where it has several."""
        number = f" (picture {index % self.of_each + 1})" if self.of_each > 1 else ""
        return f"{self.cell(index)}{number}"

    def find(self, values: Mapping[str, Any]) -> int:
        """The number of the one cell of these values, by the axes' names; axes that have one value
        alone may be left out.

        Raises:
            LdmError: there is no such axis or value, or several cells have them.
        """
        axes = {one.name: one for one in self.axes}
        for name, value in values.items():
            if name not in axes:
                raise LdmError(
                    f"there is no axis '{name}'.{did_you_mean(name, axes)}",
                    f"there are {', '.join(axes)}.",
                )
            if str(value) not in (labels := axes[name].labels):
                near = did_you_mean(str(value), labels)
                raise LdmError(
                    f"the axis '{name}' has no value '{value}'.{near}",
                    f"it has {', '.join(labels)}.",
                )
        wanted = {name: str(value) for name, value in values.items()}.items()
        found = [n for n, p in enumerate(self.places()) if wanted <= self.labels(p).items()]
        if len(found) > 1:
            left = [n for n, one in axes.items() if n not in values and len(one.values) > 1]
            raise LdmError(f"{len(found)} cells have these values; say {', '.join(left)} too.")
        return found[0]

    def lines(self) -> Lines:
        """A line for each picture of each cell, with the seed and the name of its file; those of
        cells that say one thing in two ways are bad."""
        good: list[Line] = []
        bad: list[BadLine] = []
        for cell, place in enumerate(self.places()):
            values, error, name = {}, None, name_of(self.labels(place))
            try:
                values = _values(self.axes, place)
            except LdmError as caught:
                error = caught
            for at in range(self.of_each):
                index = cell * self.of_each + at
                if error is not None:
                    message, hint = message_and_hint(error)
                    bad.append(BadLine(index, index + 1, message.rstrip("."), hint, name=name))
                else:
                    line = self._line(cell, place, at, values)
                    good.append(Line(index, index + 1, line, name))
        text = json.dumps([line.values for line in good], sort_keys=True, default=str)
        sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return Lines(NAME, Path.cwd(), tuple(good), tuple(bad), False, sha256)

    def _line(
        self, cell: int, place: Sequence[int], at: int, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        prompt = self.prompts[at // self.images]
        line = {**({} if prompt is None else {"prompt": prompt}), **values}
        seed = line.get("seed", self.seed)
        if isinstance(seed, int) and not isinstance(seed, bool):
            line["seed"] = seed + at
        named = "_".join(filter(None, (words(v)[:WORDS] for v in self.labels(place).values())))
        number = f"-{at}" if self.of_each > 1 else ""
        return {**line, "file_name": f"{cell:04d}{number}-{named[:120]}".rstrip("-_")}


def name_of(labels: Mapping[str, str]) -> str:
    """The values of a cell in a line."""
    return ", ".join(f"{name}={label}" for name, label in labels.items())


def _values(axes: Sequence[Axis], place: Sequence[int]) -> dict[str, Any]:
    """What a cell says, by the columns of a job's line.

    Raises:
        LdmError: a value is of another type than its key, or an option is given in two ways.
    """
    chosen: Layer = {}
    values: dict[str, Any] = {}
    pairs = [(one, one.values[at]) for one, at in zip(axes, place, strict=True)]
    for one, value in sorted(pairs, key=lambda pair: pair[0].path.count(".")):
        if one.option:
            if said_in := _said(chosen.get(one.key, {}), one.option.split(".")):
                raise LdmError(f"'{one.name}' is given twice, in {brief(said_in)} too")
            chosen = lay(chosen, as_layer({one.key: at_path(one.option, value)}))
        elif one.key in KEYS and one.key not in OF_CALL:
            chosen = lay(chosen, as_layer({one.key: value}))
        else:
            values[one.key] = value
    return {**values, **chosen}


def _said(choice: Any, option: Sequence[str]) -> Any:
    """The name of the plugin, among a choice and those in its options, that has an option which an
    axis says too; None where none has."""
    first, *rest = option
    if not isinstance(choice, Mapping) or first not in choice:
        return None
    return _said(choice[first], rest) if rest else choice.get("name", first)
