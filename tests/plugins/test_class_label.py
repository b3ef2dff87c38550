"""Classes by number and by name, as the model folder calls them."""

from __future__ import annotations

from typing import Any

import pytest

import tiny
from ldm_core.composition.compose import compose, recompose
from ldm_core.composition.composition import Composition
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from ldm_plugins.conditioning.class_label import find_class


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Composition:
    folder = tiny.write_dit(tmp_path_factory.mktemp("models") / "dit")
    return compose({"model": str(folder)}, installed())


@pytest.mark.parametrize(
    ("label", "number"),
    [
        (0, 0),
        (999, 999),
        ("tench", 0),
        ("TINCA TINCA", 0),
        (" Carassius auratus ", 1),
        ("tench, Tinca tinca", 0),
        ("Cardigan", 3),
        ("cardigan", 4),
    ],
)
def test_a_class_is_found_by_any_of_its_names(
    composition: Composition, label: Any, number: int
) -> None:
    assert find_class(label, composition.info.classes) == number
    composition.plan({"class_label": label}, [1])


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (1000, "no class 1000: this model's are numbered from 0 to 999"),
        (-1, "numbered from 0"),
        (True, "number from 0 to 999 or a name, not True"),
        (1.0, "not 1.0"),
        (["tench", None], "not None"),
        ("gold fish", "Did you mean 'goldfish'"),
        ("CARDIGAN", "Say which by its number"),
        ("crane", r"2 \(great white shark, crane\), 5 \(crane\)"),
        ("", "no class named ''"),
        ("3", "no class named '3'"),
        (None, "needs 'class_label'"),
    ],
)
def test_other_classes_are_refused_before_weights_are_read(
    composition: Composition, label: Any, message: str
) -> None:
    seeds = [1, 2] if isinstance(label, list) else [1]
    with pytest.raises(LdmError, match=message):
        composition.plan({"class_label": label}, seeds)


def test_the_class_to_lead_away_from_is_checked_too(composition: Composition) -> None:
    request = composition.plan({"class_label": 1, "negative_class_label": "tench"}, [1]).request
    assert request.inputs["negative_class_label"] == ["tench"]
    with pytest.raises(LdmError, match="no class 1000"):
        composition.plan({"class_label": 1, "negative_class_label": 1000}, [1])


def test_classes_without_names_go_by_number() -> None:
    assert find_class(2, ("", "", "")) == 2
    with pytest.raises(LdmError, match="have no names"):
        find_class("tench", ("", "", ""))


def test_a_composition_on_other_choices_still_knows_the_classes(composition: Composition) -> None:
    again = recompose(composition, {"scheduler": "ddim", "conditioning": "class_label"})
    request = again.plan({"class_label": "goldfish"}, [1]).request
    assert request.inputs["class_label"] == ["goldfish"]
