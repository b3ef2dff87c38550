"""``ldm interpolate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from PIL import Image
from pydantic import Field

from ldm_core.contracts import Conditioning, Request, Run
from ldm_core.contracts.family import Condition
from ldm_core.errors import LdmError
from ldm_pipelines.parts import (
    CALL,
    Picture,
    channels_of,
    finished,
    first_seed,
    gather,
    open_picture,
    scaled,
    shown,
    told,
)
from ldm_pipelines.spherical import NoiseBetween, slerp

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Output, Pipeline

FORMATS = {".gif": "GIF", ".png": "PNG"}


@dataclass(frozen=True)
class Place:
    """Where a frame lies: so much of the way from one stop to the next."""

    first: int
    second: int
    weight: float

    @property
    def nearer(self) -> int:
        return self.first if self.weight < 0.5 else self.second


def interpolate(
    pipe: Pipeline,
    *prompts: str,
    seeds: list[int] | None = None,
    images: list[Picture] | None = None,
    num_images: Annotated[int, Field(ge=2)] = 8,
    animation: Path | None = None,
    milliseconds: Annotated[int, Field(ge=1)] = 100,
    **run: Any,
) -> Output:
    """Make pictures on the way between prompts, seeds or images.

    Noise and latents go along an arc (Shoemake 1985), what the network is told of the prompts too.
    The frames at the stops are the pictures that the prompts and seeds give by themselves.

    Args:
        prompts: The stops; a single one stays the same on the way.
        seeds: Seeds of the stops; repeatable. One for all of them where left out.
        images: Pictures as the stops, by their latents alone, in place of prompts; repeatable.
        num_images: Frames from each stop to the next, both of them counted.
        animation: Also write the frames as an animation, a .gif or .png (APNG) file.
        milliseconds: How long the animation shows each frame.
    """
    if animation is not None and animation.suffix.lower() not in FORMATS:
        raise LdmError(f"an animation is a file that ends in .gif or .png, not '{animation.name}'.")
    if num_images < 2:
        raise LdmError(f"there are at least 2 frames, both stops, not {num_images}.")
    if images and (prompts or seeds):
        raise LdmError("say stops by images, or by prompts and seeds, and not by both.")
    stops = len(images) if images else max(len(prompts), len(seeds or []))
    if stops < 2:
        raise LdmError("there should be at least two stops: prompts, --seeds or --images.")
    places = [
        Place(stop, stop + 1, frame / (num_images - 1))
        for stop in range(stops - 1)
        for frame in range(1 if stop else 0, num_images)
    ]
    if images:
        made = _between_images(pipe, images, places, run)
    else:
        made = _between_runs(pipe, prompts, seeds, stops, places, run)
    if animation is not None:
        write_animation(made.images, animation, milliseconds)
    return made


def _between_images(
    pipe: Pipeline, images: Sequence[Picture], places: Sequence[Place], run: Mapping[str, Any]
) -> Output:
    import torch

    stops = [open_picture(scaled(pipe, image, run)[0], channels_of(pipe)) for image in images]
    if len({stop.size for stop in stops}) > 1:
        raise LdmError("the images should be of one size; --size scales them to one.")
    seed = first_seed(run)
    latents = torch.cat([pipe.encode(stop, seed=seed) for stop in stops])

    def frames() -> Any:
        for start, part in _batches(places, run):
            first, second = (
                latents[[getattr(p, end) for p in part]] for end in ("first", "second")
            )
            between = slerp(first, second, [place.weight for place in part])
            yield shown(pipe, between, _titles(start, part), "interpolated", [seed] * len(part))

    return gather(frames(), run)


def _between_runs(
    pipe: Pipeline,
    prompts: Sequence[str],
    seeds: Sequence[int] | None,
    stops: int,
    places: Sequence[Place],
    run: Mapping[str, Any],
) -> Output:
    seeds = seeds or [first_seed(run)]
    for name, given in (("prompts", prompts), ("seeds", seeds)):
        if len(given) not in (0, 1, stops):
            raise LdmError(f"{len(given)} {name} for {stops} stops; give one, or one for each.")
    seeds = [*seeds] * (stops if len(seeds) == 1 else 1)
    prompts = [*prompts] * (stops if len(prompts) == 1 else 1)
    inputs = {name: value for name, value in run.items() if name not in CALL}
    size = {side: run.get(side) for side in ("width", "height")}
    ends = pipe.composition.request({**inputs, **told(prompts)}, seeds, **size)
    parts = [Between(part) for part in pipe.composition.conditioning]
    mixing = pipe.replace(conditioning=parts) if parts else pipe

    def frames() -> Any:
        for start, part in _batches(places, run):
            weights = [place.weight for place in part]
            near = _at(ends, [place.nearer for place in part])
            firsts, seconds = (
                _at(ends, [getattr(place, end) for place in part]) for end in ("first", "second")
            )
            mixed = {
                name: [
                    Mix(first, second, weight)
                    for first, second, weight in zip(
                        firsts.inputs[name], seconds.inputs[name], weights, strict=True
                    )
                ]
                for name in near.inputs
            }
            shape = (near.width, near.height)
            noise = NoiseBetween(
                pipe.noise(firsts.seeds, *shape), pipe.noise(seconds.seeds, *shape), weights
            )
            sampling = mixing.start(replace(near, inputs=mixed), noise)
            output = pipe.output(sampling.walk(sampling.x), near)
            yield finished(output, _titles(start, part), "interpolated")

    return gather(frames(), run)


def _at(request: Request, stops: Sequence[int]) -> Request:
    """What is asked at some of the stops."""
    inputs = {name: [values[stop] for stop in stops] for name, values in request.inputs.items()}
    return replace(request, inputs=inputs, seeds=[request.seeds[stop] for stop in stops])


def _batches(places: Sequence[Place], run: Mapping[str, Any]) -> Any:
    size = run.get("batch_size") or len(places)
    return ((start, places[start : start + size]) for start in range(0, len(places), size))


def _titles(start: int, part: Sequence[Place]) -> list[str]:
    return [f"frame {start + i:03d}" for i in range(len(part))]


@dataclass(frozen=True)
class Mix:
    """An input on the way from one to another."""

    first: Any
    second: Any
    weight: float

    @property
    def nearer(self) -> Any:
        return self.first if self.weight < 0.5 else self.second


class Between:
    """A conditioning that reads a `Mix` for each image; what it does beside giving conditions is
    done for the nearer end."""

    def __init__(self, part: Conditioning) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name == "for_model":
            raise AttributeError(name)  # it has been told of the model
        if name == "edit":
            return lambda run: found(replace(run, request=_ends(run.request, "nearer")))
        if name == "cut":
            return lambda grid, request: found(grid, _ends(request, "nearer"))
        return found

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """Conditions on the arc between those of the two ends; what is no number that can lie
        between, such as a mask, is the nearer end's."""
        import torch

        mixed = [v for v in run.request.inputs.values() if all(isinstance(e, Mix) for e in v)]
        weights = [mix.weight for mix in mixed[0]] if mixed else [0.0] * len(run.request.seeds)
        first, second, near = (
            self._part.encode(replace(run, request=_ends(run.request, end)), branches)
            for end in ("first", "second", "nearer")
        )
        return {
            branch: {
                key: slerp(value, second[branch][key], weights)
                if torch.is_floating_point(value)
                else near[branch][key]
                for key, value in condition.items()
            }
            for branch, condition in first.items()
        }


def _ends(request: Request, end: str) -> Request:
    """A request whose mixes have given way to what they are a mix of."""
    inputs = {
        name: [getattr(entry, end) if isinstance(entry, Mix) else entry for entry in values]
        for name, values in request.inputs.items()
    }
    return replace(request, inputs=inputs)


def write_animation(frames: Sequence[Image.Image], path: Path, milliseconds: int) -> None:
    """Write a GIF, or a PNG that moves, that goes round for ever.

    Raises:
        LdmError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frames[0].save(
            path,
            format=FORMATS[path.suffix.lower()],
            save_all=True,
            append_images=list(frames[1:]),
            duration=milliseconds,
            loop=0,
        )
    except OSError as error:
        raise LdmError(f"the animation '{path}' cannot be written: {error.strerror}.") from None
