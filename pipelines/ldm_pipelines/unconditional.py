"""``ldm unconditional``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.run.in_batches import skipping

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


@skipping
def unconditional(pipe: Pipeline, **call: Any) -> Iterator[Output]:
    """Make pictures with a model that takes no condition."""
    needed = [name for name, one in pipe.composition.inputs.items() if one.required]
    missing = [name for name in needed if name not in call]
    if missing:
        raise LdmError(
            f"the model '{pipe.composition.info.source}' is not unconditional: it needs "
            f"'{missing[0]}'."
        )
    return pipe.batches(**call)
