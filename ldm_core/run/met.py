"""Errors that are met in a walk: whose they are, and where they came from."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from ldm_core.contracts import Step
from ldm_core.errors import LdmError, PluginError, plainly
from ldm_core.numerics.point import Point
from ldm_core.plugins.aftermath import whose_change
from ldm_core.plugins.owners import Owners

Tell = Callable[[Step], None]


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
        """A caller's own function, whose errors are the caller's, whoever's code is around it."""

        def told(step: Step) -> None:
            try:
                on_step(step)
            except BaseException as error:
                self._heard.append((error, None))
                raise

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
