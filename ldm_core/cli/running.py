"""A pipeline's function run from the command line."""

from __future__ import annotations

import inspect
import secrets
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ldm_core.cli.choices import (
    PipelineChoices,
    RunChoices,
    check_folder,
    parse_size,
    prepare_libraries,
)
from ldm_core.cli.inputs import gather_inputs
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media.pictures import check_shown
from ldm_core.plugins.registry import Plugin, installed

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Output, Pipeline


def run_pipeline(
    plugin: Plugin, choices: PipelineChoices, arguments: list[Any], options: dict[str, Any]
) -> None:
    """Call ``function(pipe, *arguments, **options)`` and write the pictures that it makes.

    One that takes no ``**run`` writes what it makes itself and returns the paths of its files. One
    that does gets ``seed``, ``num_images_per_prompt``, ``batch_size``, ``on_batch``, a size where
    one is asked for, and all other inputs too, to hand to the pipeline. Weights are read when it
    first needs them, so that what it finds wrong before costs nothing.
    """
    layer = choices.layer()
    quiet = isinstance(choices, RunChoices) and choices.json
    if not quiet:
        layer.setdefault("observers", ["progress_bar"])
    composition = compose(layer, installed())
    run: dict[str, Any] = {}
    if isinstance(choices, RunChoices):
        run = _inputs(choices, plugin, arguments)
        check_shown(composition.info.image_channels)
        check_places(choices.out, choices.sheet)
    prepare_libraries()
    from ldm_core.cli.unread import Unread
    from ldm_core.cli.writing import Writer
    from ldm_core.run.pipeline import Pipeline

    if not isinstance(choices, RunChoices):
        pipe = Unread(composition, lambda: Pipeline.from_composition(composition))
        for path in plugin.loaded(pipe, *arguments, **options):
            typer.echo(str(path))
        return
    run["seed"] = secrets.randbelow(2**32) if choices.seed is None else choices.seed
    if choices.size is not None:
        run["width"], run["height"] = parse_size(choices.size)
    if "num_images" not in options:
        run["num_images_per_prompt"] = choices.num_images
    call = {"name": plugin.id, "arguments": _plain(arguments), "options": _plain(options | run)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LdmWarning)
        writer = Writer(choices, call, caught)

        def load() -> Pipeline:
            writer.open()
            loaded = Pipeline.from_composition(composition)
            writer.rest()
            return loaded

        more = {"batch_size": choices.batch_size, "on_batch": writer.write}
        try:
            made: Output = plugin.loaded(
                Unread(composition, load), *arguments, **options, **run, **more
            )
        except KeyboardInterrupt:
            typer.echo(f"interrupted: {writer.told()}", err=True)
            raise typer.Exit(130) from None
        if not writer.made:
            writer.write(made)
        writer.write_sheet()


def _inputs(choices: RunChoices, plugin: Plugin, arguments: list[Any]) -> dict[str, Any]:
    """The inputs that are given by name; a prompt so given is the function's own."""
    given = gather_inputs(None, choices.negative_prompt, choices.input)
    names = list(inspect.signature(plugin.loaded).parameters)
    for name in given:
        if name in names[1:] and name != "run":
            raise LdmError(f"'{name}' is given twice: --{name.replace('_', '-')} says it too.")
    if "prompt" in given and "prompts" in names:
        taken = names.index("prompts") - 1
        if len(arguments) > taken:
            raise LdmError("'prompt' is given twice.", "leave out the one or the other.")
        several = given.pop("prompt")
        arguments += several if isinstance(several, list) else [several]
    return given


def check_places(out: Path, sheet: Path | None) -> None:
    """See that pictures and contact sheet can be written, before anything is computed."""
    check_folder(out)
    if sheet is not None:
        check_folder(sheet.parent)
        if sheet.is_dir():
            raise LdmError(f"the contact sheet '{sheet}' should be a file, and is a folder.")


def _plain(value: Any) -> Any:
    """A call as JSON can hold it, with paths in full."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value.resolve()) if isinstance(value, Path) else value
