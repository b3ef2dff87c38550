"""What `--fast` takes for CUDA, seen on a machine without: composing reads no weights."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import tiny
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from ldm_plugins.converters.compile import REPEATED
from ldm_plugins.converters.shared import compilation
from ldm_plugins.shared.classes import find_class

FOLDERS = {
    "SDXL": tiny.write_stable_diffusion_xl,
    "Flux": tiny.write_flux,
    "SD 3": tiny.write_stable_diffusion_3,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp("model")) for name, write in FOLDERS.items()}


def chosen(folder: Path, **choices: Any) -> tuple[list[str], str]:
    """What is taken for a card, and what was said."""
    layer = {"model": str(folder), "device": "cuda", "fast": "lossless", **choices}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        composition = compose(layer, installed())
    said = " ".join(str(w.message) for w in caught if "fast: " in str(w.message))
    converters = composition.recipe.get("converters", [])
    return sorted(entry["name"].removeprefix("ldm-core:") for entry in converters), said


@pytest.mark.parametrize(
    ("kind", "choices", "taken"),
    [
        ("SDXL", {}, ["channels_last", "compile"]),
        ("SDXL", {"device": "cuda:1", "dtype": "float16"}, ["channels_last", "compile"]),
        ("SDXL", {"num_inference_steps": 4}, ["channels_last"]),
        ("SDXL", {"dtype": "float32"}, []),
        ("SDXL", {"device": "xpu"}, []),
        ("Flux", {}, ["compile"]),
        ("SD 3", {}, []),  # of whose network Diffusers names no repeated blocks
    ],
)
def test_what_is_published_to_pay_is_taken_and_said(
    folders: dict[str, Path],
    kind: str,
    choices: dict[str, Any],
    taken: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        compilation, "find_spec", lambda name: object() if name == "triton" else find_spec(name)
    )
    names, said = chosen(folders[kind], **choices)
    assert names == taken
    for name in taken:
        assert f"{name}, published to pay (" in said
        assert "not measured here, which `ldm tune` does" in said
    assert ("compile is left out: it pays from 20 steps on, and a run has 4" in said) == (
        "num_inference_steps" in choices
    )


def test_a_card_without_triton_is_told_why(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "find_spec", lambda name: None)
    names, said = chosen(folders["Flux"])
    assert names == []
    assert "compile is left out: torch.compile writes Triton for this device, and the pack" in said


def test_the_networks_are_those_whose_blocks_diffusers_names() -> None:
    assert all(compilation.blocks_of(find_class(cls)) for cls in REPEATED)
