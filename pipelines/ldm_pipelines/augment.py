"""``ldm augment``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field

from ldm_core.composition.compose import RESERVED
from ldm_core.composition.limits import check_images
from ldm_core.contracts import Input, InputPath, OutputPath
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError, NotFiniteError, did_you_mean
from ldm_core.media.held import held
from ldm_core.media.json_text import json_text
from ldm_core.media.writers import find_writer
from ldm_core.run.in_batches import draws
from ldm_core.values import brief, fitted
from ldm_pipelines.class_to_image import as_label
from ldm_pipelines.data_set import DataSet
from ldm_pipelines.processes import processes
from ldm_pipelines.tables import Row, read_table

if TYPE_CHECKING:
    from ldm_core.run.output import Failure, Output
    from ldm_core.run.pipeline import Pipeline

OF_A_CALL = {"guidance_scale": float, "num_inference_steps": int, "steps": int}
"""Columns that are arguments of a call beside its inputs and lengths, with their types."""


@dataclass(frozen=True)
class Sample:
    """A picture that is to be made.

    Attributes:
        file_name: within the data set.
        inputs: of the model.
        arguments: of the call that makes it, which may share it with others.
    """

    file_name: str
    row: Row
    seed: int
    inputs: Mapping[str, Any]
    arguments: Mapping[str, Any]

    @property
    def record(self) -> Row:
        """Its line of metadata; `datasets` and training scripts look for captions in ``text``."""
        text = {"text": self.row["prompt"]} if "prompt" in self.row else {}
        return {"file_name": self.file_name, **text, **self.row, "seed": self.seed}


@draws
def augment(
    pipe: Pipeline,
    *,
    out: OutputPath,
    table: InputPath | None = None,
    classes: list[str] | None = None,
    num_images: Annotated[int, Field(ge=1)] = 1,
    batch_size: Annotated[int, Field(ge=1)] = 8,
    seed: int | None = None,
    format: str | None = None,
) -> list[Path]:
    """Make a labelled data set, in the layout that the `datasets` library reads as an image folder.

    From a table: pictures, and a metadata.jsonl with a line for each, which holds its file_name,
    its prompt as text, and all columns of its row. From classes: a folder of pictures for each.
    Every picture carries its manifest. Several processes under torchrun share the work. A run that
    was stopped goes on with the same command: what the folder holds of the data set is not made
    again.

    Args:
        out: Folder for the data set; new or empty, or with a part of the same data set.
        table: A .csv or .jsonl file with a row for each prompt or class: columns named as the
            model's inputs, such as prompt, are given to it, and so are seed, width, height, steps
            and guidance_scale; all others are labels to be kept.
        classes: Classes by number or name, in place of a table; repeatable.
        num_images: Pictures of each row or class.
        batch_size: Pictures computed at once.
        seed: Of the first picture, the next ones counting up; 0 where left out.
        format: Name of a writer, the format of the files.
    """
    if (table is None) == (classes is None):
        raise LdmError("say what to make: a --table, or --classes, and not both.")
    out, together = expanded(out), processes()
    table = None if table is None else expanded(table)
    writer = find_writer(pipe.composition, format)
    samples = list(
        _of_classes(pipe, classes or [], num_images, seed or 0, writer.suffix)
        if table is None
        else _of_table(pipe, table, num_images, seed, writer.suffix)
    )
    lines = _lines(samples) if table else None
    there = DataSet(out, [s.file_name for s in samples], writer, lines)
    there.check()  # before the folder is made, or held
    own = samples[together.rank :: together.count]
    outputs = [(part, _call(pipe, part, batch_size, there)) for part in _alike(own)]
    with held(out) if together.rank == 0 else nullcontext():
        together.wait()  # until all have seen the folder as it was
        there.begin(first=together.rank == 0, alone=together.count == 1)
        failures: list[Failure] = []
        try:
            for part, several in outputs:
                remaining = (sample for sample in part if sample.file_name not in there.whole)
                for output in several:
                    asked = [next(remaining) for _ in range(output.asked)]
                    failures += output.failures
                    for number, place in enumerate(output.indices):
                        there.write(asked[place].file_name, output, number)
            together.wait()
            if together.rank == 0:
                there.finish()
            together.wait()
        except BaseException as error:
            error.add_note(there.summary())
            raise
    there.note()
    if failures:
        count = f"{len(failures)} of {len(own)} pictures are missing in '{out}'."
        first = failures[0]
        raise NotFiniteError(f"{first.message} {count}", first.hint, [out], failures)
    return [out]


def _lines(samples: Sequence[Sample]) -> dict[str, str]:
    """Each sample's line of metadata, by its file's name."""
    return {sample.file_name: json_text(sample.record) for sample in samples}


def _of_classes(
    pipe: Pipeline, classes: Sequence[str], num_images: int, seed: int, suffix: str
) -> Iterator[Sample]:
    _check_inputs(pipe, ["class_label"], "classes alone do not say it")
    check_images(len(classes) * num_images)
    folders: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name in classes:
        folder = name.replace("/", "-")
        if folder in ("", ".", ".."):
            raise LdmError(f"the class '{name}' can be no folder; say it by its number.")
        if folders.setdefault(folder, name) != name:
            raise LdmError(
                f"the classes '{folders[folder]}' and '{name}' would share the folder '{folder}'; "
                "say one of them by its number."
            )
        for _ in range(num_images):
            number = counts[folder] = counts.get(folder, -1) + 1
            inputs = {"class_label": as_label(name)}
            yield Sample(f"{folder}/{number:06d}{suffix}", {}, seed, inputs, {})
            seed += 1


def _of_table(
    pipe: Pipeline, table: Path, num_images: int, seed: int | None, suffix: str
) -> Iterator[Sample]:
    rows, declared = read_table(table), pipe.composition.inputs
    text = table.suffix.lower() == ".csv"
    types: dict[str, type] = {**OF_A_CALL, **dict.fromkeys(pipe.axes, int)}
    _check_columns(rows[0], {*declared, *types, "seed"})
    _check_inputs(pipe, rows[0], "the table has no such column")
    check_images(len(rows) * num_images)
    if seed is not None and "seed" in rows[0]:
        raise LdmError("the seed is given twice: the table has a column of it.")
    count, first = 0, seed or 0
    for number, row in enumerate(rows, 1):
        if text:
            row = {n: _read(cell, declared.get(n)) for n, cell in row.items()}
        arguments = {n: _number(n, row[n], types[n], number) for n in types.keys() & row.keys()}
        arguments = {n: value for n, value in arguments.items() if value is not None}
        if "steps" in arguments:
            arguments["num_inference_steps"] = arguments.pop("steps")
        inputs = {n: row[n] for n in declared if n in row}
        own = None if row.get("seed") is None else _number("seed", row["seed"], int, number)
        for image in range(num_images):
            given = first + count if own is None else own + image
            yield Sample(f"{count:06d}{suffix}", {**row}, given, inputs, arguments)
            count += 1


def _check_inputs(pipe: Pipeline, names: Collection[str], where: str) -> None:
    """See that what the model needs is among these names; `where` says what lacks it."""
    for name, one in pipe.composition.inputs.items():
        if one.required and name not in names:
            raise LdmError(f"the model needs '{name}', and {where}.")


def _check_columns(columns: Mapping[str, Any], taken: set[str]) -> None:
    """See that no column would be lost, or mean something else than a label."""
    if "file_name" in columns:
        raise LdmError(
            "the table has a column 'file_name', which is what a data set calls its own pictures; "
            "call it otherwise, such as 'source'."
        )
    if {"prompt", "text"} <= columns.keys():
        raise LdmError(
            "the table has a column 'text', which is where a data set has its captions, and they "
            "are the prompts; call it otherwise, such as 'words'."
        )
    if {"steps", "num_inference_steps"} <= columns.keys():
        raise LdmError("the number of steps is given twice: by 'steps' and 'num_inference_steps'.")
    for name in columns.keys() & (RESERVED | {"size", "scheduler"}) - taken:
        raise LdmError(
            f"the table's column '{name}' can be no label, being named as what a call takes, and "
            f"a row cannot say it.{did_you_mean(name, taken)} Call it otherwise."
        )


def _read(cell: str | None, declared: Input | None) -> Any:
    """A cell of text as an input takes it: what is text or a file there stays text."""
    kinds = {*(get_args(declared.type) or (declared.type,))} if declared else {str}
    if cell is None or not kinds - {str, Path, type(None), list[Path]}:
        return cell
    try:
        if cell.isdecimal():
            return int(cell)
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _number(name: str, value: Any, kind: type, row: int) -> Any:
    """What a row says of a call; None where it says nothing."""
    if value is None:
        return None
    try:
        return fitted(kind, value, text=isinstance(value, str))
    except ValueError:
        words = "a whole number" if kind is int else "a number"
        raise LdmError(
            f"the {name} in row {row} of the table should be {words}, not {brief(value)}."
        ) from None


def _alike(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Samples that stand together and can be made by one call."""
    return [list(part) for _, part in groupby(samples, lambda sample: sample.arguments)]


def _call(
    pipe: Pipeline, samples: Sequence[Sample], batch_size: int, there: DataSet
) -> Iterator[Output]:
    """The outputs of samples that one call makes, but for those that are there already; all is
    checked before the first."""
    names, asked = samples[0].inputs, iter(samples)
    return pipe.batches(
        inputs={name: [sample.inputs[name] for sample in samples] for name in names},
        seed=[sample.seed for sample in samples],
        batch_size=batch_size,
        skip=lambda manifest: there.has(next(asked).file_name, manifest),
        **samples[0].arguments,
    )
