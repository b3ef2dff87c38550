"""``ldm class-to-image``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.run.in_batches import skipping

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline


@skipping
def class_to_image(pipe: Pipeline, *classes: str | int, **call: Any) -> Iterator[Output]:
    """Make pictures of classes.

    Args:
        classes: What to draw: numbers of classes, or names that the model has for them.
    """
    if not classes:
        if "class_label" not in call:
            raise LdmError("no class is given; say what to draw by its number or name.")
        return pipe.batches(**call)
    if "class_label" in call:
        raise LdmError("'class_label' is given twice, by its name and by its place.")
    labels = [as_label(label) for label in classes]
    return pipe.batches(class_label=labels[0] if len(labels) == 1 else labels, **call)


def as_label(label: str | int) -> str | int:
    """A class as the conditioning takes it: digits are its number."""
    digits = isinstance(label, str) and label.isdecimal() and len(label) < 20
    return int(label) if digits else label
