"""LoRA files in a recipe: written in several ways, checked before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ldm_core import Pipeline
from ldm_core.composition.compose import compose, recompose
from ldm_core.composition.composition import Composition
from ldm_core.composition.recipe import as_layer, lay, override, read_recipe
from ldm_core.contracts import Family, Model, ModelInfo, Place
from ldm_core.errors import LdmError, PluginError
from ldm_core.model.lora import as_lora
from ldm_core.plugins.registry import Plugin, Registry, installed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file whose tensors are named as a LoRA's."""
    path = tmp_path / "ink.safetensors"
    down, up = torch.zeros(1, 4, 3, 3), torch.zeros(16, 1, 1, 1)
    save_file({"unet.conv_in.lora_A.weight": down, "unet.conv_in.lora_B.weight": up}, path)
    return path


def composed(folder: Path, *loras: Any) -> Composition:
    return compose({"model": str(folder), "loras": list(loras)}, installed())


@pytest.mark.parametrize(
    ("written", "path", "scale"),
    [
        ("ink.safetensors", "ink.safetensors", 1.0),
        ("ink.safetensors:0.8", "ink.safetensors", 0.8),
        ("ink.safetensors:-1e-1", "ink.safetensors", -0.1),
        (r"C:\ink.safetensors", r"C:\ink.safetensors", 1.0),
        (Path("ink.safetensors"), "ink.safetensors", 1.0),
        ({"path": "ink.safetensors"}, "ink.safetensors", 1.0),
        ({"path": Path("ink.safetensors"), "scale": 2}, "ink.safetensors", 2.0),
    ],
)
def test_ways_to_write_one(written: Any, path: str, scale: float) -> None:
    assert as_lora(written) == {"path": path, "scale": scale}


@pytest.mark.parametrize(
    "written",
    [
        3,
        {},
        {"scale": 1.0},
        {"path": "a", "weight": 1.0},
        {"path": "a", "scale": "much"},
        {"path": "a", "scale": float("nan")},
        {"path": "a", "scale": True},
        {"path": "a", "scale": None},
    ],
)
def test_what_is_no_entry_is_refused(written: Any) -> None:
    with pytest.raises(LdmError, match=r"LoRA|loras"):
        as_lora(written)


def test_a_recipe_file_names_several_and_a_layer_over_it_other_ones(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('loras = ["a.safetensors:0.5", { path = "b.safetensors", scale = 2 }]\n')
    layer = read_recipe(recipe)
    a, b = layer["loras"]
    assert (a, b) == (as_lora("a.safetensors:0.5"), as_lora("b.safetensors:2"))
    assert lay(layer, as_layer({"loras": "c.safetensors"}))["loras"] == [as_lora("c.safetensors")]
    assert lay(layer, as_layer({"loras": []}))["loras"] == []
    assert override('loras=["d.safetensors"]')["loras"] == [as_lora("d.safetensors")]


def test_a_composition_names_files_in_full_and_keeps_them(
    folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    made = composed(folder, "ink.safetensors:0.5")
    assert made.recipe["loras"] == [{"path": str(file), "scale": 0.5}]
    assert [(lora.file, lora.scale) for lora in made.loras] == [(file, 0.5)]
    other = recompose(made, {"scheduler": "euler"})
    assert other.loras is made.loras
    assert other.recipe["loras"] == made.recipe["loras"]
    assert recompose(other, {"loras": []}).loras == ()


def test_a_models_own_recipe_may_name_one(copied: Path, file: Path) -> None:
    (copied / "ldm.toml").write_text(f'loras = ["{file}"]\n')
    made = compose({"model": str(copied)}, installed())
    assert [lora.file for lora in made.loras] == [file]
    assert composed(copied).loras == ()


def test_missing_and_damaged_files(folder: Path, file: Path, tmp_path: Path) -> None:
    for name, message in [
        ("nowhere.safetensors", "no LoRA file 'nowhere.safetensors'"),
        ("dir/nowhere.safetensors", "no LoRA file"),
        (str(tmp_path), "is a folder"),
        ("old.ckpt", "pickled file"),
        ("old.bin:0.5", "'old.bin' is a pickled file"),
        ("nobody/nothing", "no file here, and the Hub did not give it"),
        ("nobody/nothing/x.safetensors", "no file here, and the Hub did not give it"),
    ]:
        with pytest.raises(LdmError, match=message):
            composed(folder, name)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(LdmError, match="cut off or damaged"):
        composed(folder, str(file))


def test_a_models_weights_are_no_lora(folder: Path) -> None:
    with pytest.raises(LdmError, match="holds no LoRA"):
        composed(folder, str(folder / "vae" / "diffusion_pytorch_model.safetensors"))


def test_a_family_that_diffusers_reads_no_lora_for_says_so(copied: Path, file: Path) -> None:
    """Whose pipeline class Diffusers does not have; it is said before weights are read."""
    theirs = installed().find("family", "stable_diffusion").loaded()

    class Plain(Family):
        def matches(self, index: Mapping[str, Any]) -> bool:
            return index["_class_name"] == "PlainPipeline"

        def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
            like = {**index, "_class_name": "StableDiffusionPipeline"}
            info: ModelInfo = theirs.inspect(source, folder, like)
            return info

        def load(self, info: ModelInfo, place: Place) -> Model:
            raise AssertionError("weights are read")

    index = copied / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "PlainPipeline"))
    registry = Registry()
    registry.plugins = [p for p in installed().plugins if p.kind != "family"]
    registry.plugins.append(Plugin("family", "plain", "local", "0", Plain))
    with pytest.raises(LdmError, match=r"family stable_diffusion\) takes no LoRA"):
        Pipeline.from_pretrained(copied, loras=[file], registry=registry)
    with pytest.raises(PluginError, match="weights are read"):
        Pipeline.from_pretrained(copied, registry=registry)
