"""Without a condition a model draws of noise alone, or is refused before its weights are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from tiny.ddpm import write_ddpm
from tiny.folders import FOLDERS

FREE = {"LDM", "DDPM"}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_network_that_cannot_be_called_without_a_condition_needs_one(
    kind: str, tmp_path: Path
) -> None:
    folder = FOLDERS[kind].write(tmp_path / "model")
    choices = {"model": str(folder), "conditioning": []}
    if kind in FREE:
        assert not compose(choices, installed()).conditioning
    else:
        with pytest.raises(LdmError, match="must be conditioned by '"):
            compose(choices, installed())


def test_so_does_one_on_pixels_that_was_trained_with_classes(tmp_path: Path) -> None:
    folder = write_ddpm(tmp_path / "model", num_class_embeds=3)
    with pytest.raises(LdmError, match="must be conditioned by 'class_label'"):
        compose({"model": str(folder), "conditioning": []}, installed())
