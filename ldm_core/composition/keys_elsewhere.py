"""What keys are here that other programs have, or a call and no recipe."""

from __future__ import annotations

from ldm_core.plugins.elsewhere_words import argument_said

OF_CALL = {
    "guidance_scale": " A recipe has it as guidance = { scale = 4.0 }.",
    "seed": " It is each picture's own, and a call says it.",
    "prompt": " It is each picture's own, and a call says it.",
    "negative_prompt": " It is each picture's own, and a call says it.",
}
"""What is said by a call, and looked for in recipes."""


def key_elsewhere(key: str) -> str:
    """What a key that is none is here; nothing where nobody knows it."""
    said = argument_said(key)
    scale = OF_CALL["guidance_scale"] if "guidance_scale" in said else ""
    return f"{said}{OF_CALL.get(key, scale)}"
