"""A pipeline's function run from the command line."""

from __future__ import annotations

import inspect
import secrets
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ldm_core.cli.choices import (
    DrawingChoices,
    RunChoices,
    WorkChoices,
    check_folder,
    parse_size,
    prepare_libraries,
)
from ldm_core.cli.ends import FAILED, say
from ldm_core.cli.inputs import Flags, gather_inputs, read_flags, with_full_paths
from ldm_core.cli.seeing import check_seen, watch
from ldm_core.cli.set_aside import files_of, set_aside
from ldm_core.cli.streams import print_line
from ldm_core.composition.compose import compose
from ldm_core.composition.composition import Composition
from ldm_core.composition.full_recipe import OVERWRITE
from ldm_core.contracts import Model, Writer
from ldm_core.contracts.files import in_full
from ldm_core.errors import LdmError, LdmNote, LdmWarning, NotFiniteError, PluginError, add_note
from ldm_core.machine import machine_error
from ldm_core.media.json_text import json_text
from ldm_core.media.manifest_files import command_record
from ldm_core.media.partial import sweep
from ldm_core.media.present import Present
from ldm_core.media.sheet import check_fits, check_sheet, sheet_size
from ldm_core.media.writers import find_writer
from ldm_core.model.launched import Launched, apart, launched
from ldm_core.model.own_program import makes_only, places_alone, uncollected
from ldm_core.plugins.blame import blamed
from ldm_core.plugins.options import read_options
from ldm_core.plugins.registry import Plugin, installed
from ldm_core.run.in_batches import InBatches

if TYPE_CHECKING:
    from ldm_core.cli.taken_over import Taken
    from ldm_core.run.pipeline import Pipeline


def run_pipeline(
    plugin: Plugin,
    choices: WorkChoices,
    arguments: list[Any],
    options: dict[str, Any],
    flags: Flags,
) -> None:
    """Call ``function(pipe, *arguments, **options)`` and write what it gives.

    One that is not `InBatches` writes its files itself and returns their paths. One that is gets
    what a call of a pipeline takes too, and each batch is written as it comes. Weights are read
    when they are first needed, so that what is found wrong before costs nothing.
    """
    since = time.time_ns()
    prepare_libraries()
    liked = None
    if isinstance(choices, RunChoices) and choices.like is not None:
        if choices.prompts_file is not None:
            raise LdmError("--like is for the pictures of one call, and --prompts makes a job.")
        from ldm_core.cli.like import read_like

        typed = choices.typed()
        liked = read_like(choices.like, typed, choices.allow_files, choices.allow_hub)
        seed = liked.seed if choices.seed is None else choices.seed
        rate = liked.frame_rate if choices.frame_rate is None else choices.frame_rate
        choices = replace(choices, seed=seed, frame_rate=rate)
    layer = choices.layer(None if liked is None else liked.layer)
    if isinstance(choices, RunChoices) and choices.prompts_file is not None:
        from ldm_core.cli.jobs import run_job

        with apart():
            run_job(plugin, choices, arguments, options, flags)
        return
    if isinstance(choices, RunChoices) and choices.of_jobs:
        raise LdmError(f"{choices.of_jobs[0]} is for a job: --prompts FILE gives its lines.")
    watch(layer, choices)
    with uncollected():
        composition = compose(layer, installed())
    function = plugin.loaded
    if isinstance(choices, RunChoices) and isinstance(function, InBatches):
        _say_earlier(function, choices)
        with apart() as process:
            _check_alone(process)
            _write_batches(
                plugin, function, composition, choices, arguments, options, flags, since, liked
            )
        return
    if isinstance(choices, DrawingChoices) and choices.seen:
        _check_alone(launched())
        check_seen(choices, {f"--{n}": v for n, v in options.items() if isinstance(v, Path)})
    from ldm_core.run.pipeline import Pipeline

    pipe = Pipeline.from_composition(composition)
    plugins = composition.registry.plugins
    with warnings.catch_warnings(), blamed(plugin, "while it ran", plugins, typed=True):
        if choices.quiet:
            warnings.simplefilter("ignore", LdmNote)
        for path in function(pipe, *arguments, **options):
            if choices.json:
                typer.echo(json_text({"path": str(path)}))
            else:
                print_line(str(path))


def _say_earlier(function: InBatches, choices: RunChoices) -> None:
    """Say what a flag means that meant something else before, of this command alone."""
    for old, new in function.earlier.items():
        if f"--{old}" in choices.seen and not choices.quiet:
            say(
                f"note: --{old} means here what it means for every command; what it meant here "
                f"alone is --{new} now."
            )


def _check_alone(process: Launched | None) -> None:
    """Refuse to make the same pictures, or write the same files, in each of several processes."""
    if process is not None and process.count > 1:
        raise LdmError(
            f"{process.count} processes were started together ({process.launcher}), and each of "
            "them would make every picture.",
            "--prompts FILE shares the lines of a file among them; without the launcher, one "
            "process makes the pictures.",
        )


def _write_batches(
    plugin: Plugin,
    function: InBatches,
    composition: Composition,
    choices: RunChoices,
    arguments: list[Any],
    options: dict[str, Any],
    flags: Flags,
    since: int,
    liked: Taken | None,
) -> None:
    call = _inputs(choices, read_flags(flags, composition), function, arguments)
    if liked is not None:
        from ldm_core.cli.like import add_inputs

        names = inspect.signature(function).parameters
        call = add_inputs(call, arguments, names, liked.inputs, composition)
    call = with_full_paths(call, composition)
    form = find_writer(composition, choices.format)
    choices = replace(choices, overwrite=bool(options.get(OVERWRITE, choices.overwrite)))
    check_different(choices.sheet, options)
    check_frames(choices, form)
    check_seen(choices, {"--sheet": choices.sheet})
    call["seed"] = secrets.randbelow(2**32) if choices.seed is None else choices.seed
    if choices.size is not None:
        for side in {"width", "height"} & call.keys():
            raise LdmError(f"'{side}' is given twice: --size says it too.")
        call["width"], call["height"] = parse_size(choices.size)
    if choices.frame_rate is not None:
        call["frame_rate"] = choices.frame_rate
    if "num_images" not in options:
        call["num_images_per_prompt"] = choices.num_images
    made_by = {name: value for name, value in (options | call).items() if name != OVERWRITE}
    record = command_record(plugin.id, read_options(function), arguments, made_by, _plain)
    skips = function.skips and choices.seed is not None
    present = None if choices.seed is None else Present(choices.out, form, since)
    rerun = present is not None and present.has_of(record)
    check_places(choices.out, choices.sheet, choices.overwrite or skips or rerun)
    if choices.sheet is not None and form.kind == "image" and "num_images" not in options:
        check_all_fit(choices.sheet, function, arguments, choices.num_images)
    if composition.of_folder:
        makes_only([plugin, *composition.plugins])
    with uncollected(), places_alone():
        from ldm_core.cli.writing import BatchWriter
        from ldm_core.run.pipeline import Pipeline
        from ldm_core.run.yielded import outputs_of

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LdmWarning)
        writer = BatchWriter(choices, form, composition.registry, record, caught, present)

        def load(read: Callable[[], Model]) -> Model:
            check_places(choices.out, choices.sheet, choices.overwrite or rerun)
            writer.open()
            with uncollected():
                model = read()
            writer.rest()
            return model

        sweep(choices.out)  # of what a kill left, also where nothing is left to make
        pipe: Pipeline = Pipeline.from_composition(composition, load)
        if skips:
            call["skip"] = writer.skip
        try:
            with set_aside(function, options, rerun and not choices.overwrite) as places:
                outputs = function.batches(
                    pipe, *arguments, **places, **call, batch_size=choices.batch_size
                )
                for output in outputs_of(plugin, outputs, composition.registry.plugins):
                    writer.write(output)
        except NotFiniteError as error:
            if not error.failures:
                raise
            writer.fail(error.failures)
        except BaseException as error:
            writer.notes()
            theirs = isinstance(error, KeyboardInterrupt | PluginError) or machine_error(error)
            if writer.count or writer.began or theirs:
                add_note(error, writer.summary())
            raise
        writer.notes()
        writer.write_sheet()
        for name, path in files_of(function, options).items():
            record = {"path": str(path.resolve()), "option": name}
            print_line(json_text(record) if choices.json else f"{name}: {path.resolve()}")
        writer.note()
        if writer.failed:
            raise typer.Exit(FAILED)


def _inputs(
    choices: RunChoices, values: dict[str, Any], function: InBatches, arguments: list[Any]
) -> dict[str, Any]:
    """The inputs that are given by name; a prompt so given is the function's own."""
    negative = {"negative_prompt": choices.negative_prompt}
    inputs = gather_inputs(choices.input or [], {**negative, **values})
    names = list(inspect.signature(function).parameters)
    for name in inputs:
        if name in names[1:] and name != "call":
            raise LdmError(f"'{name}' is given twice: --{name.replace('_', '-')} says it too.")
    before = names.index("prompts") - 1 if "prompts" in names else len(arguments)
    for prompt in arguments[before:]:
        if not prompt.strip():
            raise LdmError(
                "the prompt is empty; say what the picture should show.",
                "an empty one that is meant is given by its name: --input prompt='\"\"'",
            )
    if "prompt" in inputs and "prompts" in names:
        if len(arguments) > before:
            raise LdmError("'prompt' is given twice.", "leave out the one or the other.")
        several = inputs.pop("prompt")
        arguments += several if isinstance(several, list) else [several]
    return inputs


def check_places(out: Path, sheet: Path | None, overwrite: bool) -> None:
    """See that pictures and contact sheet can be written, before anything is computed."""
    check_folder(out)
    if sheet is not None:
        check_sheet(sheet, overwrite=overwrite)


def check_all_fit(sheet: Path, function: InBatches, arguments: list[Any], num_images: int) -> None:
    """See that a contact sheet of the prompts of a command holds all pictures."""
    names = list(inspect.signature(function).parameters)
    if "prompts" not in names:
        return
    prompts = arguments[names.index("prompts") - 1 :]
    check_fits(sheet, sheet_size(max(1, len(prompts)) * num_images, prompts))


def check_frames(choices: RunChoices, form: Writer) -> None:
    """See that there are frames, where a folder for them is named."""
    if choices.frames_to is None:
        return
    if form.kind != "video":
        raise LdmError(
            f"--frames-to is for the frames of videos, and this model makes {form.kind}."
        )
    check_folder(choices.frames_to)


def check_different(sheet: Path | None, options: dict[str, Any]) -> None:
    """See that no other file is to have the contact sheet's name."""
    for name, value in options.items():
        if isinstance(value, Path) and sheet is not None and in_full(value) == in_full(sheet):
            raise LdmError(f"--sheet and --{name.replace('_', '-')} name the same file, '{sheet}'.")


def _plain(value: Any) -> Any:
    """A call as JSON can hold it, with paths in full."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return in_full(value) if isinstance(value, Path) else value
