"""What a job begins with: its lines, checked, and the record of what its pictures are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.full_recipe import full_recipe
from ldm_core.composition.recipe import as_layer
from ldm_core.contracts.files import in_full as full_path
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.jobs.checking import Asked, Terms, bad_lines, check_lines
from ldm_core.jobs.columns import unknown
from ldm_core.jobs.compositions import Compositions
from ldm_core.jobs.lines import Lines, is_data_set, read_lines
from ldm_core.jobs.making import Making
from ldm_core.jobs.placing import without_places
from ldm_core.media.manifest import _plain
from ldm_core.plugins.elsewhere_words import said_of


@contextmanager
def room_for(prompts: str | Path | Lines) -> Iterator[Path | None]:
    """A folder for pictures in the rows of a data set, until all is checked."""
    if isinstance(prompts, Lines) or not is_data_set(Path(prompts)):
        yield None
        return
    with TemporaryDirectory(prefix="ldm-inputs-") as folder:
        yield Path(folder)


def lines_of(prompts: str | Path | Lines, extracted: Path, fresh: Path | None = None) -> Lines:
    """Lines as they are, or read as of `read_lines`."""
    return prompts if isinstance(prompts, Lines) else read_lines(Path(prompts), extracted, fresh)


def checked_lines(
    lines: Lines,
    compositions: Compositions,
    making: Making,
    terms: Terms,
    seed: int,
    skip_bad: bool,
) -> Asked:
    asked = check_lines(lines, compositions, making, terms, seed)
    reasons = {(bad.reason, bad.hint) for bad in asked.bad}
    theirs = any(bad.fault for bad in asked.bad)
    if len(asked.bad) > 1 and len(reasons) == 1 and not asked.batches and not theirs:
        ((reason, hint),) = reasons
        raise LdmError(f"{reason}; so it is with each line of '{lines.path.name}'.", hint)
    if asked.bad and not (skip_bad and asked.batches):
        if (fault := asked.bad[0].fault) and all(bad.fault for bad in asked.bad):
            fault.add_note(f"line {asked.bad[0].number} of '{lines.path.name}'; nothing is made")
            raise fault
        raise LdmError(
            bad_lines(asked.bad, lines.path.name),
            "nothing is made; --skip-bad leaves them out." if asked.batches else "",
        )
    return asked


def check_inputs(inputs: Mapping[str, Any], base: Composition, making: Making) -> None:
    """See that inputs for all lines are some."""
    declared = making.inputs(base)
    for name in inputs:
        if error := unknown(name, declared, base):
            meant = said_of(name, "argument", base.registry) or did_you_mean(name, declared)
            raise LdmError(f"'{name}' is no input of this model.{meant}", error.hint)


def of_pictures(base: Composition) -> Any:
    """Choices as the record has them, in full, without what only places: by full ids and with every
    option's value, so that a job does not go on with another plugin or other defaults."""
    converters = base.recipe.get("converters", [])
    chosen = without_places({**base.chosen, "converters": converters}, base.registry)
    return recorded(full_recipe(chosen, base.registry, base.defaults))


def in_full(record: Mapping[str, Any], base: Composition) -> dict[str, Any]:
    """A record of a job that is there as it is written now; one of an earlier release has the short
    names that a person typed, and no defaults."""
    try:
        recipe = full_recipe(as_layer(record.get("recipe") or {}), base.registry, base.defaults)
    except LdmError:  # of plugins that are not there: another job's
        return dict(record)
    return {**record, "recipe": recorded(recipe)}


def recorded(values: Mapping[str, Any]) -> Any:
    return _plain({k: full_path(v) if isinstance(v, Path) else v for k, v in values.items()})
