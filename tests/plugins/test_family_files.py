"""A family is one short file, and the core knows none by name."""

from __future__ import annotations

import re
from pathlib import Path

import diffusers

from ldm_core.plugins.registry import installed

ROOT = Path(__file__).parents[2]
LINES = 250
SHOWN = {"StableDiffusionPipeline", "UNet2DConditionModel"}
"""Classes that the core's checks of families put into damaged indexes."""


def found(text: str, names: list[str]) -> set[str]:
    """Which of the families a text has as words, however they are joined. "Latent diffusion" are
    words of the field too."""
    text = re.sub(r"latent[- ]diffusion", "", text, flags=re.IGNORECASE)
    return {
        name
        for name in names
        if re.search(rf"(?<![a-z0-9]){name.replace('_', '[-_ .]?')}(?![a-z0-9])", text, re.I)
    }


def test_a_family_is_a_file_of_at_most_250_lines() -> None:
    files = sorted((ROOT / "plugins" / "ldm_plugins" / "families").glob("*.py"))
    assert len(files) > 30
    long = {file.name: len(file.read_text("utf-8").splitlines()) for file in files}
    assert {name: count for name, count in long.items() if count > LINES} == {}


def test_the_core_names_no_family() -> None:
    names = [entry.name for entry in installed().of_kind("family")]
    assert len(names) > 30
    assert found("a stable-diffusion folder, flux.2 and Wan", names) == {
        "stable_diffusion", "flux_2", "wan", "flux"
    }  # fmt: skip
    classes = {name for name in dir(diffusers) if name.endswith(("Pipeline", "Model"))}
    for file in sorted((ROOT / "ldm_core").rglob("*.py")):
        text = file.read_text("utf-8")
        assert found(text, names) == set(), file
        of_models = classes & {*re.findall(r"\w+", text)} - SHOWN
        assert of_models == set(), file
