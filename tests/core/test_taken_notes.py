"""What is said of a picture of another program that cannot be the same here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ldm_core.cli.taken_over import taken_of_recorded
from ldm_core.media.comfyui_graph import read_graph
from ldm_core.media.recorded import Recorded
from ldm_core.model.recognition import inspect_model
from ldm_core.plugins.registry import installed

SYNTAX = (
    "((red)) (big) [ugly] [blue:green:0.5] [a|b] AND a dog BREAK embedding:foo (fine:1.2) "
    r"\(plain\) \[plain\] (16:9)"
)
"""Of A1111's page on its features, and of ComfyUI's examples."""


def notes(program: str, **said: Any) -> list[str]:
    return list(taken_of_recorded(Recorded(program, **said), installed()).notes)


def test_what_a_prompt_says_to_another_program_and_not_here_is_said() -> None:
    first = "not taken over: in its prompt, "
    ours = [
        f"{first}the weight of the parentheses ((red)), (big), (16:9): they are text here, where "
        "a weight is written as (words:1.1)",
        f"{first}what is learned in embedding:foo: it is text here, and no file is read",
    ]
    assert notes("ComfyUI", prompt=SYNTAX) == ours
    found = notes("A1111", prompt=SYNTAX)
    assert found[:2] == ours
    assert "the brackets say, [ugly], [blue:green:0.5], [a|b]: they are text" in found[2]
    assert ("the word AND" in found[3], "the word BREAK" in found[4], len(found)) == (True, True, 5)
    assert notes("A1111", prompt=r"a (red:1.2), (f1.8:1.1) \(star\) and BREAKS, (open") == []
    (one,) = notes("A1111", negative_prompt="(a) (b) (c) (d) <lora:(x):1>")[1:]
    assert one.startswith("not taken over: in its negative prompt, the weight of the parentheses")
    assert "(a), (b), (c) and 1 more:" in one


@pytest.mark.parametrize("text", ["(" * 50_000, "[(" * 20_000 + ")]" * 20_000, "(1:" * 20_000])
def test_a_long_prompt_of_marks_is_soon_read(text: str) -> None:
    assert all(len(note) < 400 for note in notes("A1111", prompt=text))


@pytest.mark.parametrize(
    ("program", "sampler", "schedule", "spacing", "said"),
    [
        ("A1111", "DPM++ 2M", "Automatic", "karras", []),
        ("A1111", "DPM2", "Automatic", "karras", ["of its sampler 'DPM2 Automatic': There one"]),
        ("A1111", "DPM++ 2M", "Karras", "karras", []),
        ("ComfyUI", "euler", "normal", "linspace", ["of its sampler 'euler normal': With s_churn"]),
        (
            "ComfyUI",
            "euler",
            "gits",
            "align_your_steps",
            ["not taken over: all of its sampler", "of its"],
        ),
        ("ComfyUI", "nobody's", "karras", "karras", ["not taken over: its sampler 'nobody's'"]),
    ],
)
def test_a_remark_is_not_said_to_be_left_out(
    program: str, sampler: str, schedule: str, spacing: str, said: list[str]
) -> None:
    taken = taken_of_recorded(Recorded(program, sampler=sampler, schedule=schedule), installed())
    assert taken.layer["spacing"]["name"] == spacing
    for note, words in zip(taken.notes, [*said], strict=True):
        assert note.startswith(words)


def test_another_vae_of_a_graph_is_named() -> None:
    nodes = {
        "1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": "other.safetensors"}},
    }
    recorded = read_graph(json.dumps(nodes))
    (note,) = taken_of_recorded(recorded, installed()).notes
    assert note == "not taken over: vae_name: other.safetensors"


INFO = inspect_model("shapes", installed())[0]
TWO_ENCODERS = replace(INFO, abilities=INFO.abilities | {"prompt_2"})
NO_CLIP = replace(INFO, abilities=INFO.abilities - {"clip_skip"})


@pytest.mark.parametrize(
    ("program", "there", "info", "skip", "said"),
    [
        ("A1111", 1, None, None, []),  # 1 is the last layer
        ("A1111", 1, TWO_ENCODERS, None, []),
        ("ComfyUI", 1, INFO, None, []),
        ("ComfyUI", 1, TWO_ENCODERS, None, ["not taken over: stop_at_clip_layer: -1, which is"]),
        ("ComfyUI", 1, None, None, ["its stop_at_clip_layer: -1 is the last layer, as here"]),
        ("A1111", 2, None, 1, ["its Clip skip: 2 is clip_skip = 1 here"]),
        ("A1111", 3, INFO, 2, ["its Clip skip: 3 is clip_skip = 2 here"]),
        ("ComfyUI", 2, INFO, 1, ["its stop_at_clip_layer: -2 is clip_skip = 1 here"]),
        ("ComfyUI", 2, TWO_ENCODERS, None, []),  # where SDXL is read by itself
        ("ComfyUI", 3, TWO_ENCODERS, None, ["not taken over: stop_at_clip_layer: -3, which is"]),
        ("A1111", 2, TWO_ENCODERS, None, ["not taken over: Clip skip: 2, which A1111 heeds"]),
        ("A1111", 2, NO_CLIP, None, ["not taken over: Clip skip: 2, as this model reads no"]),
    ],
)
def test_clip_skip_is_counted_as_diffusers_does(
    program: str, there: int, info: Any, skip: int | None, said: list[str]
) -> None:
    taken = taken_of_recorded(Recorded(program, clip_skip=there), installed(), info)
    chosen = {"name": "text", "clip_skip": skip, "negative_clip_skip": skip}
    assert taken.layer == ({} if skip is None else {"conditioning": [chosen]})
    for note, words in zip(taken.notes, said, strict=True):
        assert note.startswith(words)
