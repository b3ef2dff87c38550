"""Declared inputs: one meaning each, and flags of the command line made from them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import RESERVED
from ldm_core.contracts import Conditioning, Input
from ldm_core.run.call import CallArguments


class Reads(Conditioning):
    """Reads inputs and does nothing with them."""

    def __init__(self, **inputs: Input) -> None:
        self._inputs = inputs

    @property
    def inputs(self) -> dict[str, Input]:
        return self._inputs


def test_two_parts_that_mean_different_things_by_an_input_are_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match=r"'strength'.*default 0\.8 and 1\.0"):
        pipe.replace(conditioning=["text", "image", "mask"])
    for other in (Input(int, 2), Input(float, 1), Input(int, 1, each=False)):
        one, two = Reads(level=Input(int, 1)), Reads(level=other)
        with pytest.raises(LdmError, match="mean different things"):
            pipe.replace(conditioning=["text", one, two])


def test_two_parts_may_share_an_input_and_describe_it_in_other_words(pipe: Pipeline) -> None:
    one, two = Reads(level=Input(int, 1, help="how much")), Reads(level=Input(int, 1))
    both = pipe.replace(conditioning=["text", one, two])
    plan = both.composition.plan({"prompt": "a"}, [1, 2])
    assert plan.request.inputs["level"] == [1, 1]


def test_two_parts_that_give_the_network_the_same_are_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="2 conditionings give the network its 'text'"):
        pipe.replace(conditioning=["text", "regions"])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "grey.png"
    Image.new("RGB", (16, 16), "grey").save(path)
    return path


def test_an_input_is_a_flag(ldm: Any, folder: Path, tmp_path: Path, picture: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(f'model = "{folder}"\nconditioning = ["text", "image"]\n')
    code, out, err = ldm(
        "generate", "a red star", "--recipe", recipe, "--image", picture, "--strength=0.5",
        "--steps", "4", "--seed", "1", "--json",
    )  # fmt: skip
    assert code == 0, err
    record = json.loads(out)
    assert record["inputs"]["strength"] == 0.5
    assert record["inputs"]["image"] == str(picture)
    assert record["prompt"] == "a red star"


def test_a_flag_that_is_nothing_is_refused(ldm: Any, folder: Path) -> None:
    code, _, err = ldm("generate", "a star", "--model", folder, "--schedular", "ddim")
    assert code == 2
    assert "no option --schedular. Did you mean '--scheduler'?" in err
    code, _, err = ldm("generate", "a star", "--model", folder, "--negative-promt", "x")
    assert code == 2
    assert "Did you mean '--negative-prompt'?" in err
    code, _, err = ldm("generate", "a star", "--model", folder, "--strength")
    assert code == 2
    assert "no option --strength without a value" in err
    code, _, err = ldm("generate", "a", "--model", folder, "--level", "1", "--level=2")
    assert code == 2
    assert "'level' is given twice" in err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--sampler", "Euler a"], "an argument of A1111 and ComfyUI. Here, it is --scheduler."),
        (["--sampler-name"], "an argument of A1111 and ComfyUI. Here, it is --scheduler."),
        (["--cfg=7"], "an argument of ComfyUI. Here, it is --guidance-scale."),
        (["--cfg-scale", "7"], "an argument of A1111. Here, it is --guidance-scale."),
        (["--schedule-type", "Karras"], "an argument of A1111. Here, it is --spacing."),
        (["--denoising-strength", "0.5"], "Here, it is strength. Of the conditioning `image`"),
        (["--num-inference-steps", "5"], "no option --num-inference-steps. Here, it is --steps."),
        (["--n-iter", "5"], "an argument of A1111. Here, it is --num-images."),
    ],
)
def test_a_flag_of_another_program_is_translated(ldm: Any, flags: list[str], words: str) -> None:
    code, _, err = ldm("generate", "a star", *flags)
    assert code == 2
    assert words in err
    assert "Did you mean" not in err


def test_text_stays_text_and_other_values_are_read(ldm: Any, tmp_path: Path) -> None:
    classes = tiny.write_dit(tmp_path / "dit")
    code, out, err = ldm(
        "generate", "--model", classes, "--class-label", "[1, 2]", "--steps", "2", "--json"
    )
    assert code == 0, err
    assert [json.loads(line)["inputs"]["class_label"] for line in out.splitlines()] == [1, 2]


def test_a_prompt_of_digits_is_text(ldm: Any, folder: Path) -> None:
    code, out, err = ldm(
        "generate", "--model", folder, "--prompt", "42", "--negative-prompt", "7",
        "--steps", "2", "--json", "--seed", "1",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["prompt"] == "42"
    assert json.loads(out)["inputs"]["negative_prompt"] == "7"


def test_explain_shows_the_flags(ldm: Any, folder: Path) -> None:
    code, out, _ = ldm("explain", "--model", folder, "--json")
    assert code == 0
    inputs = {entry["flag"]: entry for entry in json.loads(out)["inputs"]}
    assert inputs["--prompt"]["required"]
    assert inputs["--negative-prompt"]["default"] is None
    assert all(entry["help"] for entry in inputs.values())


def test_an_input_for_all_images_says_one_thing(pipe: Pipeline) -> None:
    part = Reads(
        level=Input(tuple, (1, 2), each=False), mood=Input(str | list[str], "calm", each=False)
    )
    one = pipe.replace(conditioning=["text", part])
    plan = one.composition.plan({"prompt": "a"}, [1, 2])
    assert plan.request.inputs["level"] == [(1, 2), (1, 2)]
    same = one.composition.plan({"prompt": "a", "mood": ["wild", "wild"]}, [1, 2])
    assert same.request.inputs["mood"] == ["wild", "wild"]
    lists = one.composition.plan({"prompt": "a", "mood": [["b"], ["b"]]}, [1, 2])
    assert lists.request.inputs["mood"] == [["b"], ["b"]]
    with pytest.raises(LdmError, match=r"mood should be the same for all images.*wild, calm"):
        one.composition.plan({"prompt": "a", "mood": ["wild", "calm"]}, [1, 2])


@pytest.mark.parametrize("name", ["seed", "height", "extent", "on_step"])
def test_an_input_named_like_an_argument_of_a_call_is_refused(pipe: Pipeline, name: str) -> None:
    with pytest.raises(LdmError, match=f"'{name}', which is an argument of every call"):
        pipe.replace(conditioning=["text", Reads(**{name: Input(int, 1)})])


def test_the_reserved_names_are_those_of_a_call() -> None:
    own = {field.name for field in dataclasses.fields(CallArguments)}
    assert own | {"width", "height"} == RESERVED


def test_two_parts_that_give_one_key_are_refused(pipe: Pipeline) -> None:
    class Gives(Conditioning):
        def encode(self, run: Any, branches: Any) -> Any:
            return {branch: {"text": torch.zeros(1, 2, 3)} for branch in branches}

    with pytest.raises(LdmError, match="both give the network its 'text'"):
        pipe.replace(conditioning=["text", Gives()])("a", seed=1)


def test_how_large_is_decided_by_who_asks_last(pipe: Pipeline) -> None:
    composition = dataclasses.replace(pipe.composition, defaults={"width": 32, "height": 24})
    assert composition.extent() == {"height": 24, "width": 32}
    own = dataclasses.replace(composition, chosen={"extent": {"width": 48}})
    assert own.extent() == {"height": 24, "width": 48}
    assert own.extent({"width": 16}) == {"height": 24, "width": 16}
    first = pipe.replace(extent={"height": 24})
    assert first.replace(extent={"width": 32}).composition.extent() == {"height": 24, "width": 32}
