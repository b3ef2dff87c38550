"""No guidance."""

from __future__ import annotations

from ldm_core.contracts import Guidance


def none() -> Guidance:
    """The network's answer to the prompt as it is: one branch, no negative prompt."""
    return Guidance()
