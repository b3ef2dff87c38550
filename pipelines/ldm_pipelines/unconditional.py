"""``ldm unconditional``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Output, Pipeline


def unconditional(pipe: Pipeline, **run: Any) -> Output:
    """Make pictures with a model that is told nothing of them."""
    needed = [name for name, default in pipe.composition.inputs.items() if default is ...]
    missing = [name for name in needed if name not in run]
    if missing:
        raise LdmError(
            f"the model '{pipe.composition.info.source}' is not unconditional: it needs "
            f"'{missing[0]}'."
        )
    return pipe(**run)
