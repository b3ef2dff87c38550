"""Whose points a run visits where a scheduler is named, a spacing is named, both, or neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ldm_core import Pipeline
from ldm_core.cli.explain import describe
from ldm_core.composition.compose import compose, recompose
from ldm_core.composition.composition import Composition
from ldm_core.contracts import goes_with
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from swaps import PUBLISHED

FOLDER = PUBLISHED["SD 1.5"]
LEADING_1 = {"name": "leading", "steps_offset": 1, "final": "sigma_min"}
OPEN = {"name": "linspace", "whole_timesteps": True, "open_end": True}
MODEL, YOU = "model", "you"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, list[float]]] = {
    # what is named: the spacing, by whom `ldm explain` says it is chosen, timesteps of 4 steps
    "neither": ({}, LEADING_1, MODEL, [751, 501, 251, 1, 0]),
    "the model's scheduler": ({"scheduler": "pndm"}, LEADING_1, MODEL, [751, 501, 251, 1, 0]),
    "a scheduler": (
        *({"scheduler": "dpmpp_2m"}, OPEN, "model, for dpmpp_2m"),
        [999, 749, 500, 250, 0],
    ),
    "a scheduler by its full name": (
        *({"scheduler": "ldm-core:euler"}, {"name": "linspace"}, "model, for euler"),
        [999, 666, 333, 0, 0],
    ),
    "a scheduler with options": (
        *({"scheduler": {"name": "ddim", "eta": 1.0}}, LEADING_1, "model, for ddim"),
        [751, 501, 251, 1, 0],
    ),
    "a spacing": (
        *({"spacing": "trailing"}, {"name": "trailing", "final": "sigma_min"}, YOU),
        [999, 749, 499, 249, 0],
    ),
    "the model's spacing": ({"spacing": "leading"}, LEADING_1, YOU, [751, 501, 251, 1, 0]),
    "another spacing": ({"spacing": "karras"}, {"name": "karras"}, YOU, []),
    "options of the spacing": (
        *({"spacing": {"final": "zero"}}, {**LEADING_1, "final": "zero"}, YOU),
        [751, 501, 251, 1, 0],
    ),
    "both": (
        {"scheduler": "euler", "spacing": "leading"},
        *({"name": "leading", "steps_offset": 1}, YOU, [751, 501, 251, 1, 0]),
    ),
    "both, with options": (
        {"scheduler": "dpmpp_2m", "spacing": {"name": "leading", "open_end": False}},
        {"name": "leading", "steps_offset": 1, "open_end": False},
        *(YOU, [751, 501, 251, 1, 0]),
    ),
    "a switch": (
        {"scheduler": {"name": "switch", "first": "dpmpp_3m", "then": "euler"}},
        *(OPEN, "model, for dpmpp_3m", [999, 749, 500, 250, 0]),
    ),
    "a scheduler around another": (
        {"scheduler": {"name": "restart", "inner": "euler"}},
        *({"name": "linspace"}, "model, for euler", [999, 666, 333, 0, 0]),
    ),
    "a scheduler that Diffusers lacks": (
        *({"scheduler": "er_sde"}, LEADING_1, MODEL),
        [751, 501, 251, 1, 0],
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FOLDER.written(tmp_path_factory.mktemp("named") / "model")


@pytest.fixture(scope="module")
def own(folder: Path) -> Composition:
    return compose({"model": str(folder)}, installed())


@pytest.mark.parametrize("case", CASES)
def test_whose_points(own: Composition, folder: Path, tmp_path: Path, case: str) -> None:
    """By flags, by a recipe, and laid over a pipeline."""
    choices, spacing, chosen_by, timesteps = CASES[case]
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(toml({"model": str(folder), **choices}))
    for composition in (
        compose({"model": str(folder), **choices}, installed()),
        compose({}, installed(), recipe),
        recompose(own, choices),
        recompose(recompose(own, {"scheduler": "lms"}), {"scheduler": None, **choices}),
    ):
        assert composition.recipe["spacing"] == spacing
        told = {stage["stage"]: stage for stage in describe(composition)["stages"]}
        assert told["spacing"]["chosen_by"] == chosen_by
        if timesteps:
            assert [point.t for point in composition.grid(4)] == timesteps
        again = compose(composition.recipe_in_use, installed())
        assert again.recipe == composition.recipe
        assert again.grid(4) == composition.grid(4)


def toml(layer: dict[str, Any]) -> str:
    """TOML's inline tables are JSON with equals signs."""
    return "\n".join(f"{key} = {_value(value)}" for key, value in layer.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value)


def test_options_go_with_a_scheduler_inside_another(own: Composition) -> None:
    """Diffusers' class of order three takes half the curvature."""
    within = recompose(own, {"scheduler": {"name": "switch", "first": "ddim", "then": "dpmpp_3m"}})
    assert within.recipe["scheduler"]["then"] == {"name": "dpmpp_3m", "curvature": "half"}
    chosen = {"name": "dpmpp_3m", "curvature": "full"}
    assert recompose(own, {"scheduler": chosen}).recipe["scheduler"] == chosen


@goes_with("exponential")
def sure(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """Takes the first estimate."""
    return denoise(x, grid[0])


def test_a_scheduler_says_itself_which_spacing_goes_with_it(own: Composition) -> None:
    chosen = recompose(own, {"scheduler": sure})
    told = {stage["stage"]: stage for stage in describe(chosen)["stages"]}
    assert (told["spacing"]["name"], told["spacing"]["chosen_by"]) == (
        *("exponential", "the scheduler"),
    )


def test_each_pipeline_of_a_chain_has_points_of_its_own(own: Composition) -> None:
    first = recompose(own, {"scheduler": "dpmpp_2m"})
    then = recompose(own, {"scheduler": "ddim"})
    assert [len(part.grid(20)) for part in (first, then)] == [21, 21]
    assert first.recipe["spacing"] == OPEN
    assert then.recipe["spacing"] == LEADING_1


def test_none_takes_a_choice_back(own: Composition) -> None:
    chosen = recompose(own, {"scheduler": "euler", "spacing": "karras", "denoisers": ["clip_x0"]})
    back = recompose(chosen, {"spacing": None})
    assert back.recipe["spacing"] == {"name": "linspace"}
    assert recompose(chosen, {"scheduler": None}).recipe["scheduler"]["name"] == "pndm"
    assert recompose(back, {"scheduler": None, "denoisers": None}).recipe == own.recipe
    with pytest.raises(LdmError, match="no key 'spacin'"):
        recompose(chosen, {"spacin": None})


def test_a_recipe_that_names_everything_is_taken_as_it_is(own: Composition) -> None:
    """As a manifest's does, also of a picture that was made before points went with a scheduler."""
    recipe = {**own.recipe, "scheduler": {"name": "dpmpp_2m"}, "spacing": {"name": "leading"}}
    again = compose(recipe, installed())
    assert again.recipe == recipe
    assert [point.t for point in again.grid(4)] == [750, 500, 250, 0, 0]


def test_a_folder_s_own_recipe_names_too(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    (copy / "ldm.toml").write_text('scheduler = "dpmpp_2m"\n')
    named = compose({"model": str(copy)}, installed())
    assert named.recipe["spacing"] == OPEN
    assert recompose(named, {"scheduler": "euler"}).recipe["spacing"] == {"name": "linspace"}
    (copy / "ldm.toml").write_text('spacing = "karras"\n')
    spaced = compose({"model": str(copy), "scheduler": "euler"}, installed())
    assert spaced.recipe["spacing"] == {"name": "karras"}


def test_the_recipe_of_a_class_of_diffusers_composes_again(folder: Path) -> None:
    choice = "diffusers:UniPCMultistepScheduler"
    pipe = Pipeline.from_composition(
        compose({"model": str(folder), "scheduler": choice}, installed())
    )
    again = Pipeline.from_composition(compose(pipe.recipe, installed()))
    assert again.composition.grid(4) == pipe.composition.grid(4)
    with pytest.raises(LdmError, match="walks points of its own"):
        compose({"model": str(folder), "scheduler": choice, "spacing": "karras"}, installed()).grid(
            4
        )
