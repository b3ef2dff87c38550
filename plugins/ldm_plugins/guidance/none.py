"""No guidance."""

from __future__ import annotations

from ldm_core.contracts import Guidance
from ldm_core.errors import LdmError


def none(*, scale: float = 1.0) -> Guidance:
    """The network's answer to the prompt as it is: one branch, no negative prompt.

    Args:
        scale: nothing but 1, or 0 as the cards of distilled models say: there is no strength.
    """
    if scale not in (0, 1):
        raise LdmError(
            f"the guidance 'none' has no strength, and its scale cannot be {scale:g}.",
            "to guide, choose classifier_free; `ldm plugins list --kind guidance` shows others.",
        )
    return Guidance()
