"""``ldm generate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldm_core.cli.inputs import check_inputs, spread

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Output, Pipeline


def generate(pipe: Pipeline, *prompts: str, **run: Any) -> Output:
    """Make pictures, each with its manifest inside.

    Args:
        prompts: What to draw, where the model takes a prompt.
    """
    known = {"seed", "num_images_per_prompt", "batch_size", "on_batch", "width", "height"}
    inputs = {name: value for name, value in run.items() if name not in known}
    given = {"prompt": list(prompts), **inputs} if prompts else inputs
    check_inputs(pipe.composition, given)
    spread(given, 1)
    return pipe(**given, **{name: run[name] for name in run if name in known})
