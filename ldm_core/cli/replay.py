"""``ldm replay``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldm_core.cli.choices import (
    LoraOption,
    ModelConfigOption,
    gather,
    make_folder,
    prepare_libraries,
)
from ldm_core.composition.compose import compose
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError, NotFiniteError
from ldm_core.media import manifest as manifests
from ldm_core.media.names import write_new
from ldm_core.media.png import read_png, save_png
from ldm_core.model.files import model_hash
from ldm_core.model.hub import at_commit
from ldm_core.plugins.options import describe
from ldm_core.plugins.registry import installed
from ldm_core.run.in_batches import InBatches

if TYPE_CHECKING:
    from ldm_core.run.output import Output


def replay(
    image: Annotated[Path, typer.Argument(help="A picture that ldm made.")],
    model: Annotated[
        str | None, typer.Option(help="Where the model is now, if it has moved.")
    ] = None,
    model_config: ModelConfigOption = None,
    lora: LoraOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the new picture (default: the image's own).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a picture again from its manifest, and say what differs."""
    image = expanded(image)
    original, manifest = read_png(image)
    call = called(manifest)
    recipe = manifests.recipe_of(manifest)
    layer = gather(None, {**recipe, "observers": None}, None)
    moved = {"model": model, "model_config": model_config, "loras": lora, "device": device}
    if "model_revision" in manifest:  # the branch that was named may have moved on
        layer["model"] = at_commit(layer["model"], manifest["model_revision"])
    layer = {**layer, **gather(None, moved, None)}
    then: dict[str, str] = manifest["versions"]
    notes = manifests.differences(then, manifests.versions(set(then)))
    for note in notes:
        typer.echo(f"differs: {note}", err=True)
    composition = compose(layer, installed())
    extent = manifests.extent_of(manifest)
    steps = manifest["num_inference_steps"]
    # One image's entry of each: an entry may itself be a list.
    inputs: dict[str, Any] = {name: [entry] for name, entry in manifest["inputs"].items()}
    if call is None:
        composition.plan(inputs, [manifest["seed"]], extent, steps)
    folder = image.parent if out is None else expanded(out)
    make_folder(folder)

    if manifest.get("pixels_sha256") not in (None, manifests.pixel_hash(original)):
        notes.append("the picture was changed after it was made")
        typer.echo(f"differs: {notes[-1]}", err=True)
    info = composition.info
    if manifest.get("model_sha256") != model_hash(info.folder, info.file):
        notes.append("the model's files are not those of then")
        typer.echo(f"differs: {notes[-1]}", err=True)
    for note in manifests.file_differences(manifest, composition):
        notes.append(note)
        typer.echo(f"differs: {note}", err=True)

    prepare_libraries()
    from ldm_core.run.call import CallArguments
    from ldm_core.run.pipeline import Pipeline

    pipeline = Pipeline.from_composition(composition)
    if call is None:
        one = CallArguments(
            inputs=inputs, seed=[manifest["seed"]], extent=extent, num_inference_steps=steps
        )
        again, new = picked(pipeline.batches_of(one), 0)
    else:
        function, number = call
        again, new = picked(function(pipeline), number)
    new["pixels_sha256"] = manifests.pixel_hash(again)
    if call is not None:
        new["command"] = manifest["command"]
    path = write_new(
        folder, image.stem, ".png", lambda path: save_png(again, new, path), ending="-replay"
    )
    verdict = compare(original, again)
    if as_json:
        typer.echo(json.dumps({"path": str(path), "differs": notes, **verdict}))
    else:
        typer.echo(str(path))
        typer.echo(str(verdict["verdict"]))


def picked(outputs: Iterable[Output], number: int) -> tuple[Any, dict[str, Any]]:
    """One picture of several outputs, and its manifest.

    Raises:
        LdmError: there are fewer.
        NotFiniteError: it came out not finite.
    """
    for output in outputs:
        if number in output.indices:
            place = output.indices.index(number)
            return output.images[place], dict(output.manifests[place])
        for failure in output.failures:
            if failure.index == number:
                raise NotFiniteError(failure.message, failure.hint, None, [failure])
        number -= output.asked
    raise LdmError("the manifest is damaged: its command makes fewer pictures than it says.")


def called(manifest: dict[str, Any]) -> tuple[Callable[[Any], Iterable[Output]], int] | None:
    """The command that made a picture by more than one run, as a function of a pipeline, and which
    of its pictures it is.

    Raises:
        LdmError: the command is not installed, the call was made in Python, or the manifest is
            damaged.
    """
    call = manifest.get("command")
    if call is None:
        if "finish" in manifest:
            raise LdmError(
                f"the image was finished in Python ({manifest['finish']}), and its manifest holds "
                "no call that could be made again; the command of the same pipeline writes one."
            )
        return None
    try:
        name, arguments, options, index = (
            call[key] for key in ("name", "arguments", "options", "image")
        )
        function = installed().find("command", name).loaded
        if not isinstance(function, InBatches):
            raise LdmError(f"the command '{name}' gives no pictures that could be made again.")
        return partial(_call, function, list(arguments), dict(options)), int(index)
    except (KeyError, TypeError) as error:
        raise LdmError(f"the manifest is damaged: its command lacks {error}.") from None


def _call(
    function: InBatches, arguments: list[Any], options: dict[str, Any], pipe: Any
) -> Iterable[Output]:
    """A call as a manifest has it: paths are text there."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    declared = describe(function, [p for p in parameters if p.kind is p.KEYWORD_ONLY])
    checked = {
        name: declared[name].check(value, "the command") if name in declared else value
        for name, value in options.items()
    }
    return function.batches(pipe, *arguments, **checked)


def compare(original: Any, again: Any) -> dict[str, Any]:
    """How far two images of one size lie apart."""
    import numpy as np

    first, second = (np.asarray(i.convert("RGB"), dtype=np.int16) for i in (original, again))
    if first.shape != second.shape:
        return {"verdict": "the sizes differ", "max_difference": 255}
    apart = np.abs(first - second)
    most = int(apart.max())
    share = float((apart.max(axis=-1) > 0).mean())
    if most == 0:
        verdict = "the same picture, pixel for pixel"
    elif most <= 2:
        verdict = (
            f"the same picture within rounding ({share:.2%} of pixels differ by at most {most})"
        )
    else:
        verdict = f"another picture: {share:.2%} of pixels differ, by up to {most} of 255"
    return {"verdict": verdict, "max_difference": most, "pixels_differing": share}
