"""Fixtures of the plugins' tests."""

from __future__ import annotations

from typing import Any

import pytest

import tiny
from ldm_core import Pipeline


@pytest.fixture(scope="module")
def pipes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Pipelines of the kinds of folder, each made once."""
    made: dict[str, Pipeline] = {}

    def pipe(kind: str) -> Pipeline:
        if kind not in made:
            folder = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}[kind].write(
                tmp_path_factory.mktemp("kind") / "model"
            )
            made[kind] = Pipeline.from_pretrained(folder, num_inference_steps=3)
        return made[kind]

    return pipe
