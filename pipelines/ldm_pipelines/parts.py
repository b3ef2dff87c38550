"""What several pipelines are made of: pictures in, plans in batches, a start part of the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.composition.parts import same_plugin
from ldm_core.contracts import Plan, Request
from ldm_core.contracts.files import in_full
from ldm_core.errors import LdmError
from ldm_core.media import pictures
from ldm_core.media.shown import check_output_type
from ldm_core.numerics.strength import cut
from ldm_core.run.call import CallArguments

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

MOST_PIXELS = 1e12
"""A side of so many pixels is no picture's."""
Picture = Path | str | Image.Image
"""A picture as a person gives it; the command line takes a file."""


def arguments(pipe: Pipeline, call: dict[str, Any], prompts: Sequence[str] = ()) -> CallArguments:
    """What a pipeline's call takes, of arguments by name and prompts; a single prompt serves all
    seeds."""
    if prompts:
        if "prompt" in call:
            raise LdmError("'prompt' is given twice, by its name and by its place.")
        call = {**call, "prompt": prompts[0] if len(prompts) == 1 else list(prompts)}
    return CallArguments.of(pipe.axes, **call)


def open_picture(source: Picture, channels: int = 3, name: str = "image") -> Image.Image:
    """A picture of 1 channel (grey) or 3, 8 bits each, the way up that its camera says.

    Raises:
        LdmError: no such file, or no picture.
    """
    image = source if isinstance(source, Image.Image) else pictures.open_picture(source, name)
    return pictures.as_mode(image, "L" if channels == 1 else "RGB", name)


def open_mask(source: Picture, name: str = "mask") -> Image.Image:
    """A mask in 8 bits of grey; see `ldm_core.media.pictures.as_mask`."""
    image = source if isinstance(source, Image.Image) else pictures.open_picture(source, name)
    return pictures.as_mask(image, name)


def channels_of(pipe: Pipeline) -> int:
    """Of the pictures that a pipeline makes."""
    return pipe.composition.info.image_channels


def size_in(call: CallArguments) -> tuple[int, int] | None:
    """The size that a call asks for.

    Raises:
        LdmError: it says one side alone, and the other is the picture's to say.
    """
    sides = [call.extent.get("width"), call.extent.get("height")]
    if sides.count(None) == 1:
        raise LdmError("give both width and height of the picture to be made, or neither.")
    width, height = sides
    return None if width is None or height is None else (width, height)


def with_size(call: CallArguments, size: tuple[int, int]) -> CallArguments:
    """The call for pictures of this width and height."""
    return replace(call, extent={**call.extent, "width": size[0], "height": size[1]})


def first_seed(call: CallArguments) -> int:
    """The seed of a call that needs a single one; 0 where none is given."""
    seed = 0 if call.seed is None else call.seed
    if isinstance(seed, int):
        return seed
    if not seed:
        raise LdmError("the list of seeds is empty.")
    return seed[0]


def nearest_size(pipe: Pipeline, width: float, height: float) -> tuple[int, int]:
    """The width and height nearest to these that the model can draw."""
    if not (0 < width < MOST_PIXELS and 0 < height < MOST_PIXELS):
        raise LdmError(f"{width:.3g}x{height:.3g} pixels are no size of a picture.")
    latents = pipe.composition.info.latents
    return latents.axis("width").nearest(width), latents.axis("height").nearest(height)


def check_fits(pipe: Pipeline, size: tuple[int, int], name: str = "image") -> None:
    """Raise `LdmError` for a picture whose size the model cannot take."""
    axes = [pipe.composition.info.latents.axis(side) for side in ("width", "height")]
    if not all(axis.fits(side) for axis, side in zip(axes, size, strict=True)):
        near = "x".join(map(str, nearest_size(pipe, *size)))
        raise LdmError(
            f"the {name} is {size[0]}x{size[1]} pixels, and width and height must be multiples of "
            f"{axes[0].stride * axes[0].unit} for this model.",
            f"--size {near} scales it.",
        )


def scaled(pipe: Pipeline, source: Picture, call: CallArguments) -> tuple[Picture, tuple[int, int]]:
    """A picture at the size that is asked for, or else at its own, and that size.

    A file that need not be scaled stays a file, so that a manifest can name it.
    """
    image = open_picture(source, channels_of(pipe))
    size = size_in(call) or image.size
    check_fits(pipe, size)
    pipe.composition.extent({"width": size[0], "height": size[1]})
    if size != image.size:
        return image.resize(size, Image.Resampling.LANCZOS), size
    return (source if isinstance(source, Image.Image) else in_full(source)), size


def conditioned(pipe: Pipeline, name: str) -> Pipeline:
    """The pipeline with a conditioning beside its own."""
    own, same = pipe.recipe.get("conditioning", []), same_plugin(pipe.composition.registry)
    if any(same("conditioning", entry["name"], name) for entry in own):
        return pipe
    return pipe.replace(conditioning=[*own, {"name": name}])


def unguided(pipe: Pipeline) -> Pipeline:
    """The pipeline without guidance, but for one that its network must be told."""
    needed = pipe.composition.guidance.embedded_scale is not None
    return pipe if needed else pipe.replace(guidance="ldm-core:none")


def plans(pipe: Pipeline, call: CallArguments) -> list[Plan]:
    """The plan of a call, all of it checked, in batches."""
    seeds, inputs = call.images()
    steps = call.num_inference_steps
    plan = pipe.composition.plan(inputs, seeds, call.extent, steps, call.frame_rate)
    return pipe.composition.batches(plan, call.batch_size)


def check_share(name: str, value: float) -> None:
    """Raise `LdmError` for a number outside [0, 1]."""
    if not 0 <= value <= 1:
        raise LdmError(f"the {name} should be a number from 0 to 1, not {value!r}.")


def guided(pipe: Pipeline, call: CallArguments) -> Pipeline:
    """The pipeline with the guidance scale that a call asks for, where it asks for one."""
    scale = call.guidance_scale
    return pipe if scale is None else pipe.replace(guidance={"scale": scale})


def check_shown_as(pipe: Pipeline, call: CallArguments) -> None:
    """Raise `LdmError` where what the pipeline draws cannot be given as a call asks."""
    info, decoder = pipe.composition.info, pipe.composition.decoder
    check_output_type(call.output_type, decoder.kind, info.image_channels)


def made_from(
    pipe: Pipeline, plan: Plan, x0: Tensor, strength: float, call: CallArguments
) -> Output:
    """Pictures made anew from a part of the way (Meng et al. 2021, arXiv:2108.01073).

    Args:
        x0: clean latents (batch, channels, ...) of the plan's size.
        strength: share of the steps that is walked, rounded as from a picture; 0, or less than
            one step, leaves x0 as it is.
    """
    request = plan.request
    left = cut(plan.grid, request.num_inference_steps, strength)
    if len(left) == 1:
        return pipe.output(x0, request)
    noise = pipe.noise(request.seeds, request.extent)
    x = left[0].alpha * x0 + left[0].sigma * noise()
    sampling = pipe.resume(plan, x, left[0], noise)
    latents = sampling.walk(sampling.x, on_step=call.on_step)
    return pipe.output(latents, request, call.output_type, [sampling.finite])


def titles_of(request: Request, default: str) -> list[str]:
    """What each picture of a request is called: its prompt, where there are prompts."""
    prompts = request.inputs.get("prompt") or [default] * len(request.seeds)
    return [str(prompt) for prompt in prompts]


def shown(
    pipe: Pipeline,
    latents: Tensor,
    titles: Sequence[str],
    finish: str,
    seeds: Sequence[int],
    output_type: str = "pil",
) -> Output:
    """Latents that no run made, as pictures with manifests.

    Args:
        titles: what each picture is called.
        finish: what made them, in words.
    """
    extent = pipe.composition.info.latents.extent(latents.shape[1:])
    output = pipe.output(latents, Request({}, seeds, extent, 0), output_type)
    return finished(output, titles, finish)


def finished(output: Output, titles: Sequence[str], finish: str) -> Output:
    """The output with manifests that say what was done beside the run.

    Args:
        titles: one for each image that was asked for.
    """
    manifests = [
        {**manifest, "title": titles[index], "finish": finish}
        for index, manifest in zip(output.indices, output.manifests, strict=True)
    ]
    return replace(output, manifests=manifests)
