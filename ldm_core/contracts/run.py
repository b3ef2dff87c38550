"""One run: what is asked of it, its points, and what parts are told while it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from ldm_core.arguments import check_fields
from ldm_core.contracts.family import Model
from ldm_core.contracts.latents import Extent, LatentSpace
from ldm_core.contracts.medium import Medium
from ldm_core.contracts.network import Network
from ldm_core.contracts.read_only import ReadOnly
from ldm_core.contracts.record import Marked, with_trait
from ldm_core.contracts.scheduler import Scheduler
from ldm_core.errors import LdmError
from ldm_core.numerics.callables import Denoise, Noise
from ldm_core.numerics.grid import Grid
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import PredictionType, from_x0, to_x0

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def _seed(value: int) -> int:
    if not 0 <= value < 2**63:
        raise ValueError("a seed is a whole number from 0 to 2^63 - 1")
    return value


Seed = Annotated[
    int, AfterValidator(_seed), Field(json_schema_extra={"minimum": 0, "maximum": 2**63 - 1})
]
"""What an image's noise is drawn from: a whole number from 0 to 2^63 - 1."""
FrameRate = Annotated[float, Field(ge=0.01, le=1000)]
"""Frames a second of a video; files can say no rate far beyond these."""


@dataclass(frozen=True)
class Request:
    """What a person asked of one run. All sequences have one entry an image.

    Attributes:
        inputs: what the conditionings read, by name: ``{"prompt": [...], ...}``.
        seeds: one for each image; an image depends on its own alone.
        extent: how large each image is.
        num_inference_steps: of the whole run.
        frame_rate: of a video, in frames a second; None for the model's own.
        places: of each image among all that the call makes, from 0; None where these are all.
        total: how many the call makes; None where these are all.
    """

    inputs: Mapping[str, Sequence[Any]]
    seeds: Sequence[int]
    extent: Extent
    num_inference_steps: int
    places: Sequence[int] | None = None
    total: int | None = None
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, ReadOnly):
            object.__setattr__(self, "inputs", ReadOnly(self.inputs))

    @property
    def of_call(self) -> Sequence[int]:
        """The place of each image among all that the call makes, from 0."""
        return range(len(self.seeds)) if self.places is None else self.places

    @property
    def call_images(self) -> int:
        """How many images the call makes."""
        return len(self.seeds) if self.total is None else self.total

    @property
    def width(self) -> int:
        """Of a picture, in pixels."""
        return self.extent["width"]

    @property
    def height(self) -> int:
        """Of a picture, in pixels."""
        return self.extent["height"]

    def images(self, start: int, stop: int) -> Request:
        """What was asked of some of the images."""
        part = slice(start, stop)
        inputs = {name: values[part] for name, values in self.inputs.items()}
        return replace(
            self,
            inputs=inputs,
            seeds=self.seeds[part],
            places=self.of_call[part],
            total=self.call_images,
        )

    def at(self, indices: Sequence[int]) -> Request:
        """What was asked of some of the images, by their indices."""
        inputs = {name: [values[i] for i in indices] for name, values in self.inputs.items()}
        return replace(
            self,
            inputs=inputs,
            seeds=[self.seeds[i] for i in indices],
            places=[self.of_call[i] for i in indices],
            total=self.call_images,
        )


def request_of(latents: Tensor, space: LatentSpace, seeds: Sequence[int] | None = None) -> Request:
    """What is asked where latents (batch, channels, ...) alone are given: nothing but their extent.

    Args:
        space: theirs.
        seeds: one for each; 0, 1 and so on where not given.
    """
    each = range(len(latents)) if seeds is None else seeds
    return Request({}, each, space.extent(latents.shape[1:]), 0)


@dataclass(frozen=True)
class Plan:
    """A checked request and the points that its run visits, made once.

    Attributes:
        request: what was asked.
        grid: the points.
    """

    request: Request
    grid: Grid

    def __post_init__(self) -> None:
        check_fields(self)

    def batches(self, size: int | None) -> list[Plan]:
        """The plan in parts of so many images at most; whole where the size is None."""
        count = len(self.request.seeds)
        step = size or max(count, 1)
        return [
            replace(self, request=self.request.images(start, start + step))
            for start in range(0, count, step)
        ]


def nothing_decoded(latents: Tensor) -> Medium:
    """Of a run that is made without a decoder.

    Raises:
        LdmError: always.
    """
    raise LdmError("this run has no decoder: it is made to count, not to draw.")


@dataclass(frozen=True)
class Run:
    """One run of a pipeline: a request on its way.

    Attributes:
        model: what it is made with.
        request: what was asked.
        grid: the points that are visited.
        noise: draws from the images' seeds.
        to_latents: the pipeline's encoder, from pixels (batch, channels, height, width) in
            [-1, 1]; it may draw from the seeds too.
        initial_scale: standard deviation of the first x, as the scheduler wants it.
        scheduler: what walks it; None of a run that is made without one.
        decode: the pipeline's decoder: what latents (batch, channels, ...), such as an x0 estimate
            on the way, show.
    """

    model: Model
    request: Request
    grid: Grid
    noise: Noise
    to_latents: Callable[[Tensor], Tensor]
    initial_scale: float
    scheduler: Scheduler | None = None
    decode: Callable[[Tensor], Medium] = nothing_decoded

    @property
    def device(self) -> torch.device:
        """Where x and the conditions are."""
        return self.model.latents_device


def sees_run(function: Callable[..., Any] | Marked) -> Marked:
    """Say that a wrapper or an observer sees the `Run` that it is part of.

    A wrapper takes it beside the denoiser, ``wrap(denoise, run)``; an observer in place of the
    grid, ``observer(run)``, and gives a `ldm_core.contracts.RunObserver`. To be named first, next
    to the function, where other decorators say more.

    A wrapper that draws ``run.noise()`` moves on the images' own streams, so that whatever draws
    after it draws other noise; each image still depends on its seed alone.
    """
    return with_trait(function, "sees_run", True)


def sees_request(function: Callable[..., Any] | Marked) -> Marked:
    """Say that a decoder sees the `Request` whose latents it gets, ``decode(model, x0, request)``:
    the seeds that it draws from, and the inputs of the images. Latents that are decoded by
    themselves, as by `Pipeline.decode`, come with seeds and no inputs. To be named first, next to
    the function, where other decorators say more.
    """
    return with_trait(function, "sees_request", True)


class RunHooks:
    """What a conditioning or a converter does in one run; by itself, nothing.

    Made for one run by their ``bind``, it may keep what it needs between calls.
    """

    def start(self) -> Tensor | None:
        """The first x, (batch, ...); None leaves it to noise. Not asked in a run that goes on from
        where another stopped."""
        return None

    def network(self, network: Network) -> Network:
        """What is asked in place of a network, such as one with a ControlNet beside it."""
        return network

    def denoise(self, denoise: Denoise) -> Denoise:
        """What surrounds the denoiser, guidance included, within the recipe's own wrappers."""
        return denoise

    def program(self, advance: Callable[..., Any]) -> Callable[..., Any] | None:
        """What is called in place of ``advance``, which does all of a step with tensors alone; None
        where the scheduler walks by itself.

        Asked of converters that run all steps as one program, see `Converter.by_table`.
        """
        return None

    def finish(self, x: Tensor) -> Tensor:
        """The final latents, from where the scheduler ended."""
        return x


@dataclass(frozen=True)
class Evaluation:
    """Where and on what the network was called: what a guidance may look at.

    Attributes:
        x: the noisy latent, (batch, ...).
        point: where it lies.
        prediction_type: what the network's outputs stand for.
    """

    x: Tensor
    point: Point
    prediction_type: PredictionType

    def x0(self, output: Tensor) -> Tensor:
        """The clean latent that a network output stands for."""
        return to_x0(self.prediction_type, output, self.x, self.point)

    def output(self, x0: Tensor) -> Tensor:
        """The network output that stands for a clean latent; the inverse of `x0`."""
        return from_x0(self.prediction_type, x0, self.x, self.point)


@dataclass(frozen=True)
class Step:
    """One evaluation of the denoiser, as observers hear of it.

    Attributes:
        call: how many evaluations came before; a scheduler may make several between two points.
        index: how many intervals of the grid lie behind (0 at the first point).
        point: where it was asked.
        x, x0: the noisy latent and its estimate, both (batch, ...).
    """

    call: int
    index: int
    point: Point
    x: Tensor
    x0: Tensor
