"""Whether what a run computes stays finite, image by image, and where each that does not went."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from torch import Tensor

from ldm_core.numerics.point import Point
from ldm_core.run.observing import Audience

FAR = 1e6
"""So large an x0 estimate is none, even if it is clipped later: ordinary ones are of the size of
sigma/alpha at most, under 1,400 at the noisiest points of the models there are."""
SQUARE_OF_FAR = FAR**2
FAR_AT_THE_END = 1000.0
"""Final latents with so large a root mean square show nothing: that of data is about 1."""


SCHEDULER, GUIDANCE, DECODER = "the scheduler", "guidance", "the decoder"
ENCODER, START = "the encoder's latents", "the x that it starts from"
ESTIMATE = "the estimate of x0"
AROUND = "what surrounds the denoiser"
LAST = "what the conditioning makes of the last x"
NETWORK, CONDITIONS = "the network's answer", "the conditions of"
"""What numbers come from, in words; the last two are followed by the branch."""


class Fault(NamedTuple):
    """Where an image's numbers first were not finite.

    Attributes:
        what: what gave them, in words.
        step: of the walk, from 1; None before the first and after the last.
    """

    what: str
    step: int | None = None


class AllLost(BaseException):
    """Unwinds a walk in which no image is left; no `Exception`, so that nothing on the way takes it
    for a failure of its own."""


_collection: ContextVar[list[Finiteness] | None] = ContextVar("collection", default=None)


@contextmanager
def collected() -> Iterator[list[Finiteness]]:
    """What is heard of each run that is begun meanwhile in this thread, in their order."""
    walks: list[Finiteness] = []
    token = _collection.set(walks)
    try:
        yield walks
    finally:
        _collection.reset(token)


def begun(images: int) -> Finiteness:
    """What hears of a run that begins, for so many images."""
    finite, walks = Finiteness(images), _collection.get()
    if walks is not None:
        walks.append(finite)
    return finite


class Finiteness:
    """Hears of what one run computes, and keeps the first fault of each image.

    On a CPU an evaluation of the denoiser costs one dot product, and only where that is not small
    is looked at more closely. Elsewhere sizes are kept on the device until `faults` are asked for,
    so that nothing waits.

    Attributes:
        step: the interval of the grid, from 0, in which a point lies.
        conditions: says what is not finite in the conditions of each image, in words; asked only
            where an image has failed.
        audience: the observers that see the run, to be told of what comes of it.
        evaluations: of the denoiser, that were heard of.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.audience = Audience()
        self.evaluations = 0
        self.step: Callable[[Point], int] = lambda point: 0
        self.conditions: Callable[[], Mapping[int, str]] = dict
        self._faults: dict[int, Fault] = {}
        self._far: dict[int, float] = {}
        self._later: list[Callable[[], None]] = []
        self._before: Point | None = None
        self._start: int | None = None
        self._stop = 0

    @property
    def steps(self) -> int:
        """How many steps are walked."""
        return self._stop - (self._start or 0)

    @property
    def faults(self) -> dict[int, Fault]:
        """The first fault of each image that has one."""
        self._settle()
        return self._faults

    @property
    def far(self) -> dict[int, float]:
        """The largest x0 estimate of each image that had one beyond `FAR`."""
        self._settle()
        return self._far

    def walks(self, start: int, stop: int) -> None:
        """Hear that the points of the grid from one to another are walked.

        Raises:
            AllLost: no image is left to be walked.
        """
        self._start = start if self._start is None else self._start
        self._stop = max(self._stop, stop)
        self._check_left()

    def encoded(self, latents: Tensor) -> None:
        """Hear of an encoder's latents, of each image or of one for all."""
        [sizes] = _sizes([latents])
        if len(sizes) == 1:
            sizes = sizes * self.images
        if len(sizes) == self.images:
            self._note(sizes, Fault(ENCODER))

    def evaluated(self, x: Tensor, outputs: Mapping[str, Tensor], x0: Tensor, point: Point) -> None:
        """Hear of an evaluation of the denoiser in a walk.

        Args:
            outputs: the network's, by branch, each (images, ...).
            x0: what guidance made of them.
        Raises:
            AllLost: no image is left.
        """
        before, self._before = self._before, point
        self.evaluations += 1
        if _small(x0):
            return

        def look(sizes: Sequence[Sequence[float]]) -> None:
            self._look(sizes, list(outputs), point, before)

        self._hear([x, *outputs.values(), x0], look)

    def measured(self, sizes: Tensor, branches: Sequence[str], point: Point) -> None:
        """Hear of an evaluation by what was measured while it was made.

        Args:
            sizes: the largest absolute number of x, of each branch's answer, and of the estimate,
                for each image, (2 + branches, images). They are looked at when `faults` are asked
                for, so that nothing waits.
        """
        before, self._before = self._before, point
        self.evaluations += 1
        self._later.append(lambda: self._look(sizes.tolist(), branches, point, before))

    def surrounded(self, x0: Tensor, point: Point) -> None:
        """Hear of what wrappers and conditionings make of an x0 estimate."""
        if not _small(x0):
            self._hear([x0], lambda s: self._note(s[0], Fault(AROUND, self._number(point))))

    def ended(self, x: Tensor) -> None:
        """Hear of where a scheduler ended a walk."""
        if not _small(x):
            stop = self.steps
            self._hear([x], lambda s: self._note(s[0], Fault(SCHEDULER, stop)))

    def finished(self, x: Tensor) -> None:
        """Hear of the final latents, (images, ...)."""
        if not _small(x):
            self._hear([x], lambda s: self._note(s[0], Fault(LAST)))

    def at(self, point: Point | None = None) -> str:
        """Where a walk is, in words.

        Args:
            point: of the evaluation under way; that of the last one where None.
        """
        point = point or self._before
        return f"at step {1 if point is None else self._number(point)} of {self.steps}"

    def _hear(self, values: Sequence[Tensor], look: Callable[..., None]) -> None:
        amounts = [_amounts(value) for value in values]
        if _at_once(amounts[0]):
            self._settle()
            look([a.tolist() for a in amounts])
            self._check_left()
        else:
            self._later.append(lambda: look([a.tolist() for a in amounts]))

    def _look(
        self,
        sizes: Sequence[Sequence[float]],
        branches: Sequence[str],
        point: Point,
        before: Point | None,
    ) -> None:
        """Find what made an evaluation's x0 what it is: x, an answer, or what combines them."""
        x, *answers, x0 = sizes
        conditions: Mapping[int, str] | None = None
        for image in range(self.images):
            if math.isfinite(x0[image]):
                if x0[image] > FAR:
                    self._far[image] = max(self._far.get(image, 0.0), x0[image])
                continue
            if image in self._faults:
                continue
            wrong = [b for b, a in zip(branches, answers, strict=True) if not _finite(a, image)]
            if not _finite(x, image):
                ended = None if before is None else Fault(SCHEDULER, self._number(before))
                fault = ended or Fault(START)
            elif wrong:
                conditions = self.conditions() if conditions is None else conditions
                answer = Fault(f"{NETWORK} ({wrong[0]})", self._number(point))
                fault = Fault(conditions[image]) if image in conditions else answer
            else:
                what = GUIDANCE if len(branches) > 1 else ESTIMATE
                fault = Fault(what, self._number(point))
            self._faults[image] = fault

    def _note(self, sizes: Sequence[float], fault: Fault) -> None:
        for image in range(self.images):
            if not _finite(sizes, image):
                self._faults.setdefault(image, fault)

    def _number(self, point: Point) -> int:
        """Which step of the walk begins at a point, from 1."""
        return max(self.step(point) - (self._start or 0), 0) + 1

    def _settle(self) -> None:
        later, self._later = self._later, []
        for look in later:
            look()

    def _check_left(self) -> None:
        if len(self._faults) == self.images:
            raise AllLost


def _at_once(values: Tensor) -> bool:
    """Whether looking at numbers waits for nothing."""
    return values.is_cpu


def _small(values: Tensor) -> bool:
    """Whether numbers are seen, at little cost, to be finite and not far out."""
    if not values.is_cpu or values.numel() >= 2**31:  # more than the routine takes
        return False
    flat = values.reshape(-1)
    return flat.dot(flat).item() <= SQUARE_OF_FAR  # not where it is no number


def _amounts(values: Tensor) -> Tensor:
    """The largest absolute value of each entry, (batch,); not finite where one is not."""
    return values.detach().reshape(len(values), -1).abs().amax(1)


def _sizes(values: Sequence[Tensor]) -> list[list[float]]:
    return [_amounts(value).tolist() for value in values]


def _finite(sizes: Sequence[float], image: int) -> bool:
    return math.isfinite(sizes[image])
