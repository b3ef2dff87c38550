"""Fixtures of the plugins' tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import tiny
from ldm_core import Pipeline


@pytest.fixture(scope="module")
def small_references() -> Iterator[None]:
    """Qwen-Image-Edit sees pictures of 128x128 pixels where it makes a million of each: products of
    many things with all families show the same in a thirtieth of the time. Its own tests, and those
    that compare it with Diffusers, keep the real size."""
    from ldm_plugins.families import qwen_image_edit

    area = 128 * 128
    small = {name: kind._replace(area=area) for name, kind in qwen_image_edit.KINDS.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qwen_image_edit, "AREA", area)
        patch.setattr(qwen_image_edit, "KINDS", small)
        yield


@pytest.fixture(scope="module")
def pipes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Pipelines of the kinds of folder, each made once."""
    made: dict[str, Pipeline] = {}

    def pipe(kind: str) -> Pipeline:
        if kind not in made:
            folder = {**tiny.FOLDERS, **tiny.MORE_FOLDERS, **tiny.OTHER_FOLDERS}[kind].write(
                tmp_path_factory.mktemp("kind") / "model"
            )
            made[kind] = Pipeline.from_pretrained(folder, num_inference_steps=3)
        return made[kind]

    return pipe
