"""``ldm replay``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldm_core.cli.asking import allow, hub_for, names_in
from ldm_core.cli.choices import (
    DrawingChoices,
    LoraOption,
    ModelConfigOption,
    gather,
    make_folder,
    prepare_libraries,
)
from ldm_core.cli.originals import Original, read_original, rewritten
from ldm_core.cli.repeating import Repeated, repeated
from ldm_core.cli.seeing import (
    AnimationOption,
    PreviewByOption,
    PreviewOption,
    StepsToOption,
    check_seen,
    watch,
)
from ldm_core.cli.streams import print_line
from ldm_core.cli.then_and_now import (
    check_family,
    check_installed,
    family_notes,
    family_of,
    option_notes,
    package_differences,
    with_options_of_then,
)
from ldm_core.composition.compose import compose
from ldm_core.composition.composition import Composition
from ldm_core.composition.reach import Reach
from ldm_core.composition.saved_inputs import check_saved_inputs
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media import manifest as manifests
from ldm_core.media.json_text import json_text
from ldm_core.media.manifest_files import file_differences, source_differences
from ldm_core.media.manifest_gone import back
from ldm_core.media.manifest_record import Manifest
from ldm_core.media.picture_manifests import read_manifest
from ldm_core.media.present import state
from ldm_core.media.writers import find_writer
from ldm_core.model.files import model_hash
from ldm_core.model.hub import at_commit
from ldm_core.model.hub_permission import hub_permission
from ldm_core.plugins.registry import installed

if TYPE_CHECKING:
    from ldm_core.run.output import Output


CHANGED = "the picture was changed after it was made"


def replay(
    image: Annotated[
        Path,
        typer.Argument(help="A picture (PNG, JPEG, WebP), video or sound that ldm made."),
    ],
    model: Annotated[
        str | None, typer.Option(help="Where the model is now, if it has moved.")
    ] = None,
    model_config: ModelConfigOption = None,
    lora: LoraOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the new file (default: the original's own)."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="Name of a writer, the format of the new file (default: png, or that of "
            "the original video or sound)."
        ),
    ] = None,
    preview: PreviewOption = None,
    preview_by: PreviewByOption = None,
    steps_to: StepsToOption = None,
    animation: AnimationOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the names of these three.")
    ] = False,
    allow_files: Annotated[
        bool,
        typer.Option("--allow-files", help="Read the files that it names outside its own folder."),
    ] = False,
    allow_hub: Annotated[
        bool, typer.Option("--allow-hub", help="Ask the Hub for what it names there.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress and print no notes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a picture, video or sound again from its manifest, and say what differs."""
    image = expanded(image)
    seen = DrawingChoices(
        preview=preview, preview_by=preview_by, steps_to=steps_to, animation=animation,
        overwrite=overwrite, quiet=quiet, json=as_json,
    )  # fmt: skip
    original = read_original(image)
    table = read_manifest(image)
    manifest, registry = Manifest.of(table), installed()
    if manifest.command is None and manifest.finish is not None:
        raise LdmError(
            f"the image was finished in Python ({manifest.finish}), and its manifest holds "
            "no call that could be made again; the command of the same pipeline writes one."
        )
    layer = gather(
        None, {**manifests.recipe_of(manifest, registry, checked=False), "observers": None}, None
    )
    if manifest.model_revision and "model" in layer:  # the branch that was named may have moved on
        layer["model"] = at_commit(layer["model"], manifest.model_revision)
    choices = {"model": model, "model_config": model_config, "loras": lora, "device": device}
    typed = gather(None, choices, None)
    reach, asked = Reach(registry), {k: v for k, v in layer.items() if k not in typed}
    reach.recipe(asked)
    check_installed(manifest, asked, reach, registry)
    layer = with_options_of_then(layer, manifest, registry)
    call = _call(manifest)
    if call is None:
        reach.value(manifest.inputs)
    else:
        call.tell(reach)
    allowed = allow(reach, image.parent, allow_files, allow_hub)
    names = [*names_in([model, model_config, lora]), *allowed]
    with hub_permission(hub_for(names, allow_hub)):
        _replay(image, original, table, manifest, {**layer, **typed}, call, out, format, seen)


def _call(manifest: Manifest) -> Repeated | None:
    """The call of a picture that a ready-made pipeline made.

    Raises:
        LdmError: it cannot be made again.
    """
    if manifest.command is None:
        return None
    try:
        return repeated(manifest.command, installed())
    except LdmError as error:
        package = manifest.command.name.partition(":")[0]
        raise LdmError(error.message, error.hint or back([package], manifest)) from error


def _replay(
    image: Path,
    original: Original,
    table: Mapping[str, Any],
    manifest: Manifest,
    layer: dict[str, Any],
    call: Repeated | None,
    out: Path | None,
    format: str | None,
    choices: DrawingChoices,
) -> None:
    registry = installed()
    check_seen(choices, {})
    watch(layer, choices)
    notes = package_differences(manifest, registry) + option_notes(manifest, layer, registry)
    for note in notes:
        typer.echo(f"differs: {note}", err=True)
    try:
        composition = compose(layer, registry, family_id=family_of(manifest, registry))
    except LdmError as error:
        check_family(manifest, registry, error)
        raise
    # One image's entry of each: an entry may itself be a list.
    inputs: dict[str, Any] = {name: [entry] for name, entry in manifest.inputs.items()}
    steps = manifest.num_inference_steps
    if call is None:
        check_saved_inputs(composition, manifest.inputs)
        composition.plan(inputs, [manifest.seed], manifest.size, steps, manifest.frame_rate)
    writer = None if format is None else find_writer(composition, format)
    folder = image.parent if out is None else expanded(out)
    make_folder(folder)
    for note in _differences(image, manifest, composition):
        notes.append(note)
        typer.echo(f"differs: {note}", err=True)

    prepare_libraries()
    from ldm_core.run.allowance import in_tiles
    from ldm_core.run.call import CallArguments
    from ldm_core.run.entries import facts_of
    from ldm_core.run.pipeline import Pipeline

    pipeline = Pipeline.from_composition(composition)
    if call is None:
        one = CallArguments(
            inputs=inputs,
            seed=[manifest.seed],
            extent=manifest.size,
            num_inference_steps=steps,
            frame_rate=manifest.frame_rate,
        )
        with in_tiles(manifest.decoded_in_tiles):
            again = picked(pipeline.batches_of(one), 0)
    else:
        for name in () if choices.quiet else call.left_out:
            typer.echo(
                f"the option '{name}' names what to write, and is left out: a picture alone is "
                "made again",
                err=True,
            )
        number = 0 if manifest.command is None else manifest.command.image
        with in_tiles(manifest.decoded_in_tiles):
            again = picked(call.outputs(pipeline), number)
    if again.kind != original.kind:
        raise LdmError(f"'{image}' holds {original.kind}, and its manifest makes {again.kind}.")
    new = {**again.manifests[0], **facts_of(again, 0)}
    if call is not None:
        new["command"] = table["command"]
    changed = CHANGED in notes
    path, verdict = rewritten(original, again, new, manifest, folder, changed, registry, writer)
    if choices.json:
        typer.echo(json_text({"path": str(path), "differs": notes, **verdict}))
    else:
        print_line(str(path))
        typer.echo(str(verdict["verdict"]))


def _differences(image: Path, then: Manifest, now: Composition) -> list[str]:
    """One line for each file that is not what it was, and for another family."""
    notes = []
    if state(image) == "changed":
        notes.append(CHANGED)
    if then.model_sha256 != model_hash(now.info.folder, now.info.file, now.info.components):
        notes.append("the model's files are not those of then")
    return notes + family_notes(then, now) + source_differences(then) + file_differences(then, now)


def picked(outputs: Iterable[Output], number: int) -> Output:
    """One picture of several outputs, with its manifest.

    Raises:
        LdmError: there are fewer.
        NotFiniteError: it came out not finite.
    """
    for output in outputs:
        if number < output.asked:
            return output.only(number).complete()
        number -= output.asked
    raise LdmError("the manifest is damaged: its command makes fewer pictures than it says.")
