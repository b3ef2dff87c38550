"""Any scheduler class of Diffusers, behind the ordinary contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import (
    Denoise,
    Grid,
    LatentShape,
    ModelInfo,
    Noise,
    Scheduler,
    VariancePredicting,
    learned_variance,
    sees_latent,
    unit_variance,
)
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_plugins.schedulers.shared.diffusers_classes import (
    BETAS,
    check_names,
    find_class,
    make,
    settings_of,
    step_options,
    timestep_options,
)
from ldm_plugins.schedulers.shared.diffusers_walk import (
    Handed,
    Stop,
    Walk,
    beside,
    drawing_from,
    to_prediction,
)

if TYPE_CHECKING:
    from torch import Tensor

PROBED_STEPS = 4
PROBE = 0.125  # small enough that no clipping touches it
OTHERS = "`ldm plugins list --kind scheduler` shows what else can be chosen."
TOLERANCE = 0.5  # some classes miss their own points by up to this much in runs of a few steps


def from_diffusers(
    class_name: str,
    *,
    config: dict[str, Any] | None = None,
    step: dict[str, Any] | None = None,
) -> Scheduler:
    """Any scheduler class of Diffusers that can walk the model's path, as it is.

    It walks the class's own timesteps, so no spacing goes with it; where noise is drawn, it is
    drawn from the images' seeds. The settings of the folder's own scheduler stand beneath
    `config`, as with Diffusers' ``from_config``; latents are clipped only where the folder says so.
    What the model's pipeline hands on, such as a shift by the size of the picture, the class is
    told. The noise schedule is the model's. Settings that would not lead from noise to
    what the network estimates are refused. A step that takes an eta is told 0, as Diffusers'
    pipelines do (TCD's own default is 0.3).

    Args:
        config: settings of the class, such as {timestep_spacing = "trailing"}.
        step: arguments of its step, such as {eta = 1.0} for DDIMScheduler.
    Raises:
        LdmError: no such class or setting, or it is not for latents along a model's path.
    """
    cls = find_class(class_name)
    settings = {k: v for k, v in (config or {}).items() if not k.startswith("_")}
    check_names(settings, settings_of(cls), f"the config of Diffusers' {class_name}")
    check_names(step or {}, step_options(cls), f"the step of Diffusers' {class_name}")
    told = {"eta": 0.0} if "eta" in step_options(cls) else {}
    return Driver(cls, settings, {**told, **(step or {})}).scheduler()


@dataclass(frozen=True, eq=False)
class Driver:
    """Drives a class by ``set_timesteps``, ``scale_model_input`` and ``step``.

    Each run makes its own object of the class; what is kept between runs is the grids.
    """

    cls: type
    settings: Mapping[str, Any]
    step: Mapping[str, Any]
    handed: Callable[[int, LatentShape], Mapping[str, Any]] | None = None
    _stops: dict[tuple[NoiseSchedule, int, Handed], Sequence[Point]] = field(
        init=False, repr=False, default_factory=dict
    )

    def scheduler(self) -> Scheduler:
        """The class as a scheduler."""
        return Scheduler(
            walk=self.walk,
            start=self.start,
            points=self.points if self.handed is None else sees_latent(self.points),
            stochastic=True,  # its signature does not say, and the settings of most can make it so
            needs_variance=self._needs_variance(),
            linear=False,  # it may be, but computes on tensors alone
            fit=self.fit,
        )

    def fit(self, info: ModelInfo) -> Scheduler:
        """The scheduler with the folder's own settings beneath the chosen ones.

        Raises:
            LdmError: the class cannot walk this model's path with these settings.
        """
        defaults = settings_of(self.cls)
        # The betas are the model's. Clipping comes with the class where it is chosen by name.
        apart = {"clip_sample", *BETAS}
        own = {k: v for k, v in info.scheduler_config.items() if k in defaults and k not in apart}
        latent = LatentShape.of(info.latents, info.default_extent)
        handed = info.handed if info.handed(PROBED_STEPS, latent) else None
        fitted = replace(self, settings={**own, **self.settings}, handed=handed)
        if handed is not None and "mu" in handed(PROBED_STEPS, latent):
            self._check_shift()
        fitted.points(info.noise_schedule, PROBED_STEPS, latent)
        return replace(fitted.scheduler(), fit=None)

    def _check_shift(self) -> None:
        """See that the class can be told the shift that depends on how large the picture is.

        Raises:
            LdmError: it cannot, and no other is chosen.
        """
        takes = "mu" in timestep_options(self.cls)
        if not takes and not {"shift", "flow_shift"} & self.settings.keys():
            raise LdmError(
                f"this model shifts its timesteps by the size of the picture, which Diffusers' "
                f"{self.cls.__name__} cannot be told (its set_timesteps takes no mu); choose a "
                "shift, as in config = {shift = 3.0}, or another scheduler.",
                OTHERS,
            )

    def start(self, first: Point, last: Point) -> float:
        """What the class makes of its first noise."""
        return first.start if isinstance(first, Stop) else unit_variance(first, last)

    def points(
        self, schedule: NoiseSchedule, steps: int, latent: LatentShape | None = None
    ) -> Sequence[Point]:
        """The points of the class's own timesteps, and the end that it reaches.

        Args:
            latent: of the picture, where the model's pipeline in Diffusers hands on something that
                depends on it.
        Raises:
            LdmError: the class cannot make that many steps, or they lead elsewhere.
        """
        handed = self._handed(steps, latent)
        stops = self._stops.get((schedule, steps, handed))
        if stops is None:
            stops = self._prepared(schedule, steps, handed).stops(steps, handed)
            self._probe(Grid(stops, schedule), steps)
            self._stops[schedule, steps, handed] = stops
        return stops

    def _handed(self, steps: int, latent: LatentShape | None) -> Handed:
        """What the model's pipeline hands on to this class beside the number of steps."""
        if self.handed is None or latent is None:
            return ()
        settings = {**settings_of(self.cls), **self.settings}
        takes = {*timestep_options(self.cls)}
        if "use_flow_sigmas" in settings:
            takes -= {"sigmas"}  # the class then makes its own
        if not settings.get("use_dynamic_shifting"):
            takes -= {"mu"}
        arguments = self.handed(steps, latent)
        return tuple((key, value) for key, value in arguments.items() if key in takes)

    def walk(self, x: Tensor, grid: Grid, denoise: Denoise, noise: Noise) -> Tensor:
        """From one of its own points to another.

        Raises:
            LdmError: they are not its own, or the class can only begin at its first.
        """
        import torch

        if not isinstance(x, torch.Tensor):
            raise TypeError(f"Diffusers' {self.cls.__name__} computes on tensors alone")
        first, last = grid[0], grid[-1]
        if not (isinstance(first, Stop) and isinstance(last, Stop) and first.steps == last.steps):
            raise LdmError(
                f"Diffusers' {self.cls.__name__} walks points of its own, and was given others."
            )
        walk = self._prepared(grid.schedule, first.steps, first.handed, x.device)
        walk.enter(first.call)
        drawing, needs_variance = drawing_from(noise), self._needs_variance()
        sample = x / first.alpha if walk.keeps_ratio else x
        for call in range(first.call, last.call):
            point, t = walk.points[call], walk.scheduler.timesteps[call]
            seen = walk.for_network(sample, t)
            x0 = denoise(seen, point)
            output = to_prediction(walk.currency, x0, seen, point)
            if needs_variance:
                output = beside(output, learned_variance(denoise))
            with drawing:
                sample = walk.scheduler.step(output, t, sample, return_dict=False, **self.step)[0]
        return sample * last.alpha if walk.keeps_ratio else sample

    def _needs_variance(self) -> bool:
        """Whether it is set to draw noise of the variance that the network predicts."""
        # Classes whose default is None know the setting only to cut the variance off again.
        draws = settings_of(self.cls).get("variance_type") is not None
        return draws and str(self.settings.get("variance_type", "")).startswith("learned")

    def _prepared(
        self, schedule: NoiseSchedule, steps: int, handed: Handed, device: Any = None
    ) -> Walk:
        defaults, settings = settings_of(self.cls), dict(self.settings)
        if "clip_sample" in defaults:
            settings.setdefault("clip_sample", False)
        if "variance_type" in defaults and defaults["variance_type"] is None:
            settings["variance_type"] = None
        if defaults.get("lower_order_final") is False and settings.get("final_sigmas_type") is None:
            settings["lower_order_final"] = True  # as the class does itself, with a warning
        if "prediction_type" in defaults and schedule.at(schedule.last).alpha == 0:
            settings.setdefault("prediction_type", "v_prediction")
        scheduler = make(self.cls, settings, schedule)
        with self._failing(steps):
            scheduler.set_timesteps(steps, device=device, **dict(handed))
            return Walk(scheduler, schedule)

    def _probe(self, grid: Grid, steps: int) -> None:
        """See that a network that is always sure of one x0 is led there, from no noise at all."""
        import torch

        target = torch.full((1, 4, 1, 1), PROBE)

        def sure(x: Tensor, point: Point) -> Tensor:
            return target

        def nothing() -> Tensor:
            return torch.zeros_like(target)

        with self._failing(steps):
            denoise = VariancePredicting(sure, nothing)
            end = self.walk(grid[0].alpha * target, grid, denoise, nothing)
        share = float(end.flatten()[0]) / PROBE
        if not abs(share - grid[-1].alpha) < TOLERANCE:
            raise LdmError(
                f"Diffusers' {self.cls.__name__} with these settings and {steps} steps does not "
                "lead to what the network estimates: of an x0 that is always the same, "
                f"{share:.3g} is left at the end in place of {grid[-1].alpha:.3g}.",
                OTHERS,
            )

    @contextmanager
    def _failing(self, steps: int) -> Iterator[None]:
        """Say of which class and run an error is that Diffusers raises."""
        try:
            yield
        except LdmError:
            raise
        except Exception as error:
            raise LdmError(
                f"Diffusers' {self.cls.__name__} with these settings cannot make {steps} steps: "
                f"{type(error).__name__}: {error}",
                OTHERS,
            ) from error
