"""What is taken over from a picture, and what cannot be: its recipe, inputs, seed and size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ldm_core.cli.clip_skip import clip_skip_taken
from ldm_core.cli.prompt_syntax import syntax_notes
from ldm_core.composition.recipe import Layer
from ldm_core.contracts import ModelInfo
from ldm_core.errors import LdmError
from ldm_core.media.manifest import recipe_of
from ldm_core.media.manifest_record import Manifest
from ldm_core.media.recorded import Recorded
from ldm_core.model.hub import at_commit
from ldm_core.plugins.elsewhere import NameElsewhere, joined, looked_up, tables_of
from ldm_core.plugins.elsewhere_words import in_words
from ldm_core.plugins.registry import Registry

EXTRA = re.compile(r"<(?:lora|lyco|hypernet):[^<>\n]{1,300}>")
"""What A1111's page takes out of a prompt before it is read."""
SILENT = {"Version"}
"""What is said of a picture that has no part in it."""


@dataclass(frozen=True)
class Taken:
    """What makes a picture like another.

    Attributes:
        inputs: of one picture.
        size: along each axis.
        notes: what is not taken over, or means something else here, a line each.
    """

    layer: Layer
    inputs: Mapping[str, Any]
    seed: int | None = None
    size: Mapping[str, int] = field(default_factory=dict)
    frame_rate: float | None = None
    notes: tuple[str, ...] = ()


def taken_of_manifest(table: Mapping[str, Any], registry: Registry) -> Taken:
    """What a manifest of ours says.

    Raises:
        LdmError: it is damaged, or a part or input was made in Python.
    """
    manifest = Manifest.of(table)
    layer = recipe_of(manifest, registry)
    if manifest.model_revision and "model" in layer:
        layer["model"] = at_commit(layer["model"], manifest.model_revision)
    if manifest.command is None or "num_inference_steps" in manifest.command.options:
        layer["num_inference_steps"] = manifest.num_inference_steps  # a call may have said others
    notes = []
    if manifest.decoded_in_tiles is not None:
        notes.append("it was decoded in tiles, which is not taken over")
    inputs = {name: value for name, value in manifest.inputs.items() if value is not None}
    size = manifest.size
    return Taken(layer, inputs, manifest.seed, size, manifest.frame_rate, tuple(notes))


def taken_of_recorded(
    recorded: Recorded, registry: Registry, info: ModelInfo | None = None
) -> Taken:
    """What another program says, in our words.

    Args:
        info: of the model that is drawn with; None where nobody has said which.
    Raises:
        LdmError: it says nothing that can be read.
    """
    if recorded.unread:
        raise LdmError(f"the picture was made by {recorded.program}: {recorded.unread}")
    layer, notes, differs = _choices(recorded, registry)
    if recorded.scale is not None:
        layer["guidance"] = {**layer.get("guidance", {}), "scale": recorded.scale}
        if layer["guidance"].get("name") == "cfg_pp" and not 0 < recorded.scale <= 1:
            del layer["guidance"]["scale"]
            notes.append(f"its scale {recorded.scale:g}, as cfg_pp's lies between 0 and 1")
    if recorded.steps is not None:
        layer["num_inference_steps"] = recorded.steps
    skipping, left, differing = clip_skip_taken(recorded, registry, info)
    layer |= skipping
    notes += [left] * bool(left)
    differs += [differing] * bool(differing)
    inputs: dict[str, Any] = {}
    for name, text in (
        ("prompt", recorded.prompt),
        ("negative_prompt", recorded.negative_prompt),
    ):
        if text:
            inputs[name] = EXTRA.sub("", text).strip()
            place = f"in its {name.replace('_', ' ')}"
            notes += [f"{one} {place}" for one in EXTRA.findall(text)]
            notes += [f"{place}, {one}" for one in syntax_notes(inputs[name], recorded.program)]
    if recorded.model is not None:
        notes.append(f"its model '{recorded.model}', which --model says")
    notes += [f"{name}: {value}" for name, value in recorded.more.items() if name not in SILENT]
    notes = [f"not taken over: {note}" for note in notes] + differs
    if recorded.seed is not None:
        notes.append(
            f"its seed {recorded.seed} draws other noise here than in {recorded.program}, so that "
            "the picture is another"
        )
    sides = {"width": recorded.width, "height": recorded.height}
    size = {} if None in sides.values() else {k: v for k, v in sides.items() if v is not None}
    return Taken(layer, inputs, recorded.seed, size, None, tuple(notes))


def _choices(recorded: Recorded, registry: Registry) -> tuple[Layer, list[str], list[str]]:
    """Scheduler and spacing; what of them is not here; and what differs of what is."""
    sampler = _named(recorded.sampler, "scheduler", recorded, registry)
    schedule = _named(recorded.schedule, "spacing", recorded, registry)
    notes = [
        f"its {word} '{name}', which is unknown here"
        for word, name, hit in (
            ("sampler", recorded.sampler, sampler),
            ("schedule", recorded.schedule, schedule),
        )
        if name is not None and hit is None
    ]
    hit = joined(sampler, schedule) if sampler and schedule else sampler or schedule
    if hit is None:
        return {}, notes, []
    if hit.missing:
        notes.append(f"all of its sampler '{hit.name}': {in_words(hit)}")
    layer = {kind: dict(choice) for kind, choice in hit.use.items()}
    if sampler and sampler.automatic and "spacing" not in layer and not recorded.schedule:
        layer["spacing"] = {"name": sampler.automatic}
    return layer, notes, [f"of its sampler '{hit.name}': {hit.note}"] if hit.note else []


def _named(
    name: str | None, kind: str, recorded: Recorded, registry: Registry
) -> NameElsewhere | None:
    if name is None:
        return None
    tables = [table for table in tables_of(registry)[0] if table.title == recorded.program]
    return next(iter(looked_up(name, tables, kind)), None)
