"""Recipes: read from TOML, laid over one another, checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.recipe import as_layer, lay, override, read_recipe
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed

EXAMPLE = """
num_inference_steps = 6
scheduler = "ddim"
guidance = { name = "classifier_free", scale = 3.0 }
denoisers = [{ name = "clip_x0", limit = 4.0 }]
[spacing]
name = "karras"
rho = 5.0
"""


def test_a_recipe_file_is_what_the_same_choices_are_in_python(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(f'model = "{folder}"\n{EXAMPLE}')
    from_file = Pipeline.from_pretrained(recipe=file)
    by_hand = Pipeline.from_pretrained(
        folder,
        num_inference_steps=6,
        scheduler="ddim",
        guidance={"name": "classifier_free", "scale": 3.0},
        denoisers=[{"name": "clip_x0", "limit": 4.0}],
        spacing={"name": "karras", "rho": 5.0},
    )
    assert from_file.recipe == by_hand.recipe
    first, second = (
        p("a red star", seed=1, output_type="latent").images for p in (from_file, by_hand)
    )
    assert first.equal(second)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_recipe_may_begin_with_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(mark + b'scheduler = "ddim"\r\n')
    assert read_recipe(path) == {"scheduler": {"name": "ddim"}}


def test_a_recipe_in_another_encoding_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes('scheduler = "ddim"'.encode("utf-16"))
    with pytest.raises(LdmError, match=r"r\.toml is not UTF-8 text"):
        read_recipe(path)


def test_layers() -> None:
    below = as_layer({"scheduler": {"name": "ddim", "eta": 1.0}, "width": 64})
    assert lay(below, as_layer({"scheduler": "euler"}))["scheduler"] == {"name": "euler"}
    assert lay(below, as_layer({"scheduler": {"eta": 0.5}}))["scheduler"]["name"] == "ddim"
    assert lay(below, as_layer({"scheduler": "ddim"}))["scheduler"]["eta"] == 1.0
    assert lay(below, as_layer({"scheduler": None})) == below


@pytest.mark.parametrize(
    ("setting", "layer"),
    [
        ("scheduler.eta=0.5", {"scheduler": {"eta": 0.5}}),
        ("spacing.final=sigma_min", {"spacing": {"final": "sigma_min"}}),
        ("scheduler=euler", {"scheduler": {"name": "euler"}}),
    ],
)
def test_overrides(setting: str, layer: dict[str, Any]) -> None:
    assert override(setting) == layer


@pytest.mark.parametrize("setting", ["eta", "=3", "samplr.eta=1", "observers.x=1"])
def test_bad_overrides_are_refused(setting: str) -> None:
    with pytest.raises(LdmError):
        override(setting)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shceduler = 'ddim'", "Did you mean 'scheduler'"),
        ("scheduler = ", "not valid TOML"),
        ("scheduler = 3", "plugin's name"),
        ("width = 'wide'", "should be int"),
        ("width = 0", "'width' cannot be 0: input should be at least 1"),
        ("memory = 'much'", "'memory' cannot be 'much': it looks like 8GiB, 6000MiB or auto"),
        ("denoisers = [{ limit = 1.0 }]", "needs a name"),
    ],
)
def test_a_bad_recipe_is_one_clear_message(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(text)
    with pytest.raises(LdmError, match=message) as caught:
        read_recipe(file)
    assert "r.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"scheduler": "dimm"}, "Did you mean 'ddim'"),
        ({"scheduler": {"name": "ddim", "eat": 1}}, "Did you mean 'eta'"),
        ({"guidance": {"name": "none", "scale": 2.0}}, "has no strength"),
        ({"dtype": "float12"}, "no dtype"),
        ({"device": "gpu"}, "no device"),
        ({"model": "shaps"}, "Did you mean 'shapes'"),
    ],
)
def test_bad_choices_are_found_without_weights(
    folder: Path, choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder), **choices}, installed())


def test_the_models_own_recipe_lies_under_the_persons(copied: Path) -> None:
    (copied / "ldm.toml").write_text(
        'num_inference_steps = 9\n[guidance]\nname = "classifier_free"\nscale = 2.5\n'
    )
    recipe = compose({"model": str(copied)}, installed()).recipe
    assert (recipe["num_inference_steps"], recipe["guidance"]["scale"]) == (9, 2.5)
    over = compose({"model": str(copied), "guidance": "none"}, installed()).recipe
    assert over["guidance"] == {"name": "none"}
