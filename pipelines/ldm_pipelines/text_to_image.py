"""``ldm text-to-image``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_pipelines.parts import told

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Output, Pipeline


def text_to_image(pipe: Pipeline, *prompts: str, **run: Any) -> Output:
    """Make pictures of prompts.

    Args:
        prompts: What to draw.
    """
    if not prompts:
        raise LdmError("no prompt is given; say what to draw.", 'as in "a red circle"')
    return pipe(**run, **told(prompts))
