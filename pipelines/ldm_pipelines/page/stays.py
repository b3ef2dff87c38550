"""The components of the page that stay, whatever is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ldm_pipelines.page.results import Results


@dataclass(frozen=True)
class Stays:
    """The components that stay.

    Attributes:
        hooks, settings: by hook point, and by key of a recipe.
        held: the state with what a person filled in.
        chosen: the state with what the form is made for.
    """

    model: Any
    hooks: Mapping[str, Any]
    settings: Mapping[str, Any]
    held: Any
    chosen: Any
    results: Results
