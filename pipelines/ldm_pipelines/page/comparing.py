"""A comparison on the page: the same pictures with each choice of a few values, on one sheet."""

from __future__ import annotations

import secrets
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ldm_core.composition.nested import only
from ldm_core.composition.options_over import at_path, options_over
from ldm_core.composition.recipe import STAGES
from ldm_core.contracts.files import parts_of
from ldm_core.errors import LdmError, LdmWarning, did_you_mean
from ldm_core.jobs.events import Begun, Event, Failed, Made
from ldm_core.machine import refused
from ldm_core.media.made_files import kind_of_file
from ldm_pipelines.comparing import Comparison, compare
from ldm_pipelines.comparing.axes import split_values
from ldm_pipelines.comparing.written import Files
from ldm_pipelines.page.description import Description
from ldm_pipelines.page.fields import LEFT, Field
from ldm_pipelines.page.filled import Asked
from ldm_pipelines.page.making import Maker, Seen
from ldm_pipelines.page.saving import Saved
from ldm_pipelines.page.workplace import Workplace

AXES = 4
"""How many things cells may differ in on the page."""
Over = dict[str, list[Any]]
"""The values of each axis, by its name."""


def axis_fields(shown: Description) -> dict[str, Field]:
    """What may be an axis, by name: hook points that take one plugin, options of theirs, numbers
    of a call, and inputs that are no files."""
    fields = {hook: Field(hook, str, "text", help="plugins") for hook in STAGES}
    fields |= {name: Field(name, int, "whole") for name in ("steps", "seed")}
    for (hook, _, name), one in shown.options.items():
        numbered = any(word.isdecimal() for word in name.split("."))  # one of several plugins
        if hook in STAGES and one.widget not in ("file", "several") and not numbered:
            fields[f"{hook}.{name}"] = one
    given = {name: one for name, one in shown.input_fields.items() if one.widget != "file"}
    files = {name for name, one in given.items() if Path in parts_of(one.annotation)}
    return {**{n: one for n, one in given.items() if n not in files}, **fields}


def read_over(
    axes: Sequence[tuple[str, str]], shown: Description, asked: Asked, place: Workplace
) -> Over:
    """The axes that a person filled in, each a name and values with commas between them.

    Raises:
        LdmError: there is none, or no such thing, or a value that does not fit or may not be read.
    """
    fields, over = axis_fields(shown), dict[str, list[Any]]()
    for name, text in axes:
        if not name:
            continue
        if name not in fields:
            raise LdmError(f"'{name}' is nothing to compare over.{did_you_mean(name, fields)}")
        if name in over:
            raise LdmError(f"'{name}' is compared over twice; put all its values in one line.")
        values = [value.strip("\"'") for value in split_values(text)]
        if not any(values):
            raise LdmError(f"say which values of '{name}' are compared, with commas between them.")
        over[name] = [_value(name, fields[name], value, asked, place) for value in values]
    if not over:
        raise LdmError("choose what is compared, and its values with commas between them.")
    return over


def _value(name: str, field: Field, text: str, asked: Asked, place: Workplace) -> Any:
    hook, _, option = name.partition(".")
    value: Any = replace(field, shown=None).read(text)
    if value is LEFT:
        raise LdmError(f"a value of '{name}' is empty.")
    if hook not in STAGES:
        return value
    if not option and only(place.registry, hook, text) is None:
        place.registry.find(hook, text)  # which says what is wrong
    choice = options_over(asked.layer.get(hook, {}), at_path(option or "name", value))
    place.folders.check({**asked.layer, hook: choice}, {}, {}, place.registry)
    return value


def compared(
    maker: Maker, asked: Asked, over: Over, whose: str, place: Workplace
) -> Iterator[Seen]:
    """Make a comparison, in a folder of its own below that for pictures.

    Yields:
        A step for each picture, and in the end the sheet and all of them.
    Raises:
        LdmError: nothing of it can be made.
    """
    turn = maker.run(whose)
    while not turn.begins():
        yield Seen(waiting=True)
    with turn as stopped, warnings.catch_warnings():
        warnings.simplefilter("ignore", LdmWarning)  # each stands in the job's ledger
        yield Seen()
        pipe = maker.pipeline({**asked.layer, **({"extent": asked.axes} if asked.axes else {})})
        seed = secrets.randbelow(2**32) if asked.seed is None else asked.seed
        out = _new_folder(place.folders.out)
        inputs = {name: value for name, value in asked.inputs.items() if name not in over}
        told: SimpleQueue[Event | Comparison | BaseException] = SimpleQueue()

        def hear(event: Event) -> None:
            told.put(event)
            if stopped.is_set():
                raise _Stopped

        def work() -> None:
            try:
                told.put(
                    compare(pipe, over=over, seed=seed, num_images=asked.count, batch_size=1,
                            out=out, hear=hear, **inputs)
                )  # fmt: skip
            except BaseException as error:
                told.put(error)

        thread = threading.Thread(target=copy_context().run, args=(work,), name="ldm-compare")
        thread.start()
        seen, began = Seen(seed=seed, what="picture"), time.perf_counter()
        made: list[Saved] = []
        try:
            while not isinstance(event := told.get(), Comparison):
                if isinstance(event, _Stopped):
                    kept = replace(seen, stopped=True, done=True, saved=tuple(made), fresh=True)
                    yield kept if made else replace(kept, notes=(str(out),))
                    return
                if isinstance(event, BaseException):
                    raise event
                seen = _after(seen, event)
                if isinstance(event, Made):
                    kind, label = kind_of_file(event.path), event.path.stem
                    made.append(Saved(event.path, kind, event.seed, label))
                yield seen
        finally:
            stopped.set()
            thread.join()
        seconds, notes = time.perf_counter() - began, tuple(_lines(event))
        seen = replace(seen, seconds=seconds, notes=notes, done=True)
        yield replace(seen, saved=tuple(_files(event, out)), fresh=True)


class _Stopped(Exception):
    """The person wants no more."""


def _after(seen: Seen, event: Event) -> Seen:
    if isinstance(event, Begun):
        return replace(seen, steps=event.pictures)
    return replace(seen, step=seen.step + 1) if isinstance(event, Made | Failed) else seen


def _new_folder(out: Path) -> Path:
    """A folder that was not there."""
    number = 1
    try:
        out.mkdir(parents=True, exist_ok=True)
        while True:
            path = out / f"comparison-{number}"
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return path
    except OSError as error:
        raise refused(f"no comparison can be written to '{out}'", error) from None


def _files(made: Comparison, out: Path) -> Iterator[Saved]:
    sheets = len(made.sheets())
    files = Files(out / "sheet.png", out / "table.csv", out / "page.html", False, sheets)
    for path in files.write(made):
        if path.suffix == ".png":
            yield Saved(path, "sheet", made.plan.seed, "the sheet")
    for cell in made.cells:
        for shot in cell.made:
            if shot.path is not None and shot.seed is not None:
                yield Saved(shot.path, shot.kind, shot.seed, ", ".join(cell.labels.values()))


def _lines(made: Comparison) -> Iterator[str]:
    """What a cell took, or why it was not made."""
    for cell in made.cells:
        if cell.refused:
            yield f"{cell.name}: refused: {cell.refused}"
        elif cell.seconds is not None:
            yield f"{cell.name}: {cell.seconds:.2f} s, {cell.evaluations} evaluations"


def inputs_of_axes(axes: Sequence[tuple[str, str]], shown: Description) -> Mapping[str, Any]:
    """A value of each input that is an axis, so that the form is whole without it."""
    own = shown.input_fields
    return {name: split_values(text)[0].strip("\"'") for name, text in axes if name in own and text}
