"""The text that A1111's page reads, of a picture of ours: what is true of it there.

A sampler or schedule has A1111's name where that means the same, and else ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ldm_core.composition.full_recipe import saved_default
from ldm_core.media.a1111_text import CLIP_SKIP, written_text
from ldm_core.plugins.elsewhere import tables_of
from ldm_core.plugins.registry import Registry, installed

PROGRAM = "a1111"
"""The key of its table of names."""


def parameters_of(manifest: Mapping[str, Any]) -> str | None:
    """The text; None for what is not drawn from one prompt, or by a chain of pipelines."""
    inputs, recipe = manifest.get("inputs"), manifest.get("recipe")
    prompt = inputs.get("prompt") if isinstance(inputs, Mapping) else None
    if not (
        isinstance(inputs, Mapping) and isinstance(recipe, Mapping) and isinstance(prompt, str)
    ):
        return None
    negative = inputs.get("negative_prompt")
    guidance = recipe.get("guidance")
    scale = guidance.get("scale") if isinstance(guidance, Mapping) else None
    versions = manifest.get("versions")
    versions = versions if isinstance(versions, Mapping) else {}
    settings = {
        "Steps": manifest.get("num_inference_steps"),
        "Sampler": _named("scheduler", recipe),
        "Schedule type": _named("spacing", recipe),
        "CFG scale": f"{scale:g}" if isinstance(scale, int | float) else None,
        "Seed": manifest.get("seed"),
        "Size": f"{manifest['width']}x{manifest['height']}"
        if {"width", "height"} <= {*manifest}
        else None,
        "Model": recipe.get("model"),
        CLIP_SKIP: _clip_skip(recipe, inputs),
        "Version": f"ldm {versions.get('ldm-core', '')}".strip(),
    }
    return written_text(prompt, negative if isinstance(negative, str) else None, settings)


def _clip_skip(recipe: Mapping[str, Any], inputs: Mapping[str, Any]) -> int | None:
    """The layer at which the CLIP text encoder is read, counted from its end, where it is not the
    last: A1111 has one number for both prompts, and heeds it for models of one text encoder."""
    choices = recipe.get("conditioning")
    for choice in choices if isinstance(choices, list) and "prompt_2" not in inputs else ():
        own = choice if isinstance(choice, Mapping) else {}
        skip = own.get("clip_skip")
        ours = own.get("name") in ("text", "ldm-core:text")
        if ours and isinstance(skip, int) and skip > 0 and own.get("negative_clip_skip") == skip:
            return skip + 1
    return None


def _named(kind: str, recipe: Mapping[str, Any]) -> str | None:
    choice = recipe.get(kind)
    if not isinstance(choice, Mapping) or not isinstance(choice.get("name"), str):
        return None
    return _name(kind, json.dumps(choice, sort_keys=True, default=str))


@lru_cache(maxsize=64)
def _name(kind: str, written: str) -> str:
    choice, registry = json.loads(written), installed()
    label = str(choice["name"]).removeprefix("ldm-core:")
    for table in tables_of(registry)[0]:
        for name in table.names if table.key == PROGRAM else ():
            alone = name.kind == kind and not (name.missing or name.fork) and [*name.use] == [kind]
            if alone and _same(name.use[kind], {**choice, "name": label}, kind, registry):
                return name.name
    return label


def _same(there: Mapping[str, Any], here: Mapping[str, Any], kind: str, registry: Registry) -> bool:
    """Whether a choice is that of a name: all its options are what the name says, or else what the
    plugin takes where nothing is said."""
    plugins = registry.named(str(there["name"]), kind)
    if there["name"] != here["name"] or len(plugins) != 1:
        return False
    defaults = {name: saved_default(option) for name, option in plugins[0].options.items()}
    return {**defaults, **there} == {**defaults, **here}
