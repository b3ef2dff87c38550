"""What the page works with."""

from __future__ import annotations

from dataclasses import dataclass

from ldm_core.plugins.registry import Registry
from ldm_pipelines.page.folders import Folders


@dataclass(frozen=True)
class Workplace:
    """What the page works with.

    Attributes:
        registry: the plugins to choose from.
    """

    folders: Folders
    registry: Registry
