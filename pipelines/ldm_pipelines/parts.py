"""What several pipelines are made of: pictures in, requests in batches, a start part of the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps, UnidentifiedImageError

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.contracts import Request
    from ldm_core.run.pipeline import Output, Pipeline

Picture = Path | str | Image.Image
"""A picture as a person gives it; the command line takes a file."""

CALL = ("seed", "num_images_per_prompt", "batch_size", "on_batch", "width", "height")


def open_picture(given: Picture, channels: int = 3, name: str = "image") -> Image.Image:
    """A picture of 1 channel (grey) or 3, the way up that its camera says.

    Raises:
        LdmError: no such file, or no picture.
    """
    image = given
    if not isinstance(image, Image.Image):
        try:
            image = ImageOps.exif_transpose(Image.open(Path(image).expanduser()))
        except UnidentifiedImageError:
            raise LdmError(f"the {name} '{given}' cannot be read: it is no picture.") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise LdmError(f"the {name} '{given}' cannot be read: {reason}.") from None
    return image.convert("L" if channels == 1 else "RGB")


def channels_of(pipe: Pipeline) -> int:
    """Of the pictures that a pipeline makes."""
    return pipe.composition.info.image_channels


def asked_size(run: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size that a call asks for."""
    width, height = run.get("width"), run.get("height")
    return (int(width), int(height)) if width and height else None


def first_seed(run: Mapping[str, Any]) -> int:
    """The seed of a call that needs a single one; 0 where none is given."""
    seed = run.get("seed")
    return int(seed[0] if isinstance(seed, list | tuple) else seed or 0)


def check_fits(pipe: Pipeline, size: tuple[int, int], name: str = "image") -> None:
    """Raise `LdmError` for a picture whose size the model cannot take."""
    info = pipe.composition.info
    unit = info.scale_factor * info.patch
    if any(side < unit or side % unit for side in size):
        near = "x".join(str(max(unit, round(side / unit) * unit)) for side in size)
        raise LdmError(
            f"the {name} is {size[0]}x{size[1]} pixels, and width and height must be multiples of "
            f"{unit} for this model.",
            f"--size {near} scales it.",
        )


def scaled(
    pipe: Pipeline, given: Picture, run: Mapping[str, Any]
) -> tuple[Picture, dict[str, int]]:
    """A picture at the size that is asked for, or else at its own, and that size by name.

    A file that need not be scaled stays a file, so that a manifest can name it.
    """
    image = open_picture(given, channels_of(pipe))
    size = asked_size(run) or image.size
    check_fits(pipe, size)
    found: Picture = given if isinstance(given, Image.Image) else str(Path(given).resolve())
    if size != image.size:
        found = image.resize(size, Image.Resampling.LANCZOS)
    return found, {"width": size[0], "height": size[1]}


def conditioned(pipe: Pipeline, name: str) -> Pipeline:
    """The pipeline with a conditioning beside its own."""
    own = pipe.recipe.get("conditioning", [])
    if any(entry["name"] == name for entry in own):
        return pipe
    return pipe.replace(conditioning=[*own, {"name": name}])


def unguided(pipe: Pipeline) -> Pipeline:
    """The pipeline without guidance, but for one that its network must be told."""
    told_network = pipe.recipe["guidance"]["name"] == "embedded"
    return pipe if told_network else pipe.replace(guidance="none")


def told(prompts: Sequence[str]) -> dict[str, Any]:
    """Prompts as an input, nothing where none is given; a single one serves all seeds."""
    if not prompts:
        return {}
    return {"prompt": prompts[0] if len(prompts) == 1 else list(prompts)}


def requests(pipe: Pipeline, prompts: Sequence[str], run: Mapping[str, Any]) -> Iterator[Request]:
    """What a call asks, all of it checked, in batches."""
    from ldm_core.run.pipeline import images_of, per_image

    inputs = {name: value for name, value in run.items() if name not in CALL}
    each = run.get("num_images_per_prompt", 1)
    seeds, spread = per_image({**told(prompts), **inputs}, run.get("seed"), each)
    size = {side: run.get(side) for side in ("width", "height")}
    whole = pipe.composition.request(spread, seeds, **size)
    step = run.get("batch_size") or len(seeds)
    return (images_of(whole, start, start + step) for start in range(0, len(seeds), step))


def gather(parts: Iterable[Output], run: Mapping[str, Any]) -> Output:
    """Batches as one output, each told to ``on_batch`` as it is made."""
    from ldm_core.run.pipeline import Output

    heard: Callable[[Output], None] | None = run.get("on_batch")
    made = []
    for part in parts:
        made.append(part)
        if heard is not None:
            heard(part)
    return Output.join(made)


def check_share(name: str, value: float) -> None:
    """Raise `LdmError` for a number outside [0, 1]."""
    if not 0 <= value <= 1:
        raise LdmError(f"the {name} should be a number from 0 to 1, not {value!r}.")


def walk_from(pipe: Pipeline, request: Request, x0: Tensor, strength: float) -> Tensor:
    """Latents made anew from a part of the way (Meng et al. 2021, arXiv:2108.01073).

    Args:
        x0: clean latents (batch, channels, ...) of the request's size.
        strength: share of the steps that is walked; 0 leaves x0 as it is.
    """
    grid = pipe.grid(request)
    steps = len(grid) - 1
    first = steps - int(steps * strength)
    if first == steps:
        return x0
    noise = pipe.noise(request.seeds, request.width, request.height)
    x = grid[first].alpha * x0 + grid[first].sigma * noise()
    run = pipe.resume(request, x, grid[first], noise)
    return run.walk(run.x)


def shown(
    pipe: Pipeline, latents: Tensor, titles: Sequence[str], finish: str, seeds: Sequence[int]
) -> Output:
    """Latents that no run made, as pictures with manifests.

    Args:
        titles: what each picture is called.
        finish: what made them, in words.
    """
    from ldm_core.contracts import Request

    factor = pipe.composition.info.scale_factor
    height, width = (int(side) * factor for side in latents.shape[-2:])
    output = pipe.output(latents, Request({}, seeds, width, height, 0))
    return finished(output, titles, finish)


def finished(output: Output, titles: Sequence[str], finish: str) -> Output:
    """The output with manifests that say what was done beside the run."""
    from dataclasses import replace

    manifests = [
        {**manifest, "title": title, "finish": finish}
        for manifest, title in zip(output.manifests, titles, strict=True)
    ]
    return replace(output, manifests=manifests)
