"""``ldm generate``."""

from __future__ import annotations

import json
import secrets
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldm_core.cli.choices import (
    DEFAULT_MODEL,
    AttentionOption,
    DeviceOption,
    GuidanceOption,
    GuidanceScaleOption,
    LoraOption,
    ModelConfigOption,
    ModelOption,
    RecipeOption,
    SchedulerOption,
    SetOption,
    SpacingOption,
    StepsOption,
    gather,
    make_folder,
    parse_size,
    prepare_libraries,
    with_scale,
)
from ldm_core.cli.inputs import caption, check_inputs, gather_inputs, spread
from ldm_core.compose import Composition, compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.images import check_shown, contact_sheet, free_path, save_png
from ldm_core.plugins.registry import installed

if TYPE_CHECKING:
    from PIL.Image import Image

    from ldm_core.pipeline import Pipeline


def generate(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROMPT]...", help="What to draw, where the model takes a prompt."),
    ] = None,
    model: ModelOption = None,
    model_config: ModelConfigOption = None,
    lora: LoraOption = None,
    recipe: RecipeOption = None,
    scheduler: SchedulerOption = None,
    spacing: SpacingOption = None,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    guidance_scale: GuidanceScaleOption = None,
    negative_prompt: Annotated[
        str | None, typer.Option(help="What the picture should not show.")
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="Another input of the model, as class_label=3; a list is one an image."
        ),
    ] = None,
    attention: AttentionOption = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the first image; the next ones count up.")
    ] = None,
    num_images: Annotated[
        int, typer.Option(help="Images of each prompt or other input.", min=1)
    ] = 1,
    size: Annotated[str | None, typer.Option(help="Width and height in pixels, as 64x64.")] = None,
    device: DeviceOption = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16; of the network.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images computed at once.", min=1)] = 8,
    set_: SetOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("pictures"),
    sheet: Annotated[
        Path | None, typer.Option(help="Also write all pictures on one contact sheet, a PNG.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each image.")
    ] = False,
) -> None:
    """Make pictures, each with its manifest inside."""
    width, height = parse_size(size) if size else (None, None)
    choices = {
        "model": model,
        "model_config": model_config,
        "loras": lora,
        "scheduler": scheduler,
        "spacing": spacing,
        "guidance": with_scale(guidance, guidance_scale),
        "attention": attention,
        "num_inference_steps": steps,
        "width": width,
        "height": height,
        "device": device,
        "dtype": dtype,
    }
    layer = gather(recipe, choices, set_)
    layer.setdefault("model", DEFAULT_MODEL)
    if not as_json:
        layer.setdefault("observers", ["progress_bar"])
    composition = compose(layer, installed())
    given = gather_inputs(prompts, negative_prompt, input_)
    check_inputs(composition, given)
    inputs, count = spread(given, num_images)
    first = secrets.randbelow(2**32) if seed is None else seed
    seeds = [first + i for i in range(count)]
    composition.request(inputs, seeds)
    check_shown(composition.info.image_channels)
    make_folder(out)
    if sheet is not None:
        make_folder(sheet.parent)
        if sheet.is_dir():
            raise LdmError(f"the contact sheet '{sheet}' should be a file, and is a folder.")
    made = write_images(composition, inputs, seeds, batch_size, out, as_json)
    if sheet is not None:
        captions = [caption(composition, inputs, index) for index in range(count)]
        contact_sheet(made, captions).save(sheet, format="PNG")
        typer.echo(f"contact sheet: {sheet.resolve()}", err=as_json)


def write_images(
    composition: Composition,
    inputs: dict[str, Any],
    seeds: list[int],
    batch_size: int,
    out: Path,
    as_json: bool,
) -> list[Image]:
    """Load the weights and make the pictures batch by batch; each is written once it is made."""
    prepare_libraries()
    from ldm_core.manifest import pixel_hash
    from ldm_core.pipeline import Pipeline

    pipeline: Pipeline = Pipeline.from_composition(composition)
    made: list[Image] = []
    try:
        for start in range(0, len(seeds), batch_size):
            part = slice(start, start + batch_size)
            began = time.perf_counter()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", LdmWarning)
                batch: dict[str, Any] = {
                    k: v[part] if isinstance(v, list) else v for k, v in inputs.items()
                }
                output = pipeline(seed=seeds[part], **batch)
            seconds = (time.perf_counter() - began) / len(output.images)
            ours = [w.message for w in caught if issubclass(w.category, LdmWarning)]
            notes = list(dict.fromkeys(map(str, ours)))
            for note in notes:
                typer.echo(f"warning: {note}", err=True)
            for image, number, manifest in zip(
                output.images, output.seeds, output.manifests, strict=True
            ):
                name = caption(composition, inputs, len(made))
                path = free_path(out, f"{name}-seed{number}")
                manifest["pixels_sha256"] = pixel_hash(image)
                save_png(image, manifest, path)
                made.append(image)
                if as_json:
                    record = {
                        "path": str(path),
                        "seed": number,
                        "seconds": round(seconds, 3),
                        "prompt": manifest["inputs"].get("prompt"),
                        "inputs": manifest["inputs"],
                        "width": image.width,
                        "height": image.height,
                        "num_inference_steps": manifest["num_inference_steps"],
                        "warnings": notes,
                    }
                    typer.echo(json.dumps(record, ensure_ascii=False))
                else:
                    typer.echo(str(path))
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {len(made)} of {len(seeds)} pictures are in {out}", err=True)
        raise typer.Exit(130) from None
    return made
