"""Features that are fitted here: the same each time, named as such, and they tell sets apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ldm_core.errors import LdmError, LdmWarning
from ldm_pipelines import evaluate
from ldm_plugins.metrics.shared import fitted


def draw(folder: Path, seed: int, left: bool) -> None:
    """Bright squares on dark, of any colour, anywhere or in the left half alone."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(24):
        picture = np.full((32, 32, 3), 30, np.uint8)
        x, y = int(rng.integers(0, 8 if left else 24)), int(rng.integers(0, 24))
        picture[y : y + 8, x : x + 8] = rng.integers(100, 255, 3)
        Image.fromarray(picture).save(folder / f"{number}.png")


def test_it_tells_sets_apart_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitted, "STEPS", 60)
    for name, seed, left in (("ref", 0, False), ("alike", 1, False), ("left", 2, True)):
        draw(tmp_path / name, seed, left)
    before = torch.get_rng_state()
    figures = {}
    for name in ("ref", "alike", "left"):
        with pytest.warns(LdmWarning, match="never with such of Inception"):
            table = evaluate(
                tmp_path / name,
                against=tmp_path / "ref",
                metrics=["fid:features=fitted", "kid:features=fitted"],
            )
        assert {one.metric for one in table} == {f"{m}[{fitted.LABEL}]" for m in ("fid", "kid")}
        assert "192 features" in table["fid"].notes[0]
        assert table["fid"].low is None  # nobody waits for a hundred fits
        figures[name] = [one.value for one in table]
    assert torch.equal(torch.get_rng_state(), before)
    assert abs(figures["ref"][0]) < 1e-6
    assert all(a < b for a, b in zip(figures["alike"], figures["left"], strict=True))
    with pytest.warns(LdmWarning, match="fitted here"):
        again = evaluate(tmp_path / "left", against=tmp_path / "ref", metrics="fid:features=fitted")
    assert again["fid"].value == figures["left"][0]


def test_its_name_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="Did you mean 'fitted'"):
        evaluate(tmp_path, against=tmp_path, metrics="fid:features=fited")
