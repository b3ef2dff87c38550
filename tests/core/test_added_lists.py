"""Lists of a recipe add to those below where they say "...", in every layer and for every list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.recipe import as_layer, lay, override
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed

CASES = [
    (["a", "b"], ["...", "c"], ["a", "b", "c"]),
    (["a", "b"], ["c", "..."], ["c", "a", "b"]),
    (["a"], ["c", "...", "d"], ["c", "a", "d"]),
    (["a"], ["c"], ["c"]),
    (["a"], [], []),
    ([], ["...", "c"], ["c"]),
    (["a"], "...", ["a"]),
]


@pytest.mark.parametrize("key", ["conditioning", "denoisers", "observers", "converters", "loras"])
@pytest.mark.parametrize(("below", "over", "both"), CASES)
def test_a_list_adds_to_the_one_below(key: str, below: Any, over: Any, both: list[str]) -> None:
    layer = lay(as_layer({key: below}), as_layer({key: over}))
    assert layer[key] == as_layer({key: both})[key]


def test_three_layers_add_up() -> None:
    layers = [as_layer({"denoisers": entries}) for entries in (["a"], ["...", "b"], ["...", "c"])]
    below = lay(layers[0], lay(layers[1], layers[2]))
    assert below == lay(lay(layers[0], layers[1]), layers[2])
    assert [choice["name"] for choice in below["denoisers"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "value", [["...", "a", "..."], [{"name": "...", "scale": 2}], [{"name": "...", "kernels": []}]]
)
def test_it_stands_once_and_by_itself(value: Any) -> None:
    with pytest.raises(LdmError, match=r"'\.\.\.'"):
        as_layer({"denoisers": value})


def names(pipe: Any, key: str) -> list[str]:
    return [choice["name"].rpartition(":")[2] for choice in pipe.recipe.get(key, [])]


def test_what_the_family_and_the_folder_choose_is_below(copied: Path) -> None:
    """The family of Stable Diffusion reads text; the folder wraps; a person adds to both."""
    (copied / "ldm.toml").write_text('denoisers = [{ name = "clip_x0", limit = 2.0 }]\n')
    bare = compose({"model": str(copied)}, installed()).recipe
    wrapper = {"name": "clip_x0", "limit": 3.0}
    over = {"conditioning": ["...", "image"], "denoisers": ["...", wrapper]}
    recipe = compose({"model": str(copied), **over}, installed()).recipe
    assert recipe["conditioning"] == [*bare["conditioning"], {"name": "image"}]
    assert recipe["denoisers"] == [*bare["denoisers"], wrapper]
    assert len(recipe["denoisers"]) == 2
    alone = compose({"model": str(copied), "observers": ["...", "progress_bar"]}, installed())
    assert alone.recipe["observers"] == [{"name": "progress_bar"}]


def test_it_holds_in_python_and_by_set(pipe: Pipeline) -> None:
    one = pipe.replace(denoisers=["clip_x0"])
    assert names(one, "denoisers") == ["clip_x0"]
    assert names(one.replace(denoisers=["...", "clip_x0"]), "denoisers") == ["clip_x0"] * 2
    assert names(pipe.replace(denoisers=["...", "clip_x0"]), "denoisers") == ["clip_x0"]
    layer = lay(as_layer({"denoisers": ["a"]}), override('denoisers=["...", "b"]'))
    assert [choice["name"] for choice in layer["denoisers"]] == ["a", "b"]


def test_lora_files_add_up(copied: Path, tmp_path: Path) -> None:
    lora = tmp_path / "ink.safetensors"
    down, up = torch.zeros(1, 4, 3, 3), torch.zeros(16, 1, 1, 1)
    save_file({"unet.conv_in.lora_A.weight": down, "unet.conv_in.lora_B.weight": up}, lora)
    (copied / "ldm.toml").write_text(f'loras = ["{lora}"]\n')
    choices = {"model": str(copied), "loras": ["...", f"{lora}:0.5"]}
    composition = compose(choices, installed())
    assert [one.scale for one in composition.loras] == [1.0, 0.5]
    assert [entry["scale"] for entry in composition.recipe["loras"]] == [1.0, 0.5]
