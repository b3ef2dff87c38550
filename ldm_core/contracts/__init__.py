"""The contracts between the parts of a pipeline; a plain function satisfies most of them.

Tensors of latents are float32 (batch, channels, ...); one entry of the batch is one image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ldm_core.contracts.family import Condition, Model, Network
from ldm_core.numerics.grid import Grid as Grid
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import PredictionType, from_x0, to_x0

if TYPE_CHECKING:
    from torch import Tensor

Denoise = Callable[["Tensor", Point], "Tensor"]
"""``denoise(x, point) -> x0``: the network with its conditioning and guidance.

Where the network also predicts a variance, `learned_variance` has that of the latest call.
"""

Noise = Callable[[], "Tensor"]
"""``noise()`` returns unit Gaussian noise of the latents' shape, from the per-image seeds."""


class Scheduler(Protocol):
    """``scheduler(x, grid, denoise, noise) -> x`` walks x along the grid to its end.

    The grid is a tuple of points that also knows their schedule, see `ldm_core.numerics.grid.Grid`.

    x starts as noise of standard deviation sqrt(alpha² + sigma²) at the grid's first point, which
    is right for data of unit variance; a scheduler says otherwise by `starts_with`. One that can
    only walk points of its own making has an attribute ``own_grid(schedule, steps) -> points``,
    which then takes the place of the spacing. One that must know the model, to say that it does
    not fit, has a method ``for_model(info) -> Scheduler``; what that returns is used in its place.
    """

    def __call__(self, x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor: ...


class Spacing(Protocol):
    """``spacing(schedule, steps) -> points``: `steps` + 1 of them, strictly less and less noisy.

    One that depends on the size of the picture says so by `sees_latent_shape`.
    """

    def __call__(self, schedule: NoiseSchedule, steps: int) -> Sequence[Point]: ...


class Attention(Protocol):
    """Scaled dot-product attention, softmax(q·kᵀ·scale + mask)·v.

    q (batch, heads, queries, width), k and v (batch, heads, keys, width); mask None, boolean
    (False hides), or additive, broadcastable to (batch, heads, queries, keys); scale a float.
    A kernel for some kinds of device only says so by `runs_on`; one that is torch's own attention
    says so by `torchs_own`, and then nothing is rerouted.
    """

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor: ...


F = TypeVar("F", bound=Callable[..., Any])


def starts_with(initial_scale: Callable[[Point, Point], float]) -> Callable[[F], F]:
    """Mark a scheduler with the standard deviation of its first x.

    Args:
        initial_scale: from the grid's first point and the schedule's noisiest one.
    """

    def mark(scheduler: F) -> F:
        setattr(scheduler, "initial_scale", initial_scale)  # noqa: B010 - a trait, not a method
        return scheduler

    return mark


def sees_latent_shape(spacing: F) -> F:
    """Mark a ``spacing(schedule, steps, latent_shape)``; the shape is one image's, without the
    batch."""
    setattr(spacing, "sees_latent_shape", True)  # noqa: B010 - a trait, not a method
    return spacing


def learned_variance(denoise: Denoise) -> Tensor | None:
    """What the network said of the variance in its latest answer, (batch, ...) like x.

    It is v of Nichol & Dhariwal 2021 (arXiv:2102.09672, Eq. 15) as the network gives it, in
    [-1, 1] between the two log-variances of Ho et al.; None where the network says nothing.
    """
    latest: Callable[[], Tensor | None] = getattr(denoise, "variance", lambda: None)
    return latest()


def needs_learned_variance(scheduler: F) -> F:
    """Mark a scheduler that reads `learned_variance`; it is refused for models that say nothing."""
    setattr(scheduler, "needs_learned_variance", True)  # noqa: B010 - a trait, not a method
    return scheduler


def runs_on(*device_types: str) -> Callable[[F], F]:
    """Mark an attention kernel as made for these kinds of device alone, such as ``cuda``."""

    def mark(kernel: F) -> F:
        setattr(kernel, "device_types", device_types)  # noqa: B010 - a trait, not a method
        return kernel

    return mark


def torchs_own(kernel: F) -> F:
    """Mark an attention kernel that does what torch does anyway, so that nothing is rerouted."""
    setattr(kernel, "torchs_own", True)  # noqa: B010 - a trait, not a method
    return kernel


@dataclass(frozen=True)
class Evaluation:
    """Where and on what the network was called: what a guidance may look at."""

    x: Tensor
    point: Point
    prediction_type: PredictionType

    def x0(self, output: Tensor) -> Tensor:
        """The clean latent that a network output stands for."""
        return to_x0(self.prediction_type, output, self.x, self.point)

    def output(self, x0: Tensor) -> Tensor:
        """The network output that stands for a clean latent; the inverse of `x0`."""
        return from_x0(self.prediction_type, x0, self.x, self.point)


class Guidance(Protocol):
    """Combines the network's answers for several conditions into one.

    One that must know the model, to say that it does not fit, has a method ``for_model(info) ->
    Guidance``; what that returns is used in its place.

    One that needs more of a run, or keeps something from call to call, has a method
    ``bind(run) -> Guidance``; what that returns is used for this run alone. It may have two more
    attributes, each by names of branches: ``networks``, which are asked in place of the model's,
    and ``inputs``, which take the place of the request's: such a branch is encoded like the
    positive one, from its own inputs (an empty table is the positive condition itself).

    One whose strength is told to the network, as a number that it was distilled to take, has an
    attribute ``embedded_scale``: a float, given to the network as the condition
    ``guidance_scale``. The model's family needs the ability ``embedded_guidance`` for it.
    """

    def branches(self, point: Point) -> tuple[str, ...]:
        """Names of the branches needed at this point, such as ``("positive", "negative")``."""
        ...

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        """One network output from those of the branches, each (batch, ...), same shape."""
        ...


@dataclass(frozen=True)
class Request:
    """What a person asked of one run. All sequences have one entry an image.

    Attributes:
        inputs: what the conditionings read, by name: ``{"prompt": [...], ...}``.
        seeds: one for each image; an image depends on its own alone.
    """

    inputs: Mapping[str, Sequence[Any]]
    seeds: Sequence[int]
    width: int
    height: int
    num_inference_steps: int


@dataclass(frozen=True)
class Run:
    """One run of a pipeline: a request on its way.

    Attributes:
        grid: the points that are visited.
        noise: draws from the images' seeds.
        to_latents: the pipeline's encoder, from pixels (batch, channels, height, width) in
            [-1, 1]; it may draw from the seeds too.
        initial_scale: standard deviation of the first x, as the scheduler wants it.
    """

    model: Model
    request: Request
    grid: Grid
    noise: Noise
    to_latents: Callable[[Tensor], Tensor]
    initial_scale: float


class Edit:
    """What a conditioning does in one run beside giving conditions; by itself, nothing.

    Made for one run by the conditioning's ``edit(run)``, it may keep what it needs between calls.
    """

    def start(self) -> Tensor | None:
        """The first x, (batch, ...); None leaves it to noise. Not asked in a run that goes on from
        where another stopped."""
        return None

    def model(self, model: Model) -> Model:
        """What the run is made with in place of its model, such as one with more layers; guidance
        that makes networks of the run's model makes them of this one."""
        return model

    def network(self, network: Network) -> Network:
        """What is asked in place of a network, such as one with a ControlNet beside it."""
        return network

    def denoise(self, denoise: Denoise) -> Denoise:
        """What surrounds the denoiser, guidance included, within the recipe's own wrappers."""
        return denoise

    def finish(self, x: Tensor) -> Tensor:
        """The final latents, from where the scheduler ended."""
        return x


class Conditioning(Protocol):
    """Turns what a person gives into what the network takes.

    Three methods may be left out. ``for_model(info) -> Conditioning`` is for one that must know
    the model to check what it is given; what that returns is used in its place.
    ``cut(grid, request) -> grid`` leaves out a part of the way, such as the start. ``edit(run)``
    returns an `Edit`, for one that does more than give conditions.
    """

    @property
    def ability(self) -> str | None:
        """The ability that the model's family must have, such as ``text``; None for no ability."""
        ...

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The inputs it reads, each with its default for an image; `...` marks a required one."""
        ...

    def check(self, request: Request) -> None:
        """Raise `LdmError` for inputs that cannot be used; called before weights are loaded."""
        ...

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """The condition of each branch; called once the first x is made."""
        ...


class Encoder(Protocol):
    """``encode(model, data, noise) -> x0``: pixels (batch, channels, height, width) in [-1, 1] to
    latents.

    ``noise`` serves encoders that sample a posterior.
    """

    def __call__(self, model: Model, data: Tensor, noise: Noise) -> Tensor: ...


class Decoder(Protocol):
    """``decode(model, x0) -> pixels`` (batch, channels, height, width) in about [-1, 1]."""

    def __call__(self, model: Model, x0: Tensor) -> Tensor: ...


DenoiserWrapper = Callable[[Denoise], Denoise]
"""``wrap(denoise) -> denoise``: caches, masks, clipping; the first in a recipe is innermost."""


@dataclass(frozen=True)
class Step:
    """One evaluation of the denoiser, as observers hear of it.

    Attributes:
        call: how many evaluations came before; a scheduler may make several between two points.
        index: how many intervals of the grid lie behind (0 at the first point).
        x, x0: the noisy latent and its estimate, both (batch, ...).
    """

    call: int
    index: int
    point: Point
    x: Tensor
    x0: Tensor


Observer = Callable[[Grid], AbstractContextManager[Callable[[Step], None]]]
"""``with observer(grid) as tell: tell(step)`` — open for the length of one run."""
