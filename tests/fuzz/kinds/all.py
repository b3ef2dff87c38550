"""Every kind by its name."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis.strategies import SearchStrategy

from fuzz.case import Case
from fuzz.kinds import (
    commands,
    configs,
    manifests,
    paths,
    pictures,
    python_values,
    recipes,
    settings,
    weights,
)

KINDS: dict[str, Callable[[], SearchStrategy[Case]]] = {
    "recipe": recipes.recipes,
    "set": settings.sets,
    "prompt": settings.prompts,
    "path": paths.paths,
    "manifest": manifests.manifests,
    "config": configs.configs,
    "weights": weights.models,
    "lora": weights.loras,
    "side": weights.sides,
    "picture": pictures.pictures,
    "command": commands.invocations,
    "table": commands.tables,
    "python": python_values.strategy,
}
