"""Files of someone who tries: each is refused with one message, and nothing else happens."""

from __future__ import annotations

import pytest

from fuzz.case import Case
from fuzz.conftest import Fuzzer
from fuzz.hostile import configs, loras, manifests, models, pictures, places, recipes

REFUSED = {
    "pictures": pictures.REFUSED,
    "manifests": manifests.REFUSED,
    "weights": models.WEIGHTS,
    "indexes": models.INDEXES,
    "decoys": models.DECOYS,
    "pickles": models.PICKLES,
    "configs": configs.CONFIGS,
    "LoRA": loras.LORAS,
    "recipes": recipes.RECIPES,
    "places": places.REFUSED,
}
HARMLESS = {
    "pictures": pictures.HARMLESS,
    "manifests": manifests.HARMLESS,
    "configs": configs.HARMLESS,
    "indexes that configs name": models.NAMED,
    "places": places.HARMLESS,
}


def words(cases: list[Case], fuzzer: Fuzzer) -> list[str]:
    """What is wrong with the ends of some cases, a line each."""
    ends = fuzzer.run(cases)
    return [
        f"{case.note}: {fault}"
        for case, (_, faults, _) in zip(cases, ends, strict=True)
        for fault in faults
    ]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_stranger_made_is_refused_with_one_message_and_nothing_is_written(
    kind: str, fuzzer: Fuzzer
) -> None:
    assert words(REFUSED[kind], fuzzer) == []


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_left_aside_runs_no_code_asks_for_nothing_and_harms_nothing(
    kind: str, fuzzer: Fuzzer
) -> None:
    assert words(HARMLESS[kind], fuzzer) == []


def test_there_are_many_and_no_two_are_one() -> None:
    cases = [case for several in (*REFUSED.values(), *HARMLESS.values()) for case in several]
    assert len({case.line() for case in cases}) == len(cases) > 150
