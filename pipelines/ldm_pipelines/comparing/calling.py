"""``compare``, from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ldm_core.jobs.events import Event
from ldm_pipelines.comparing.axes import Names, axis, checked_axes
from ldm_pipelines.comparing.comparison import Comparison, Measure, comparison_of
from ldm_pipelines.comparing.opening import open_job, plan_of

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline


def compare(
    pipe: Pipeline,
    prompt: str | Sequence[str] | None = None,
    *,
    over: Mapping[str, Sequence[Any]],
    seed: int = 0,
    num_images: int = 1,
    batch_size: int = 8,
    out: str | Path | None = None,
    measures: Sequence[Measure] = (),
    hear: Callable[[Event], None] | None = None,
    **inputs: Any,
) -> Comparison:
    """Make the pictures of each choice of values, on the weights of a pipeline.

    Example::

        compared = compare(pipe, "a red circle", over={"scheduler": ["euler", "ddim"],
                                                       "guidance.scale": [2, 4]})
        compared.table(), compared.sheets()[0], compared.page()

    Args:
        prompt: one, or several, each of which every cell draws.
        over: axes by their names, each with its values: keys of a recipe, options of hook points
            as ``guidance.scale``, inputs of the model, ``seed``, ``width``. The last one goes round
            first.
        seed: of the first picture of each cell, the next ones counting up.
        num_images: of each prompt.
        batch_size: pictures of a cell that are made at once.
        out: a folder, which is then a job's that can be stopped and gone on with; one that goes
            with the comparison where None.
        measures: what gives further columns of the table.
        hear: is told of each picture.
        inputs: of the model, alike in all cells.
    Returns:
        The cells; of those that cannot be made it says why.
    Raises:
        LdmError: there is no such key or input, nothing can be made, or the folder holds another
            job. Nothing is made then.
    """
    composition = pipe.composition
    names = Names.of([composition])
    axes = checked_axes([axis(name, values, names) for name, values in over.items()])
    prompts = [prompt] if prompt is None or isinstance(prompt, str) else list(prompt)
    plan = plan_of(axes, prompts, inputs, num_images, seed)
    room = TemporaryDirectory(prefix="ldm-compare-") if out is None else None
    job = open_job(
        plan, composition, composition.chosen, inputs, Path(room.name if room else str(out)),
        batch_size=batch_size, pipe=pipe,
    )  # fmt: skip
    for event in job.run():
        if hear is not None:
            hear(event)
    compared = comparison_of(job, plan, room)
    for measure in measures:
        compared = compared.with_columns(measure)
    return compared
