"""``--like``: a run that begins from how a picture was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ldm_core.cli.asking import allow
from ldm_core.cli.choices import DEFAULT_MODEL
from ldm_core.cli.ends import say
from ldm_core.cli.show import made, taken
from ldm_core.cli.taken_over import Taken
from ldm_core.composition.composition import Composition
from ldm_core.composition.reach import Reach
from ldm_core.composition.recipe import Layer
from ldm_core.composition.short_names import owned_model
from ldm_core.composition.spread import is_one_each
from ldm_core.contracts import ModelInfo
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.model.recognition import inspect_model
from ldm_core.plugins.registry import installed

OF_SAMPLING = (
    "scheduler", "spacing", "guidance", "num_inference_steps", "width", "height", "extent",
)  # fmt: skip
"""What of a recipe is taken over to another model."""


def read_like(image: Path, typed: Layer, allow_files: bool, allow_hub: bool) -> Taken:
    """What a picture gives to a run; what is not taken over is said.

    Args:
        typed: the choices of the command line, which take the place of the picture's.
    Raises:
        LdmError: the picture does not say how it was made, or asks for files or repositories that
            the person has not allowed; nothing of them is read before.
    """
    image = expanded(image)
    table, recorded = made(image)
    if recorded is not None and "conditioning" in typed:
        recorded = replace(recorded, clip_skip=None)  # an option of what the person says
    found = taken(table, recorded, None if recorded is None else _info(typed))
    notes, layer = list(found.notes), dict(found.layer)
    command = (table or {}).get("command")
    if isinstance(command, dict):
        notes.append(f"it was made by '{command.get('name')}', whose own part is not taken over")
    if "model" in typed and "model" in layer and typed["model"] != layer["model"]:
        left = sorted({*layer} - {*OF_SAMPLING, "model", "dtype", "compute_dtype"})
        notes.append(f"for another model its own are taken: {', '.join(left)}")
        layer = {key: value for key, value in layer.items() if key in OF_SAMPLING}
    if found.size:
        flat = {*found.size} == {"width", "height"}
        layer |= dict(found.size) if flat else {"extent": dict(found.size)}
    reach = Reach(installed())
    reach.recipe({key: value for key, value in layer.items() if key not in typed})
    reach.value(dict(found.inputs))
    allow(reach, image.parent, allow_files, allow_hub)
    for note in notes:
        say(f"note: {image}: {note}")
    return Taken(layer, found.inputs, found.seed, found.size, found.frame_rate)


def _info(typed: Layer) -> ModelInfo | None:
    """What is known of the model that is drawn with; None where it cannot be had, which composing
    says."""
    registry = installed()
    model = typed.get("model", owned_model(registry, DEFAULT_MODEL))
    try:
        return inspect_model(model, registry, typed.get("model_config"))[0]
    except LdmError:
        return None


def add_inputs(
    given: dict[str, Any],
    arguments: list[Any],
    names: Iterable[str],
    liked: Mapping[str, Any],
    composition: Composition,
) -> dict[str, Any]:
    """Inputs of a run, with the picture's for those that the person did not give.

    Args:
        arguments: of the command by place; a prompt is added where it takes prompts and has none.
        names: of the command's parameters.
    """
    parameters = list(names)
    declared, call = composition.inputs, dict(given)
    before = parameters.index("prompts") - 1 if "prompts" in parameters else len(arguments)
    for name, value in liked.items():
        one = [value] if is_one_each(value) else value
        if name in call:
            continue
        if name == "prompt" and "prompts" in parameters:
            arguments += [value] if len(arguments) <= before and isinstance(value, str) else []
        elif name in parameters or name not in declared:
            say(f"note: its {name.replace('_', ' ')} is not taken over: it is no input here")
        else:
            call[name] = one
    return call
