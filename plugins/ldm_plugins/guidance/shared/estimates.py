"""Whether what a guidance answers may be taken for an estimate of x0."""

from __future__ import annotations

from ldm_core.contracts import Guidance


class Estimating(Guidance):
    """A guidance that says whether its answers stand for estimates of x0."""

    @property
    def estimates_x0(self) -> bool:
        """False where some of them only make a scheduler's step end where it should, so that
        changing them as one would change an estimate, such as by clipping, makes no sense."""
        return True


def estimates_x0(guidance: Guidance) -> bool:
    """Whether a guidance's answers stand for estimates of x0; those that say nothing do."""
    return guidance.estimates_x0 if isinstance(guidance, Estimating) else True
