"""What a model's autoencoder makes of pictures, measured against them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ldm_core.arguments import checks_arguments
from ldm_core.composition.compose import compose
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError, NotFiniteError
from ldm_core.plugins.registry import Registry, installed
from ldm_pipelines.counting import BAR, counted
from ldm_pipelines.evaluating.choices import chosen
from ldm_pipelines.evaluating.evaluate import Rows, add_rows, figure_of, say_notes
from ldm_pipelines.evaluating.pictures import Entry, batches, entries_in, pixels
from ldm_pipelines.evaluating.table import Table
from ldm_pipelines.parts import check_fits


@checks_arguments
def reconstruct(
    pictures: str | Path,
    *,
    model: str | Path,
    metrics: Any,
    batch_size: Annotated[int, Field(ge=1)] = 16,
    device: str = "auto",
    resamples: Annotated[int, Field(ge=0, le=100_000)] | None = None,
    skip_bad: bool = False,
    progress: bool = False,
    registry: Registry | None = None,
) -> Table:
    """Encode and decode pictures by a model's autoencoder, and measure what comes of each against
    the picture itself. An encoder that draws from a posterior draws with the seed 0.

    Args:
        pictures: a folder, or a picture.
        model: name of an installed model, folder, or Hub id.
        metrics, batch_size, device, resamples, skip_bad, progress, registry: as of `evaluate`.
    Raises:
        LdmError: whatever can be seen to be wrong, before any weight is read; a picture's size does
            not fit the model.
    """
    from ldm_core.run.pipeline import Pipeline

    several = [*metrics] if isinstance(metrics, list | tuple) else [metrics]
    registry = registry or installed()
    measured = chosen(several, registry)
    for one in measured:
        if one.metric.against not in ("pairs", "sets"):
            raise LdmError(
                f"{one.name} does not compare a reconstruction with its picture.",
                "psnr, ssim, lpips, fid and kid do.",
            )
    seen = {"observers": [f"ldm-core:{BAR}"]} if progress else {}
    composition = compose({"model": str(model), "device": device, **seen}, registry)
    info = composition.info
    if {*info.latents.names} != {"height", "width"}:
        raise LdmError(f"pictures are reconstructed, and '{model}' is no model of pictures.")
    entries = entries_in(Path(pictures), skip_bad)
    pipe = Pipeline.from_composition(composition)
    for entry in entries:
        check_fits(pipe, entry.size, f"picture '{entry.path}'")
    rows = {one.name: Rows() for one in measured}
    for batch in _advancing(entries, batch_size, progress):
        images = pixels(batch, "cpu")
        given = images.mean(1, keepdim=True) if info.image_channels == 1 else images
        try:
            latents = pipe.encode(given, seed=[0] * len(batch))
        except NotFiniteError as error:
            raise LdmError(error.message, error.hint) from error
        made = (pipe.decode(latents).float() / 2 + 0.5).clamp(0, 1)
        both = (made.expand_as(images), given.expand_as(images).to(made.device))
        for one in measured:
            if one.metric.against == "pairs":
                add_rows(one, batch, rows[one.name], *both)
            else:
                add_rows(one, batch, rows[one.name], both[0])
                add_rows(one, batch, rows[one.name], both[1], reference=True)
    figures = tuple(figure_of(one, rows[one.name], resamples) for one in measured)
    say_notes(figures)
    return Table(figures, str(expanded(pictures)), f"their reconstruction by {model}", "name")


def _advancing(entries: Sequence[Entry], size: int, shown: bool) -> Iterator[list[Entry]]:
    """The batches, one after the other, with a bar where it is wanted."""
    with counted(len(entries), "reconstructed", shown) as advance:
        for batch in batches(entries, size):
            yield batch
            advance(len(batch))
