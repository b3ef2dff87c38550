"""Ready-made pipelines called for each line: a line's picture is that of the command itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.composition import Composition
from ldm_core.contracts import OutputPath
from ldm_core.errors import LdmError
from ldm_core.jobs.functions import FunctionMaking
from ldm_core.media.png import read_png
from ldm_core.plugins.registry import Plugin, installed
from ldm_core.run.in_batches import in_batches, skipping
from ldm_core.run.output import Output
from ldm_core.run.recording import recorded


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("functions")
    tiny.write_stable_diffusion(place / "text")
    tiny.write_dit(place / "classes")
    tiny.write_ddpm(place / "plain")
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(place / "noise.png")
    Image.fromarray(noise[::-1]).save(place / "other.png")
    Image.fromarray(noise).resize((40, 24)).save(place / "wide.png")
    return place


A, B, WIDE = "noise.png", "other.png", "wide.png"
COMMANDS: list[tuple[str, str, list[str], list[dict[str, Any]]]] = [
    ("text-to-image", "text", [], [{"prompt": "a star"}, {"prompt": "42"}]),
    ("class-to-image", "classes", [], [{"classes": 3}, {"class_label": 1}]),
    ("unconditional", "plain", [], [{"seed": 4}, {"seed": 9}]),
    (
        "image-to-image",
        "text",
        ["--strength", "0.5"],
        [
            {"image": A, "prompt": "a star"},
            {"image": B, "prompt": "a dog"},
            {"image": WIDE, "prompt": "a dog", "width": 16, "height": 16},
            {"image": WIDE, "prompt": "a dog", "strength": 1.0},
        ],
    ),
    (
        "inpaint",
        "text",
        ["--mask-box", "0,0,8,8"],
        [{"image": A, "prompt": "a star"}, {"image": B, "prompt": "a dog"}],
    ),
    (
        "outpaint",
        "text",
        [],
        [
            {"image": A, "prompt": "a star", "left": 8},
            {"image": A, "prompt": "a star", "top": 8, "bottom": 8},
        ],
    ),
    ("blend", "text", [], [{"first": A, "second": B, "weight": 0.25}, {"first": A, "second": B}]),
    (
        "restore",
        "text",
        ["--noise", "30"],
        [{"image": A, "prompt": "a dog"}, {"image": B, "prompt": "a star"}],
    ),
    (
        "upscale",
        "text",
        [],
        [
            {"image": A, "prompt": "a dog", "factor": 1.5},
            {"image": B, "prompt": "a star", "by": "latents"},
        ],
    ),
    ("invert", "text", [], [{"image": A, "prompt": "a star"}]),
]
POSITIONS = ("image", "first", "second", "classes", "prompt")
"""Columns that the command line takes by place, in their order."""


def ordinary(line: dict[str, Any], place: Path) -> list[str]:
    """A line as the command line says it."""
    words = []
    for name in POSITIONS:
        if name in line:
            value = line[name]
            words.append(str(place / value) if name in ("image", "first", "second") else str(value))
    if "width" in line:
        words += ["--size", f"{line['width']}x{line['height']}"]
    for name in line.keys() - {*POSITIONS, "width", "height", "seed"}:
        words += [f"--{name.replace('_', '-')}", str(line[name])]
    return words


@pytest.mark.parametrize(
    ("name", "model", "common", "lines"), COMMANDS, ids=[command[0] for command in COMMANDS]
)
def test_a_line_makes_what_the_command_makes(
    ldm: Any, place: Path, name: str, model: str, common: list[str], lines: list[dict[str, Any]]
) -> None:
    """The picture but for the rounding of a batch, all of the manifest but its pixels, and what
    replay makes of it."""
    file = place / f"{name}.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    run = ["--model", str(place / model), "--steps", "2", *common]
    code, out, err = ldm(name, "--prompts", file, *run, "--seed", "20", "--out", "job")
    assert code == 0, err
    paths = sorted(out.split())
    assert len(paths) == len(lines)
    for index, (line, path) in enumerate(zip(lines, paths, strict=True)):
        seed = str(line.get("seed", 20 + index))
        words = ordinary(line, place)
        own = [w for w in run if not ("strength" in line and w in ("--strength", "0.5"))]
        code, out, err = ldm(name, *words, *own, "--seed", seed, "--out", f"own{index}")
        assert code == 0, err
        picture, manifest = read_png(Path(path))
        expected, other = read_png(Path(out.split()[0]))
        difference = np.asarray(picture, int) - np.asarray(expected, int)
        assert abs(difference).max() <= 1
        for table in (manifest, other):
            del table["pixels_sha256"]
            for side in ("width", "height"):  # --size is a choice of the recipe too
                table["recipe"].pop(side, None)
            table.get("command", {}).get("options", {}).pop("num_images_per_prompt", None)
        options = manifest.get("command", {}).get("options", {})
        if "command" in manifest:  # a command says its defaults too
            assert options.items() <= other["command"]["options"].items()
            assert manifest.pop("command")["arguments"] == other.pop("command")["arguments"]
        assert manifest == other
    code, out, err = ldm("replay", paths[0], "--allow-files")
    assert code == 0, err
    assert "the same picture" in out


def test_the_edit_is_what_an_inversion_is_for(ldm: Any, place: Path) -> None:
    (place / "edits.csv").write_text("image,prompt,edit\nnoise.png,a star,a dog\n")
    run = ["--model", str(place / "text"), "--steps", "2", "--seed", "1"]
    code, out, err = ldm("invert", "--prompts", place / "edits.csv", *run, "--out", "job")
    assert code == 0
    assert "the last of them is kept" in err
    picture, manifest = read_png(Path(out.strip()))
    words = [str(place / A), "a star", "--edit", "a dog"]
    code, made, err = ldm("invert", *words, *run, "--out", "own")
    assert code == 0, err
    both = made.split()
    assert np.array_equal(np.asarray(picture), np.asarray(Image.open(both[1])))
    assert manifest["command"]["image"] == 1
    code, verdict, _ = ldm("replay", out.strip(), "--allow-files")
    assert "the same picture, pixel for pixel" in verdict


def test_lines_of_one_recording_share_a_batch(place: Path) -> None:
    """Pictures that differ in size are calls of their own; their order stays."""
    making, parts = making_of("image-to-image"), composition(place, "text")
    pipe = Pipeline.from_composition(parts)
    names = [A, B, WIDE, A]
    call = {
        "image": [str(place / name) for name in names],
        "prompt": ["a star", "a cat", "a dog", "a star"],
        "strength": 0.5,
        "seed": [5, 6, 7, 5],
    }
    outputs = list(making.batches(pipe, call))
    assert [output.seeds for output in outputs] == [[5, 6], [7], [5]]
    assert [output.images[0].size for output in outputs] == [(16, 16), (40, 24), (16, 16)]


def composition(place: Path, model: str) -> Composition:
    return compose({"model": str(place / model), "num_inference_steps": 2}, installed())


def making_of(name: str) -> FunctionMaking:
    return FunctionMaking(installed().find("command", name))


def test_checking_reads_no_weights(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("ldm_core.run.pipeline.load_model", fail)
    for name, model, _, lines in COMMANDS:
        making, parts = making_of(name), composition(place, model)
        call = {"strength": 0.5} if name == "image-to-image" else {}
        call |= {"mask_box": "0,0,8,8"} if name == "inpaint" else {}
        for line in lines:
            named = {n: str(place / v) if str(v).endswith(".png") else v for n, v in line.items()}
            making.check(parts, {**call, **named, "seed": [line.get("seed", 1)]})


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("image-to-image", {"prompt": "a star"}, "needs 'image'"),
        ("blend", {"first": A}, "needs 'second'"),
        ("image-to-image", {"image": A, "strength": "much"}, "should be float"),
        ("upscale", {"image": A, "by": "colours"}, "should be"),
        ("outpaint", {"image": A, "left": -8}, "at least 0"),
        ("outpaint", {"image": A, "left": 3}, "multiples of"),
        ("inpaint", {"image": A, "prompt": "a"}, "say what to repaint"),
        ("inpaint", {"image": A, "mask_box": "0,0,8,8"}, "needs 'prompt'"),
        ("image-to-image", {"image": "none.png"}, "none.png"),
        ("image-to-image", {"image": A, "colour": "red"}, "'colour' is no column"),
    ],
)
def test_a_bad_line_is_told_with_its_number(
    ldm: Any, place: Path, name: str, line: dict[str, Any], message: str
) -> None:
    file = place / "bad.jsonl"
    file.write_text(f"{json.dumps(line)}\n")
    run = ["--model", place / "text", "--steps", "2", "--out", "out"]
    code, _, err = ldm(name, "--prompts", file, *run)
    assert code == 2
    assert message in err
    assert "line 1" in err or "column" in err
    assert not Path("out").exists()


def test_an_argument_that_is_given_holds_for_lines_without_it(ldm: Any, place: Path) -> None:
    (place / "prompts.csv").write_text("prompt,image\na star,\na dog,other.png\n")
    run = ["--model", place / "text", "--steps", "2", "--seed", "1"]
    file = place / "prompts.csv"
    code, out, err = ldm("image-to-image", place / A, "--prompts", file, *run)
    assert code == 0, err
    manifests = [read_png(Path(path))[1] for path in sorted(out.split())]
    assert [m["inputs"]["image"] for m in manifests] == [str(place / A), str(place / B)]
    code, _, err = ldm("image-to-image", "--model", place / "text", "--steps", "2")
    assert code == 2
    assert "Missing argument 'IMAGE'" in err


def test_a_series_is_no_line(ldm: Any, place: Path) -> None:
    code, _, err = ldm("interpolate", "--prompts", place / "prompts.csv", "--model", place / "text")
    assert code == 2
    assert "a series of pictures that belong together" in err


def plugin(function: Any) -> Plugin:
    return Plugin("command", "own", "some-package", "", function)


def test_a_file_to_write_is_refused(place: Path) -> None:
    @in_batches
    def writes(
        pipe: Any, *prompts: str, log: OutputPath | None = None, **call: Any
    ) -> Iterator[Output]:
        """Writes."""
        return pipe.batches(prompt=list(prompts), **call)

    making = FunctionMaking(plugin(writes))
    with pytest.raises(LdmError, match="'log' names a file to write"):
        making.check(composition(place, "text"), {"prompt": "a", "log": "a.log", "seed": [1]})


def test_a_function_that_does_not_call_is_no_recording(place: Path) -> None:
    @skipping
    def reads(pipe: Any, **call: Any) -> Iterator[Output]:
        """Needs the weights first."""
        assert pipe.model
        return pipe.batches(**call)

    @skipping
    def nothing(pipe: Any, **call: Any) -> Iterator[Output]:
        """Makes none."""
        return iter(())

    parts = composition(place, "text")
    with pytest.raises(LdmError, match="reads reads the weights"):
        recorded(reads, parts, prompt="a star")
    with pytest.raises(LdmError, match="nothing makes its pictures without a call"):
        recorded(nothing, parts, prompt="a star")


def test_a_generator_is_recorded_too(place: Path) -> None:
    @skipping
    def later(pipe: Any, *prompts: str, **call: Any) -> Iterator[Output]:
        """Calls once it is gone through."""
        try:
            yield from pipe.replace(scheduler="ddim").batches(prompt=list(prompts), **call)
        except Exception as error:
            raise AssertionError("a recording is no failure") from error

    asked = recorded(later, composition(place, "text"), "a star", seed=2)
    assert asked.composition.recipe["scheduler"]["name"] == "ddim"
    assert asked.call.inputs == {"prompt": ["a star"]}
