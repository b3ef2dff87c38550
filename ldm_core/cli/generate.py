"""``ldm generate``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.cli.inputs import check_inputs
from ldm_core.run.in_batches import skipping

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


@skipping
def generate(pipe: Pipeline, *prompts: str, **call: Any) -> Iterator[Output]:
    """Make pictures, each with its manifest inside.

    What else the model reads is given by flags of its own, such as --strength 0.5; `ldm explain`
    shows them.

    Args:
        prompts: What to draw, where the model takes a prompt.
    """
    if prompts:
        call = {"prompt": list(prompts), **call}
    check_inputs(pipe.composition, call)
    return pipe.batches(**call)
