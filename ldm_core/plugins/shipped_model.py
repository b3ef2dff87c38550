"""A model folder that comes with an installed package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ShippedModel:
    """A model folder that comes with an installed package."""

    name: str
    folder: Path
    made_for: str
    distribution: str
    version: str
    entry: str | None = None

    @property
    def id(self) -> str:
        return f"{self.distribution}:{self.name}"
