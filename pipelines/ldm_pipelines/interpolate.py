"""``ldm interpolate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from PIL import Image
from pydantic import Field

from ldm_core.composition.limits import check_images
from ldm_core.contracts import (
    Condition,
    Conditioning,
    Grid,
    Input,
    Model,
    OutputPath,
    Plan,
    Request,
    Run,
    RunHooks,
    Unequal,
)
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media.moving import check_animation, check_milliseconds, write_animation
from ldm_core.run.allowance import within_memory
from ldm_core.run.call import CallArguments
from ldm_core.run.in_batches import earlier_names, in_batches
from ldm_pipelines.parts import (
    Picture,
    arguments,
    channels_of,
    check_shown_as,
    finished,
    first_seed,
    guided,
    open_picture,
    scaled,
    shown,
)
from ldm_pipelines.spherical import NoiseBetween, slerp
from ldm_pipelines.timed import check_makes

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

End = Literal["first", "second", "nearer"]
ENDS: tuple[End, ...] = ("first", "second", "nearer")


@dataclass(frozen=True)
class Place:
    """Where a frame lies: so much of the way from one stop to the next."""

    first: int
    second: int
    weight: float

    @property
    def nearer(self) -> int:
        return self.first if self.weight < 0.5 else self.second


Frames = tuple[int, Sequence[Place]]
"""The number of the first of some frames, and where each of them lies."""


@earlier_names(animation="film")
@in_batches
def interpolate(
    pipe: Pipeline,
    *prompts: str,
    seeds: list[int] | None = None,
    images: list[Picture] | None = None,
    num_images: Annotated[int, Field(ge=2)] = 8,
    film: OutputPath | None = None,
    milliseconds: Annotated[int, Field(ge=1)] = 100,
    overwrite: bool = False,
    **call: Any,
) -> Iterator[Output]:
    """Make pictures on the way between prompts, seeds or images.

    Noise and latents go along an arc (Shoemake 1985), what the network is told of the prompts too.
    The frames at the stops are the pictures that the prompts and seeds give by themselves.

    Args:
        prompts: The stops; a single one stays the same on the way.
        seeds: Seeds of the stops; repeatable. One for all of them where left out.
        images: Pictures as the stops, by their latents alone, in place of prompts; repeatable.
        num_images: Frames from each stop to the next, both of them counted.
        film: Also write the frames as an animation: a .gif, .png (APNG), .webp or .mp4 file.
        milliseconds: How long the film shows each frame.
        overwrite: Replace a file of the film's name.
    """
    film = None if film is None else expanded(film)
    if film is not None:
        check_animation(film, overwrite=overwrite)
    if num_images < 2:
        raise LdmError(f"there are at least 2 frames, both stops, not {num_images}.")
    if images and (prompts or seeds):
        raise LdmError("say stops by images, or by prompts and seeds, and not by both.")
    stops = len(images) if images else max(len(prompts), len(seeds or []))
    if stops < 2:
        raise LdmError("there should be at least two stops: prompts, --seeds or --images.")
    check_images((stops - 1) * (num_images - 1) + 1)
    check_milliseconds(milliseconds, film)
    places = [
        Place(stop, stop + 1, frame / (num_images - 1))
        for stop in range(stops - 1)
        for frame in range(1 if stop else 0, num_images)
    ]
    check_makes(pipe, "image", "interpolate")
    whole = arguments(pipe, call)
    pipe = guided(pipe, whole)
    check_shown_as(pipe, whole)
    if whole.num_images_per_prompt != 1:
        raise LdmError("'num_images_per_prompt' is one on a way; num_images says how many frames.")
    if film is not None and whole.output_type != "pil":
        raise LdmError("a film is made of PIL images; leave out output_type.")
    made = (
        _between_images(pipe, images, places, whole)
        if images
        else _between_runs(pipe, prompts, seeds, stops, places, whole)
    )

    def outputs() -> Iterator[Output]:
        frames: list[Image.Image] = []
        for output in made:
            if film is not None:
                frames += output.images
            yield output
        if film is not None:
            write_animation(frames, film, milliseconds, overwrite=overwrite)

    return outputs()


def _between_images(
    pipe: Pipeline, images: Sequence[Picture], places: Sequence[Place], call: CallArguments
) -> Iterator[Output]:
    import torch

    stops = [open_picture(scaled(pipe, image, call)[0], channels_of(pipe)) for image in images]
    if len({stop.size for stop in stops}) > 1:
        raise LdmError("the images should be of one size; --size scales them to one.")
    seed = first_seed(call)
    _, size = scaled(pipe, images[0], call)
    pipe.composition.check_memory(
        {"width": size[0], "height": size[1]}, min(call.batch_size or len(places), len(places))
    )

    def outputs() -> Iterator[Output]:
        latents = torch.cat([pipe.encode(stop, seed=seed) for stop in stops])

        def made(numbered: Frames) -> Output:
            start, part = numbered
            first, second = latents[[p.first for p in part]], latents[[p.second for p in part]]
            between = slerp(first, second, [place.weight for place in part])
            return shown(
                pipe,
                between,
                _titles(start, part),
                "interpolated",
                [seed] * len(part),
                call.output_type,
            )

        yield from _within_memory(pipe, places, call, made)

    return outputs()


def _between_runs(
    pipe: Pipeline,
    prompts: Sequence[str],
    seeds: Sequence[int] | None,
    stops: int,
    places: Sequence[Place],
    call: CallArguments,
) -> Iterator[Output]:
    seeds = seeds or [first_seed(call)]
    for name, several in (("prompts", prompts), ("seeds", seeds)):
        if len(several) not in (0, 1, stops):
            raise LdmError(f"{len(several)} {name} for {stops} stops; give one, or one for each.")
    seeds = [*seeds] * (stops if len(seeds) == 1 else 1)
    prompts = [*prompts] * (stops if len(prompts) == 1 else 1)
    inputs = {**call.inputs, **({"prompt": list(prompts)} if prompts else {})}
    ends = pipe.composition.plan(
        inputs, seeds, call.extent, call.num_inference_steps, call.frame_rate
    )
    count = min(call.batch_size or len(places), len(places))
    pipe.composition.check_memory(ends.request.extent, count)
    mixing = pipe
    if pipe.composition.conditioning:
        mixing = pipe.replace(conditioning=[Between(c) for c in pipe.composition.conditioning])

    def outputs() -> Iterator[Output]:
        def made(numbered: Frames) -> Output:
            start, part = numbered
            weights = [place.weight for place in part]
            near = _at(ends, [place.nearer for place in part])
            firsts = _at(ends, [place.first for place in part]).request
            seconds = _at(ends, [place.second for place in part]).request
            mixed = {
                name: [
                    Mix(first, second, weight)
                    for first, second, weight in zip(
                        firsts.inputs[name], seconds.inputs[name], weights, strict=True
                    )
                ]
                for name in near.request.inputs
            }
            extent = near.request.extent
            noise = NoiseBetween(
                pipe.noise(firsts.seeds, extent), pipe.noise(seconds.seeds, extent), weights
            )
            plan = replace(near, request=replace(near.request, inputs=mixed))
            sampling = mixing.start(plan, noise)
            latents = sampling.walk(sampling.x, on_step=call.on_step)
            output = pipe.output(latents, near.request, call.output_type, [sampling.finite])
            return finished(output, _titles(start, part), "interpolated")

        yield from _within_memory(pipe, places, call, made)

    return outputs()


def _at(plan: Plan, stops: Sequence[int]) -> Plan:
    """What is asked at some of the stops."""
    return replace(plan, request=plan.request.at(stops))


def _within_memory(
    pipe: Pipeline,
    places: Sequence[Place],
    call: CallArguments,
    made: Callable[[Frames], Output],
) -> Iterator[Output]:
    """The frames at these places, batch by batch, in smaller ones where memory does not suffice."""

    def cut(frames: Frames, size: int) -> list[Frames]:
        start, part = frames
        return [(start + i, part[i : i + size]) for i in range(0, len(part), size)]

    whole: Frames = (0, places)
    batches = cut(whole, call.batch_size or len(places))
    return within_memory(batches, made, cut, lambda frames: len(frames[1]), lambda: pipe.model)


def _titles(start: int, part: Sequence[Place]) -> list[str]:
    return [f"frame {start + i:03d}" for i in range(len(part))]


@dataclass(frozen=True)
class Mix:
    """An input on the way from one to another."""

    first: Any
    second: Any
    weight: float

    def at(self, end: End) -> Any:
        """The input of an end."""
        if end == "nearer":
            end = "first" if self.weight < 0.5 else "second"
        return self.first if end == "first" else self.second


class Between(Conditioning):
    """A conditioning that reads a `Mix` for each image; what it does beside giving conditions is
    done for the nearer end.

    Args:
        part: the conditioning that the ends are meant for, fitted to the model.
    """

    def __init__(self, part: Conditioning) -> None:
        self._part = part

    @property
    def ability(self) -> str | None:
        return self._part.ability

    @property
    def inputs(self) -> Mapping[str, Input]:
        return self._part.inputs

    def check(self, request: Request) -> None:
        self._part.check(request)

    def cut(self, grid: Grid, request: Request) -> Grid:
        return self._part.cut(grid, _ends(request, "nearer"))

    def adapt(self, model: Model) -> Model:
        return self._part.adapt(model)

    def bind(self, run: Run) -> RunHooks:
        return self._part.bind(replace(run, request=_ends(run.request, "nearer")))

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        """Conditions on the arc between those of the two ends; what is no number that can lie
        between, such as a mask, is the nearer end's.

        Raises:
            LdmError: the ends differ in shape.
        """
        mixed = [v for v in run.request.inputs.values() if all(isinstance(e, Mix) for e in v)]
        weights = [mix.weight for mix in mixed[0]] if mixed else [0.0] * len(run.request.seeds)
        first, second, near = (
            self._part.encode(replace(run, request=_ends(run.request, end)), branches)
            for end in ENDS
        )
        return {
            branch: _arc(condition, second[branch], near[branch], weights)
            for branch, condition in first.items()
        }


def _arc(
    first: Condition | Unequal,
    second: Condition | Unequal,
    near: Condition | Unequal,
    weights: Sequence[float],
) -> Condition:
    import torch

    if isinstance(first, Unequal) or isinstance(second, Unequal) or isinstance(near, Unequal):
        raise LdmError(
            "the stops' prompts are of different length to this model, and between them there is "
            "no way; make them as long, or leave out what parts them in windows."
        )
    return {
        key: slerp(value, second[key], weights) if torch.is_floating_point(value) else near[key]
        for key, value in first.items()
    }


def _ends(request: Request, end: End) -> Request:
    """A request whose mixes have given way to what they are a mix of."""
    inputs = {
        name: [entry.at(end) if isinstance(entry, Mix) else entry for entry in values]
        for name, values in request.inputs.items()
    }
    return replace(request, inputs=inputs)
