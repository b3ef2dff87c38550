"""Lines of a job, each seen to be such that it can be made, before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.errors import LdmError, PluginError, message_and_hint
from ldm_core.jobs.batching import Batch, Group, Picture, cut
from ldm_core.jobs.columns import Columns, UnknownColumn, columns_of, inputs_of, unknown
from ldm_core.jobs.compositions import Compositions, key_of
from ldm_core.jobs.lines import BadLine, Line, Lines
from ldm_core.jobs.machine_checks import MemoryCheck, check_device
from ldm_core.jobs.making import Making
from ldm_core.jobs.naming import Template, checked_name, twice
from ldm_core.plugins.registry import Plugin

AT_ONCE = 256
"""Lines that are checked by one call; of those in a call that fails, each by itself."""
SHOWN = 20
"""Bad lines that a message names."""
Member = tuple[Line, dict[str, Any]]
"""A line with the inputs that are its own."""


@dataclass(frozen=True)
class Asked:
    """What a job is to make.

    Attributes:
        batches: in the order in which they are taken.
        pictures: how many there would be if no line were bad; each's index is below that.
        bad: in the order of the file.
        plugins: all that its lines choose, each once.
        of_folders: their models are all read from a folder, see `Composition.of_folder`.
    """

    batches: tuple[Batch, ...]
    pictures: int
    bad: tuple[BadLine, ...]
    plugins: tuple[Plugin, ...]
    of_folders: bool


@dataclass(frozen=True)
class Terms:
    """What holds for all lines of a job.

    Attributes:
        inputs: by name, of lines that do not say them.
        num_images: pictures of each line.
        batch_size: pictures that are made at once.
        name: the template of names.
        suffix: of the files.
    """

    inputs: Mapping[str, Any]
    num_images: int
    batch_size: int
    name: str
    suffix: str


def check_lines(
    lines: Lines, compositions: Compositions, making: Making, terms: Terms, seed: int
) -> Asked:
    """See to every line.

    Args:
        seed: of the first picture of the job, for lines that say none.
    Raises:
        LdmError: a column of the file means nothing, or the template of names does not.
    """
    return _Check(lines, compositions, making, terms, seed).asked()


class _Check:
    def __init__(
        self, lines: Lines, compositions: Compositions, making: Making, terms: Terms, seed: int
    ) -> None:
        self.lines = lines
        self.compositions = compositions
        self.making = making
        self.terms = terms
        self.seed = seed
        self.names = dict.fromkeys(name for line in lines.lines for name in line.values)
        self.template = Template(terms.name, frozenset(self.names.keys() | terms.inputs.keys()))
        self.bad = {bad.index: bad for bad in lines.bad}
        self.columns: dict[int, Columns] = {}
        self.groups: list[tuple[Group, list[Member]]] = []
        self.meant: set[str] = set()
        self.unknown: dict[str, tuple[UnknownColumn, int]] = {}
        self.memory = MemoryCheck()
        self.plugins: dict[tuple[str | None, ...], Plugin] = {}
        self.of_folders = True

    def asked(self) -> Asked:
        by_choice: dict[str, list[Line]] = {}
        for line in self.lines.lines:
            try:
                columns = columns_of(line.values, self.lines.text)
            except LdmError as error:
                self._fail(line, error)
                continue
            self.columns[line.index] = columns
            by_choice.setdefault(key_of(columns.choices), []).append(line)
        for several in by_choice.values():
            self._check_choice(several)
        self._check_columns()
        groups = sorted(self._named(), key=lambda pair: pair[1][0].index)
        count = len(self.lines.lines) + len(self.lines.bad)
        return Asked(
            tuple(cut(groups, self.terms.batch_size)),
            count * self.terms.num_images,
            tuple(self.bad[index] for index in sorted(self.bad)),
            tuple(self.plugins.values()),
            self.of_folders,
        )

    def _check_choice(self, lines: Sequence[Line]) -> None:
        """See to lines of one choice, and sort them into groups."""
        choices = self.columns[lines[0].index].choices
        try:
            composition = self.compositions.of(choices)
            check_device(composition)
        except LdmError as error:
            for line in lines:
                self._fail(line, error)
            return
        for plugin in composition.plugins:
            self.plugins[plugin.kind, plugin.id, plugin.member] = plugin
        self.of_folders = self.of_folders and composition.of_folder
        declared = self.making.inputs(composition)
        groups: dict[str, tuple[Group, list[Member]]] = {}
        for line in lines:
            columns = self.columns[line.index]
            try:
                inputs, extent = inputs_of(
                    columns.others, declared, composition, self.lines.folder, self.lines.text
                )
            except LdmError as error:
                if isinstance(error, UnknownColumn):
                    _, count = self.unknown.get(error.name, (error, 0))
                    self.unknown[error.name] = (error, count + 1)
                self._fail(line, error)
                continue
            self.meant |= columns.others.keys()
            inputs = {**self.terms.inputs, **inputs}
            shared = {n: v for n, v in inputs.items() if not _is_own(declared, n, v)}
            own = {name: value for name, value in inputs.items() if name not in shared}
            call = {n: v for n, v in columns.call.items() if n not in ("seed", "file_name")}
            shared = {**shared, **call, **extent}  # a line says it over what holds for all
            group = Group(choices, shared)
            groups.setdefault(key_of(shared), (group, []))[1].append((line, own))
        for group, members in groups.values():
            good = self._good(composition, group, members)
            if good:
                self.groups.append((group, good))

    def _good(
        self, composition: Composition, group: Group, members: Sequence[Member]
    ) -> list[Member]:
        """Those of a group's lines that can be made."""
        good: list[Member] = []
        for start in range(0, len(members), AT_ONCE):
            part = members[start : start + AT_ONCE]
            try:
                self._try(composition, group, part)
                good += part
            except LdmError:
                for member in part:
                    try:
                        self._try(composition, group, [member])
                        good.append(member)
                    except LdmError as error:
                        self._fail(member[0], error)
        return good

    def _try(self, composition: Composition, group: Group, members: Sequence[Member]) -> None:
        pictures = [Picture(line.index, line.number, 0, "", own) for line, own in members]
        count = min(self.terms.batch_size, len(members) * self.terms.num_images)
        pictures += pictures[:1] * (count - len(pictures))  # several of each line
        call = group.call(pictures, defaults_of(self.making, composition))
        planned = self.making.check(composition, call)
        axes = composition.info.latents.names
        extent = composition.extent({n: v for n, v in group.shared.items() if n in axes})
        composition.check_memory(extent, count)
        for parts, plan in planned:
            self.memory.check(parts, plan, count)

    def _check_columns(self) -> None:
        """See that every column of the file means something to some line.

        Raises:
            LdmError: one does not.
        """
        base, count = self.compositions.base, len(self.lines.lines)
        declared = self.making.inputs(base)
        for name in self.names:
            error, times = self.unknown.get(name, (None, 0))
            never = all(line.values.get(name) is None for line in self.lines.lines)
            if error is not None and name not in self.meant and (self.lines.text or times == count):
                raise error
            if never and name not in self.meant and (other := unknown(name, declared, base)):
                raise other

    def _named(self) -> list[tuple[Group, list[Picture]]]:
        """The pictures of good lines, each with its name."""
        count = self.terms.num_images
        names: dict[int, list[tuple[int, str]]] = {}
        for line in sorted(
            (line for _, members in self.groups for line, _ in members), key=lambda line: line.index
        ):
            try:
                names[line.index] = self._names(line)
            except LdmError as error:
                self._fail(line, error)
        places = [
            (i * count + at, n) for i, several in names.items() for at, (_, n) in enumerate(several)
        ]
        again = {place // count: other // count for place, other in twice(places).items()}
        result = []
        numbers = {line.index: line.number for line in self.lines.lines}
        for group, members in self.groups:
            pictures = []
            for line, own in members:
                if line.index in again:
                    name, other = names[line.index][0][1], numbers[again[line.index]]
                    self._fail(
                        line, LdmError(f"its file would be '{name}', as that of line {other}")
                    )
                elif line.index not in self.bad:
                    pictures += [
                        Picture(line.index * count + at, line.number, seed, name, own)
                        for at, (seed, name) in enumerate(names[line.index])
                    ]
            if pictures:
                result.append((group, pictures))
        return result

    def _names(self, line: Line) -> list[tuple[int, str]]:
        """The seed and the name of each picture of a line."""
        call, count = self.columns[line.index].call, self.terms.num_images
        file_name = call.get("file_name")
        if file_name is not None and count > 1:
            raise LdmError(f"its file_name is one, and each line has {count} pictures")
        first = call.get("seed", self.seed + line.index * count)
        values = {**self.terms.inputs, **line.values}
        names = []
        for at in range(count):
            seed, index = first + at, line.index * count + at
            if seed >= 2**63:
                raise LdmError("its seed should be below 2^63")
            name = file_name or self.template.name(index, line.number, seed, values)
            names.append((seed, checked_name(name, self.terms.suffix)))
        return names

    def _fail(self, line: Line, error: LdmError) -> None:
        message, hint = message_and_hint(error)
        fault = error if isinstance(error, PluginError) else None
        bad = BadLine(line.index, line.number, message.rstrip("."), hint, fault, line.name)
        self.bad.setdefault(line.index, bad)


def _is_own(declared: Mapping[str, Any], name: str, value: Any) -> bool:
    """Whether an input can be each picture's own in one call; a table, or a list of them, is one
    thing for all."""
    several = isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value)
    own = name in declared and declared[name].each
    return own and not isinstance(value, Mapping) and not several


def defaults_of(making: Making, composition: Composition) -> dict[str, Any]:
    """What stands for inputs that a picture does not say."""
    declared = making.inputs(composition)
    return {name: None if one.required else one.default for name, one in declared.items()}


def bad_lines(bad: Sequence[BadLine], name: str) -> str:
    """What is wrong with lines: the first of them, and how many more."""
    texts = [f"{line.place}: {line.reason}" for line in bad[:SHOWN]]
    if len(bad) > SHOWN:
        texts.append(f"and {len(bad) - SHOWN} more")
    noun = "line is" if len(bad) == 1 else "lines are"
    return "\n  ".join([f"{len(bad)} {noun} bad in '{name}':", *texts])
