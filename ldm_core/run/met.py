"""Errors that are met in a walk: whose they are, and where they came from."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ldm_core.contracts import Step
from ldm_core.errors import LdmError, LdmWarning, PluginError, plainly
from ldm_core.numerics.point import Point
from ldm_core.plugins.aftermath import whose_change
from ldm_core.plugins.looked_at import is_a
from ldm_core.plugins.owners import Owners
from ldm_core.run.checksum import state
from ldm_core.values import brief

Tell = Callable[[Step], None]
CHANGE = (
    "x is changed between two steps of a run in your hands: `x = change(run.walk(x, start=i, "
    "stop=i + 1))`, as docs/how-to/compose-in-python.md shows."
)


class Met:
    """What came out of the calls of parts while a walk went on, the innermost first.

    Args:
        owners: whose each part is.
    """

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._heard: list[tuple[BaseException, str | None]] = []

    def hear(self, raised: BaseException, part: Any) -> None:
        """Hear of an error that came out of a part's call, and is raised again by who heard it; but
        one of which nobody may ask what it is, in whose place another is raised here."""
        error = plainly(raised)
        whose = self._owners.whose(error, part)
        if whose is not None and not any(own is error for own, _ in self._heard):
            self._heard.append((error, whose))
        if error is not raised:
            raise error from None

    def callers(self, on_step: Tell) -> Tell:
        """A caller's own function, whose errors are the caller's, whoever's code is around it. It
        watches: one that writes into x, or hands something back, is refused or told so."""
        asked: Callable[[Step], Any] = on_step
        warned = False

        def told(step: Step) -> None:
            nonlocal warned
            try:
                before = state(step.x), state(step.x0)
                answer = asked(step)
                if is_a(answer, Tensor) or is_a(answer, Mapping):
                    raise LdmError(f"on_step watches, and it gave back {brief(answer)}.", CHANGE)
                if (state(step.x), state(step.x0)) != before:
                    raise LdmError("on_step watches, and it wrote into what it was shown.", CHANGE)
            except BaseException as error:
                self._heard.append((error, None))
                raise
            if answer is not None and not warned:
                warned = True
                message = f"on_step watches, and what it gave back is passed over: {brief(answer)}"
                warnings.warn(message, LdmWarning, stacklevel=2)

        return told

    def told(self, error: BaseException, where: str) -> LdmError | None:
        """What to raise in an error's place; None for the error itself. No error is kept.

        Args:
            where: in the walk.
        """
        heard, self._heard = self._heard, []
        whose_limit = whose_change(error) if isinstance(error, RecursionError) else None
        if whose_limit is not None:  # whoever was called as it was reached
            return PluginError(whose_limit, where, error)
        for own, whose in heard:
            if own is error:
                return None if whose is None else PluginError(whose, where, error)
        return self._owners.told(error, where, names=True)


def point_of(error: BaseException) -> Point | None:
    """The point at which an error came from the denoiser, by the core's own frames on the way;
    None where it came from outside of it."""
    point: Point | None = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).startswith("ldm_core.run."):
            own = frame.f_locals.get("point")
            point = own if isinstance(own, Point) else point
    return point
