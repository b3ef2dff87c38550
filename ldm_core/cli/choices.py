"""What several commands share: the options that make a recipe, and the folder for pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ldm_core.errors import LdmError
from ldm_core.recipe import Layer, as_layer, lay, override, read_recipe

DEFAULT_MODEL = "shapes"

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Name of an installed model, folder, .safetensors file, or Hub id "
        f"(default: {DEFAULT_MODEL}).",
    ),
]
ModelConfigOption = Annotated[
    str | None,
    typer.Option(
        "--model-config", help="Folder or Hub id with the configs of a model in a single file."
    ),
]
LoraOption = Annotated[
    list[str] | None,
    typer.Option(
        "--lora", help="A LoRA file (or Hub id), with :SCALE behind it where not 1; repeatable."
    ),
]
RecipeOption = Annotated[Path | None, typer.Option("--recipe", help="A recipe file (TOML).")]
SchedulerOption = Annotated[str | None, typer.Option("--scheduler", help="Name of a scheduler.")]
SpacingOption = Annotated[str | None, typer.Option("--spacing", help="Name of a spacing.")]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Number of inference steps.")]
GuidanceOption = Annotated[str | None, typer.Option("--guidance", help="Name of a guidance.")]
GuidanceScaleOption = Annotated[
    float | None, typer.Option("--guidance-scale", help="Strength of the guidance.")
]
AttentionOption = Annotated[
    str | None, typer.Option("--attention", help="Name of an attention kernel.")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps or xpu.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set an option of a hook point, as scheduler.eta=0.5; repeatable."),
]


def with_scale(guidance: str | None, scale: float | None) -> Layer | None:
    """The choice of a guidance by name, by scale, or both."""
    parts = {"name": guidance, "scale": scale}
    return {key: value for key, value in parts.items() if value is not None} or None


def gather(recipe: Path | None, choices: dict[str, Any], settings: list[str] | None) -> Layer:
    """The recipe with the command line's choices and then its --set laid over it."""
    layer = read_recipe(recipe) if recipe else {}
    layer = lay(layer, as_layer(choices))
    for setting in settings or []:
        layer = lay(layer, override(setting))
    return layer


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of ``WxH``.

    Raises:
        LdmError: it has another form.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise LdmError(f"the size '{text}' should be width x height in pixels, as in 64x64.")
    return int(width), int(height)


def make_folder(folder: Path) -> None:
    """Make the folder for pictures; `LdmError` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LdmError(f"'{folder}' cannot be the folder for pictures: {error.strerror}.") from None
    if not os.access(folder, os.W_OK):
        raise LdmError(f"the folder '{folder}' cannot be written to.")


def prepare_libraries() -> None:
    """Keep the libraries' own progress bars and notices off the terminal; call before torch.

    OpenMP threads that spin while they wait slow a busy machine down many times over.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
