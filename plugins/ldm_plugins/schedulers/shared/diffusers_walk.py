"""Driving an object of a Diffusers scheduler class along the model's path."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Noise
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule
from ldm_core.numerics.point import CLEAN, Point

if TYPE_CHECKING:
    from torch import Tensor


Handed = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Stop(Point):
    """A point where a walk along a class's own points may be entered and left.

    Attributes:
        steps: of the whole walk.
        call: how many calls of the class's ``step`` lie behind.
        start: standard deviation of x where the walk begins here.
        handed: what the class was told beside the number of steps.
    """

    steps: int
    call: int
    start: float
    handed: Handed = ()


class Walk:
    """An object of a class with its timesteps set, and the point of each call of its ``step``.

    What an object has beside ``set_timesteps`` and ``step`` differs from class to class of
    Diffusers, and is looked for here alone.

    Attributes:
        points: where the network is called, in order.
        currency: the prediction type that the class takes.
        keeps_ratio: the class keeps x/alpha in place of x, as Karras et al. do.
    """

    def __init__(self, scheduler: Any, schedule: NoiseSchedule) -> None:
        self.scheduler = scheduler
        self.schedule = schedule
        self.flow = isinstance(schedule, FlowSchedule)
        self.currency = "flow_prediction" if self.flow else scheduler.config.prediction_type
        self.keeps_ratio = self._scales_its_input()
        times = scheduler.timesteps.tolist()
        self.points = [self._at(call, float(t)) for call, t in enumerate(times)]

    def for_network(self, sample: Tensor, t: Tensor) -> Tensor:
        """The sample as the network takes it."""
        scale = getattr(self.scheduler, "scale_model_input", None)
        return sample if scale is None else scale(sample, t)

    def enter(self, call: int) -> None:
        """Begin at this call.

        Raises:
            LdmError: the class can only begin at its first.
        """
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(call)
        elif call > 0 and hasattr(self.scheduler, "counter"):
            raise LdmError(
                f"Diffusers' {type(self.scheduler).__name__} can only begin at its first timestep."
            )

    def stops(self, steps: int, handed: Handed = ()) -> list[Stop]:
        """Each point once, with strictly falling noise, and the end."""
        first = self.points[0]
        scale = float(getattr(self.scheduler, "init_noise_sigma", 1.0))
        start = first.alpha * scale if self.keeps_ratio else scale
        # Of two calls a step, the second only looks ahead.
        calls = range(0, len(self.points), getattr(self.scheduler, "order", 1))
        visits = [*((call, self.points[call]) for call in calls), (len(self.points), self._end())]
        stops: list[Stop] = []
        for call, point in visits:
            at = start if call == 0 else math.hypot(point.alpha, point.sigma)
            if stops and math.isclose(point.ratio, stops[-1].ratio, rel_tol=1e-9):
                # Seen again, after further calls.
                t, at = stops[-1].t, stops[-1].start
                stops[-1] = Stop(point.alpha, point.sigma, t, steps, call, at, handed)
            elif not stops or point.ratio < stops[-1].ratio:
                stops.append(Stop(point.alpha, point.sigma, point.t, steps, call, at, handed))
        return stops

    def _scales_its_input(self) -> bool:
        import torch

        ones = torch.ones(1)
        twin = copy.deepcopy(self.scheduler)  # it remembers having been asked
        scale = getattr(twin, "scale_model_input", None)
        return scale is not None and float(scale(ones, twin.timesteps[0])) != 1.0

    def _at(self, call: int, t: float) -> Point:
        sigmas = getattr(self.scheduler, "sigmas", None)
        if sigmas is None or (call % 2 == 1 and hasattr(self.scheduler, "sigmas_interpol")):
            return self.schedule.at(t)  # it keeps no sigmas, or this call is half-way between two
        return self._place(float(sigmas[call]), t)

    def _end(self) -> Point:
        sigmas = getattr(self.scheduler, "sigmas", None)
        if sigmas is None:
            final = float(getattr(self.scheduler, "final_alpha_cumprod", 1.0))
            return CLEAN if final == 1.0 else self.schedule.at(self.schedule.first)
        sigma = float(sigmas[-1])
        if sigma == 0:
            return CLEAN
        if self.keeps_ratio:
            return Point(1.0, sigma, self.schedule.first)  # such a class ends in x/alpha
        there = self._place(sigma, 0.0)
        return replace(there, t=self.schedule.at_ratio(there.ratio).t)

    def _place(self, sigma: float, t: float) -> Point:
        """The point of a sigma in the class's sense: sigma/alpha, or on a flow sigma itself."""
        if self.flow:
            return Point(1.0 - sigma, sigma, t)
        length = math.hypot(1.0, sigma)
        return Point(1.0 / length, sigma / length, t)


def to_prediction(currency: str, x0: Tensor, x: Tensor, point: Point) -> Tensor:
    """What a network of this type would have returned for x0, (batch, ...) like x."""
    if currency == "sample":
        return x0
    noise = (x - point.alpha * x0) / point.sigma
    if currency == "v_prediction":
        return point.alpha * noise - point.sigma * x0
    return noise - x0 if currency == "flow_prediction" else noise


def beside(output: Tensor, variance: Tensor | None) -> Tensor:
    """The output with the network's variance as further channels."""
    import torch

    if variance is None:
        raise LdmError("the scheduler asks for a learned variance, and the network gave none.")
    return torch.cat([output, variance], dim=1)


def drawing_from(noise: Noise) -> AbstractContextManager[Any]:
    """A context in which, in this thread, what is drawn comes from the images' seeds."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Drawing(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
        ) -> Any:
            options = dict(kwargs or {})
            if func is torch.randn:
                return noise().to(options.get("dtype") or torch.get_default_dtype())
            return func(*args, **options)

    return Drawing()
