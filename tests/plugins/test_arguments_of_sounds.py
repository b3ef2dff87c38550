"""Each argument of Diffusers' pipelines of sound is on the page that says where it is here."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from pathlib import Path

import diffusers
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "video-and-sound.md"
SHARED = {"self", "callback", "callback_steps", "callback_on_step_end"}
SHARED |= {"callback_on_step_end_tensor_inputs"}
NAME = re.compile(r"`(\w+)`")


def told() -> tuple[set[str], dict[str, set[str]]]:
    """What all share, and of each class, by the page."""
    text = PAGE.read_text().split("### Arguments of Diffusers' pipelines of sound")[1]
    text = text.split("\n## ")[0]
    head, _, table = text.partition("| of |")
    found: dict[str, set[str]] = defaultdict(set)
    classes: list[str] = []
    for line in table.splitlines()[2:]:
        if line.startswith("|"):
            of, arguments, here, *_ = (cell.strip() for cell in line.split("|")[1:])
            assert here
            classes = NAME.findall(of) or classes
            for name in classes:
                found[name] |= {*NAME.findall(arguments)}
    return {*NAME.findall(head)}, found


def taken(name: str) -> set[str]:
    return {*inspect.signature(getattr(diffusers, name).__call__).parameters}


@pytest.mark.parametrize("name", told()[1])
def test_every_argument_is_told_of(name: str) -> None:
    shared, found = told()
    assert taken(name) - SHARED - shared <= found[name]


def test_no_other_argument_is_told_of() -> None:
    found = told()[1]
    assert {*found} > {"AceStepPipeline", "StableAudioPipeline", "AudioLDM2Pipeline"}
    assert set().union(*found.values()) <= set().union(*map(taken, found))
