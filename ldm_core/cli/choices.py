"""What several commands share: the options that make a recipe, and the folder for pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from ldm_core.composition.parts import same_plugin
from ldm_core.composition.recipe import Layer, as_layer, lay, override, read_recipe
from ldm_core.composition.short_names import owned_model
from ldm_core.contracts import FrameRate
from ldm_core.errors import LdmError, MachineError
from ldm_core.machine import refused
from ldm_core.model.libraries import listen_always
from ldm_core.plugins.registry import installed

DEFAULT_MODEL = "shapes"

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
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set an option of a hook point, as scheduler.eta=0.5; repeatable."),
]


FLAGS = {"prompts_file": "--prompts"}
"""Options whose flag has another name, because an argument of a command has theirs."""
SHORT = {"num_images": "-n", "out": "-o", "quiet": "-q"}
"""Options that have a short flag too."""
INLINE = "inline"
"""In the place of a preview's file: the terminal."""


@dataclass(frozen=True, kw_only=True)
class RecipeChoices:
    """What makes a recipe.

    Args:
        model: Name of an installed model, folder, .safetensors file, or Hub id (default: shapes).
        model_config: Folder or Hub id with the configs of a model in a single file.
        lora: A LoRA file (or Hub id), with :SCALE behind it where not 1; repeatable.
        recipe: A recipe file (TOML).
        scheduler: Name of a scheduler.
        spacing: Name of a spacing.
        steps: Number of inference steps.
        guidance: Name of a guidance.
        guidance_scale: Strength of the guidance.
        attention: Name of an attention kernel; of several, with commas between or repeated, each
            layer takes the first that can compute it.
        set: Set an option of a hook point, as scheduler.eta=0.5; repeatable.
        allow_hub: Also ask the Hub for names that a file gives, such as a recipe, and no person.
    """

    model: str | None = None
    model_config: str | None = None
    lora: list[str] | None = None
    recipe: Path | None = None
    scheduler: str | None = None
    spacing: str | None = None
    steps: int | None = None
    guidance: str | None = None
    guidance_scale: float | None = None
    attention: list[str] | None = None
    set: list[str] | None = None
    allow_hub: bool = False

    def typed(self) -> Layer:
        """The recipe file with the other choices, and then --set, laid over it."""
        return gather(self.recipe, self._choices(), self.set)

    def layer(self, below: Layer | None = None) -> Layer:
        """What was typed, on the model that is taken where none is.

        Args:
            below: a recipe that it is laid over.
        """
        layer = lay(below or {}, self.typed(), same_plugin(installed()))
        layer.setdefault("model", owned_model(installed(), DEFAULT_MODEL))
        return layer

    def _choices(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "model_config": self.model_config,
            "loras": self.lora,
            "scheduler": self.scheduler,
            "spacing": self.spacing,
            "guidance": with_scale(self.guidance, self.guidance_scale),
            "attention": several(self.attention),
            "num_inference_steps": self.steps,
        }


@dataclass(frozen=True, kw_only=True)
class PipelineChoices(RecipeChoices):
    """What makes a pipeline.

    Args:
        device: auto, cpu, cuda, cuda:1, mps or xpu.
        dtype: Type in which the weights are kept: auto, float32, bfloat16 or float16.
        compute_dtype: Type in which the networks compute: auto, float32 or that of the weights.
        tf32: Multiply float32 in TF32 on CUDA: faster, with 10 bits of mantissa.
        memory: How much may be taken, as 8GiB, or auto for what is free: weights are placed so that
            the run fits.
        fast: Add the converters that make this model faster on this device and keep the picture,
            as far as was measured; which, and why, is said.
        faster: Also such as do not keep it; by how much it moves is said.
        size: Width and height in pixels, as 64x64.
        json: Print one JSON object for each file.
    """

    device: str | None = None
    dtype: str | None = None
    compute_dtype: str | None = None
    tf32: bool = False
    memory: str | None = None
    fast: bool = False
    faster: bool = False
    size: str | None = None
    json: bool = False

    def _choices(self) -> dict[str, Any]:
        width, height = parse_size(self.size) if self.size else (None, None)
        return {
            **super()._choices(),
            "device": self.device,
            "dtype": self.dtype,
            "compute_dtype": self.compute_dtype,
            "tf32": self.tf32 or None,
            "memory": self.memory,
            "fast": "lossy" if self.faster else "lossless" if self.fast else None,
            "width": width,
            "height": height,
        }


@dataclass(frozen=True, kw_only=True)
class WorkChoices(PipelineChoices):
    """What makes a pipeline that works.

    Args:
        quiet: Show no progress and print no notes; warnings and errors stay.
    """

    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class DrawingChoices(WorkChoices):
    """What makes a pipeline whose pictures are seen as they form.

    Args:
        preview: Show what is being made in this .png or .jpg file, written anew while it goes; or
            "inline", in the terminal.
        preview_by: How that is drawn, and --steps-to and --animation too: "linear", nearly and at
            once, or "decoder".
        steps_to: Folder for a picture of each step.
        animation: Also write the way from noise as a .gif, .png, .webp or .mp4 file; of a job or a
            comparison one for each picture, NAME-PICTURE.gif.
        overwrite: Replace files of these names.
    """

    preview: str | None = None
    preview_by: str | None = None
    steps_to: Path | None = None
    animation: Path | None = None
    overwrite: bool = False

    @property
    def seen(self) -> list[str]:
        """The options that were chosen by which pictures are seen as they form, as flags."""
        values = {
            "--preview": self.preview,
            "--preview-by": self.preview_by,
            "--steps-to": self.steps_to,
            "--animation": self.animation,
        }
        return [flag for flag, value in values.items() if value is not None]


@dataclass(frozen=True, kw_only=True)
class RunChoices(DrawingChoices):
    """What makes a run, and what becomes of its pictures.

    Args:
        negative_prompt: What the picture should not show.
        input: Another input of the model, as class_label=3; a list is one an image; repeatable.
        seed: Seed of the first image; the next ones count up.
        num_images: Images of each prompt or other input.
        batch_size: Images computed at once.
        frame_rate: Frames a second of a video (default: the model's own).
        out: Folder for the pictures.
        like: A picture of ldm, A1111 or ComfyUI, whose recipe, inputs and seed hold where nothing
            else is said.
        allow_files: Let that picture name files outside its own folder.
        format: Name of a writer, the format of the files.
        sheet: Also write all pictures on one contact sheet, a .png, .jpg or .webp file; of videos a
            strip of frames, of sounds waveform and spectrogram.
        frames_to: Folder for the frames of videos, each as a PNG too.
        overwrite: Replace a file of the name that the contact sheet, or another such file, is to
            have. Pictures get names that are free.
        json: Print one JSON object for each image.
        prompts_file: A file with a line for each picture (.txt, .csv, .tsv or .jsonl), or a folder
            with a data set: a job, which any number of processes share. What these options say
            holds where a line says nothing.
        skip_bad: Leave out lines of the file that are bad; without it they stop the job.
        resume: Insist that the folder holds this job already.
        check_hashes: See that the files that are there are what the job's ledger says.
        name: How files are called, of index, line, seed, prompt and columns of the file.
        shards: Put the files into "folders" of a thousand each, or "webdataset" archives.
        shard_size: Pictures of each of these, in place of a thousand.
        workers: Start so many processes for the job.
        engine: What runs them: "local", or "ray" for Ray's actors, one for each GPU where --workers
            says nothing else.
    """

    negative_prompt: str | None = None
    input: list[str] | None = None
    seed: int | None = None
    num_images: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 8
    frame_rate: FrameRate | None = None
    out: Path = Path("pictures")
    like: Path | None = None
    allow_files: bool = False
    format: str | None = None
    sheet: Path | None = None
    frames_to: Path | None = None
    overwrite: bool = False
    prompts_file: Path | None = None
    skip_bad: bool = False
    resume: bool = False
    check_hashes: bool = False
    name: str | None = None
    shards: str | None = None
    shard_size: Annotated[int, Field(ge=1)] | None = None
    workers: Annotated[int, Field(ge=1)] | None = None
    engine: str = "local"

    @property
    def of_jobs(self) -> list[str]:
        """The options that were chosen which are a job's alone, as flags."""
        values = {
            "--skip-bad": self.skip_bad,
            "--resume": self.resume,
            "--check-hashes": self.check_hashes,
            "--name": self.name is not None,
            "--shards": self.shards is not None,
            "--shard-size": self.shard_size is not None,
            "--workers": self.workers is not None,
            "--engine": self.engine != "local",
        }
        return [flag for flag, value in values.items() if value]


def with_scale(guidance: str | None, scale: float | None) -> Layer | None:
    """The choice of a guidance by name, by scale, or both."""
    parts = {"name": guidance, "scale": scale}
    return {key: value for key, value in parts.items() if value is not None} or None


def several(names: list[str] | None) -> list[str] | None:
    """Names that are repeated, or stand with commas between; None where there are none."""
    return [name.strip() for text in names or [] for name in text.split(",")] or None


def gather(recipe: Path | None, choices: dict[str, Any], settings: list[str] | None) -> Layer:
    """The recipe with the command line's choices and then its --set laid over it."""
    layer, same = read_recipe(recipe) if recipe else {}, same_plugin(installed())
    layer = lay(layer, as_layer(choices), same)
    for setting in settings or []:
        layer = lay(layer, override(setting), same)
    return layer


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of ``WxH``.

    Raises:
        LdmError: it has another form.
    """
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and len(text) < 20):
        raise LdmError(f"the size '{text}' should be width x height in pixels, as in 64x64.")
    return int(width), int(height)


def check_folder(folder: Path) -> None:
    """See that the folder for pictures is there or can be made, without making it.

    Raises:
        LdmError: a file is in its place.
        MachineError: it cannot be written to.
    """
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    except OSError as error:
        raise refused(f"{_short(folder)} cannot be the folder for pictures", error) from None
    if not there.is_dir():
        raise LdmError(f"'{folder}' cannot be the folder for pictures: '{there}' is a file.")
    if not os.access(there, os.W_OK):
        raise MachineError(f"the folder '{there}' cannot be written to.")


def make_folder(folder: Path) -> None:
    """Make the folder for pictures; `LdmError` or `MachineError` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise LdmError(f"'{folder}' cannot be the folder for pictures: {error.strerror}.") from None
    except OSError as error:
        raise refused(f"{_short(folder)} cannot be the folder for pictures", error) from None
    if not os.access(folder, os.W_OK):
        raise MachineError(f"the folder '{folder}' cannot be written to.")


def _short(path: Path) -> str:
    """A path in a message, the end of a long one left out."""
    text = str(path)
    return f"'{text}'" if len(text) <= 200 else f"'{text[:200]}…'"


def prepare_libraries() -> None:
    """Keep the libraries' own progress bars and notices off the terminal, where what matters of
    them is said as a warning of ours; call before torch.

    OpenMP threads that spin while they wait slow a busy machine down many times over.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    listen_always()
