"""What a process that checks plugins is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """What a worker is to do.

    Attributes:
        target: a distribution or a plugin's name, see `checks_of`.
        model: a model folder.
        begin: the first check to make, by its place.
        limit: seconds that listing may take.
        certificate, certifying: see `Evidence`.
        package_alone: no checks of the plugins.
        files: of plugins that a person names.
    """

    target: str
    model: str | None = None
    begin: int = 0
    limit: float = 60.0
    certificate: str | None = None
    certifying: bool = False
    package_alone: bool = False
    files: Sequence[str] = ()
