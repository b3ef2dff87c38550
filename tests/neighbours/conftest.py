"""A folder of packages beside the others, whose modules are named ``wrong_…``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ldm_core.plugins import discovery


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    before = set(sys.modules)
    discovery.once.cache_clear()
    yield place
    for name in [n for n in sys.modules if n.startswith("wrong_") and n not in before]:
        del sys.modules[name]
    discovery.once.cache_clear()
