"""Ready-made pipelines from the command line: what each writes, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import tiny
from ldm_core import LdmError, Output, Pipeline
from ldm_core.media.png import read_png, save_png
from ldm_pipelines.augment import read_table
from ldm_pipelines.inpaint import inpaint
from ldm_pipelines.plugin import PIPELINES


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-conditional model: 0 is tench, 1 goldfish."""
    return tiny.write_dit(tmp_path_factory.mktemp("models") / "dit")


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unconditional model of pixels."""
    return tiny.write_ddpm(tmp_path_factory.mktemp("models") / "ddpm")


@pytest.fixture
def picture(ldm: Any) -> Path:
    return draw(Path("photo.png"))


def draw(path: Path, size: tuple[int, int] = (16, 16), seed: int = 0) -> Path:
    """A picture of noise, in the current folder of the command line."""
    values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def made(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def replays(ldm: Any, path: str) -> bool:
    verdict = json.loads(ldm("replay", "--allow-files", path, "--json")[1])
    return (verdict["max_difference"], verdict["differs"]) == (0, [])


RUNS: dict[str, list[str]] = {
    "blend": ["photo.png", "other.png"],
    "image-to-image": ["photo.png", "a red star"],
    "inpaint": ["photo.png", "a red star", "--mask-box", "0,0,8,16"],
    "interpolate": ["a red star", "a blue circle", "--num-images", "3"],
    "invert": ["photo.png", "a red star", "--edit", "a blue star"],
    "outpaint": ["photo.png", "a red star", "--left", "8"],
    "restore": ["photo.png", "a red star"],
    "text-to-image": ["a red star", "a blue circle"],
    "upscale": ["photo.png", "a red star"],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_command_writes_pictures_that_can_be_made_again(
    ldm: Any, folder: Path, picture: Path, name: str
) -> None:
    draw(Path("other.png"), seed=1)
    code, out, err = ldm(name, *RUNS[name], "--model", folder, "--steps", 3, "--seed", 7, "--json")
    assert (code, err) == (0, "")
    records = made(out)
    assert all(Path(record["path"]).parent == Path("pictures") for record in records)
    assert replays(ldm, records[-1]["path"])


def test_what_was_finished_in_python_is_not_replayed(
    ldm: Any, pipe: Pipeline, picture: Path
) -> None:
    made = inpaint(pipe, picture, "a red star", mask_box="0,0,8,16", seed=1)
    save_png(made.images[0], made.manifests[0], Path("x.png"), overwrite=True)
    code, _, err = ldm("replay", "--allow-files", "x.png")
    assert code == 2
    assert "finished in Python (pasted into the original" in err


def test_a_manifest_whose_command_is_damaged_is_refused(
    ldm: Any, folder: Path, picture: Path
) -> None:
    ldm(*("inpaint", picture, "a star", "--mask-box", "0,0,8,16", "--model", folder), "--steps", 1)
    (path,) = Path("pictures").iterdir()
    image, manifest = read_png(path)
    del manifest["command"]["options"]
    save_png(image, manifest, path, overwrite=True)
    code, _, err = ldm("replay", "--allow-files", path)
    assert (code, "damaged: command.options is missing" in err) == (2, True)


def test_classes_are_drawn_by_number_and_name(ldm: Any, classes: Path) -> None:
    # a seed, as one image beside another may differ in the last bit from it alone
    code, out, _ = ldm(
        *("class-to-image", "0", "goldfish", "--model", classes, "--steps", 2),
        *("--seed", 7, "--json"),
    )
    assert code == 0
    assert [record["inputs"]["class_label"] for record in made(out)] == [0, "goldfish"]
    assert replays(ldm, made(out)[1]["path"])


def test_a_model_that_is_told_nothing_draws(ldm: Any, pixels: Path) -> None:
    run = ("unconditional", "--model", pixels, "--steps", 2, "--seed", 7, "--batch-size", 2)
    code, out, _ = ldm(*run, "--num-images", 3, "--json", "--sheet", "s.png")
    assert code == 0
    assert [record["seed"] for record in made(out)] == [7, 8, 9]
    assert Path("s.png").exists()


def test_every_ready_made_pipeline_is_a_command_that_these_tests_run(ldm: Any) -> None:
    elsewhere = {"class-to-image", "unconditional", "features", "augment", "two-stages"}
    elsewhere |= {name for name in PIPELINES if name.endswith(("-to-video", "-to-audio"))}
    assert {*RUNS, *elsewhere} == {*PIPELINES}
    listed = ldm("--help")[1]
    assert all(name in listed for name in PIPELINES)


def test_text_to_image_is_generate(ldm: Any, folder: Path, pipe: Pipeline) -> None:
    run = ("--model", folder, "--steps", 4, "--seed", 7, "--size", "24x16")
    ldm("text-to-image", "a red star", *run, "--negative-prompt", "blue")
    image = Image.open("pictures/a-red-star-seed7.png")
    other = pipe("a red star", seed=7, width=24, height=16, negative_prompt="blue").images[0]
    assert image.tobytes() == other.tobytes()


def test_an_image_is_scaled_to_the_size_that_is_asked_for(
    ldm: Any, folder: Path, picture: Path
) -> None:
    run = ("image-to-image", picture, "a red star", "--model", folder, "--steps", 2, "--json")
    (plain,) = made(ldm(*run)[1])
    assert (plain["width"], plain["height"]) == (16, 16)
    assert plain["inputs"]["image"] == str(picture.resolve())
    (larger,) = made(ldm(*run, "--size", "24x32")[1])
    assert Image.open(larger["path"]).size == (24, 32)
    assert replays(ldm, larger["path"])


def test_no_strength_gives_what_the_autoencoder_has(
    ldm: Any, folder: Path, picture: Path, pipe: Pipeline
) -> None:
    ldm(
        "image-to-image", picture, "a red star", "--strength", 0, "--model", folder, "--seed", 7,
        "--set", "encoder.sample=false",
    )  # fmt: skip
    still = pipe.replace(encoder={"sample": False})
    shown = still.output(still.encode(Image.open(picture)), _request()).images[0]
    assert Image.open("pictures/a-red-star-seed7.png").tobytes() == shown.tobytes()


def _request() -> Any:
    from ldm_core.contracts import Request

    return Request({}, [0], {"height": 16, "width": 16}, 0)


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_the_film_holds_every_frame(ldm: Any, folder: Path, suffix: str) -> None:
    code, out, err = ldm(
        "interpolate", "a red star", "--seeds", 3, "--seeds", 8, "--seeds", 5, "--num-images", 4,
        "--model", folder, "--steps", 2, "--film", f"way.{suffix}", "--animation", "noise.gif",
        "--json",
    )  # fmt: skip
    assert code == 0
    assert "what it meant here alone is --film now" in err
    *shown, film = made(out)
    assert len(shown) == 7  # 4 from each stop to the next, which share the one between
    assert (Path(film["path"]).name, film["option"]) == (f"way.{suffix}", "film")
    assert Image.open("noise.gif").n_frames == 3  # both steps, and what was made, for a second
    frames = Image.open(f"way.{suffix}")
    assert (frames.n_frames, frames.info["duration"]) == (7, 100)


def test_features_hold_the_latents_by_file_name(
    ldm: Any, folder: Path, pipe: Pipeline, tmp_path: Path
) -> None:
    (tmp_path / "set" / "deep").mkdir(parents=True)
    draw(Path("set/a.png"))
    draw(Path("set/deep/b.png"), seed=1)
    draw(Path("set/wide.png"), (32, 16), seed=2)
    Path("set/notes.txt").write_text("no picture")
    code, out, _ = ldm("features", "set", "--out", "x.safetensors", "--model", folder, "--seed", 4)
    assert (code, out) == (0, "x.safetensors\n")
    with safe_open("x.safetensors", "pt") as file:
        names = list(file.keys())
        assert {*names} == {"a.png", "deep/b.png", "wide.png"}
        assert file.metadata()["model"] == str(folder)
        for name in names:
            expected = pipe.encode(Image.open(f"set/{name}"), seed=4)[0]
            assert torch.allclose(file.get_tensor(name), expected, atol=1e-5), name
    ldm("features", "set", "--out", "y.safetensors", "--model", folder, "--size", "16x16")
    with safe_open("y.safetensors", "pt") as file:
        shapes = {tuple(file.get_tensor(name).shape) for name in names}
    assert shapes == {pipe.model.info.latents.shape({"width": 16, "height": 16})}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_table_becomes_a_data_set(ldm: Any, folder: Path, form: str) -> None:
    rows = [
        {"prompt": "a red star", "colour": "red"},
        {"prompt": "a circle, in blue", "colour": "blue"},
    ]
    table = Path(f"t.{form}")
    if form == "csv":
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["prompt", "colour"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = ldm(
        "augment", "--table", table, "--out", "set", "--num-images", 2, "--batch-size", 3,
        "--model", folder, "--steps", 2, "--seed", 5,
    )  # fmt: skip
    assert (code, out) == (0, "set\n")
    lines = [json.loads(line) for line in Path("set/metadata.jsonl").read_text().splitlines()]
    assert [(line["text"], line["colour"], line["seed"]) for line in lines] == [
        ("a red star", "red", 5),
        ("a red star", "red", 6),
        ("a circle, in blue", "blue", 7),
        ("a circle, in blue", "blue", 8),
    ]
    assert {p.name for p in Path("set").glob("*.png")} == {line["file_name"] for line in lines}
    for line in lines:
        _, manifest = read_png(Path("set") / line["file_name"])
        assert (manifest["inputs"]["prompt"], manifest["seed"]) == (line["text"], line["seed"])
    assert replays(ldm, "set/000003.png")


def test_classes_become_folders(ldm: Any, classes: Path) -> None:
    code, _, _ = ldm(
        "augment", "--classes", "1", "--classes", "tench", "--out", "set", "--num-images", 2,
        "--model", classes, "--steps", 1,
    )  # fmt: skip
    assert code == 0
    found = {p.relative_to("set").as_posix() for p in Path("set").rglob("*.*")}
    assert found == {f"{name}/00000{i}.png" for name in ("1", "tench") for i in (0, 1)}
    assert read_png(Path("set/1/000000.png"))[1]["inputs"]["class_label"] == 1


def test_ctrl_c_keeps_what_was_made(
    ldm: Any, folder: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, batches = Pipeline.sample, []

    def interrupted(self: Pipeline, request: Any, on_step: Any = None) -> Any:
        batches.append(request)
        if len(batches) == 2:
            raise KeyboardInterrupt
        return sample(self, request, on_step)

    monkeypatch.setattr(Pipeline, "sample", interrupted)
    code, _, err = ldm(
        *("inpaint", picture, "a red star", "--mask-box", "0,0,8,8", "--model", folder),
        *("--steps", 1, "--num-images", 4, "--batch-size", 2),
    )
    assert code == 130
    assert "2 pictures are in pictures" in err
    assert len([*Path("pictures").iterdir()]) == 2


BAD = [
    (["text-to-image"], "no prompt is given"),
    (["class-to-image"], "no class is given"),
    (["class-to-image", "0"], "takes no 'class_label'"),
    (["class-to-image", "0", "1000", "--model", "{classes}"], "no class 1000"),
    (["text-to-image", "a star", "--model", "{classes}"], "takes no 'prompt'"),
    (["unconditional"], "is not unconditional: it needs 'prompt'"),
    (["image-to-image", "photo.png", "a star", "--strength", "1.5"], "from 0 to 1, not 1.5"),
    (
        ["image-to-image", "photo.png", "a", "--strength", "0.5", "--denoising-start", "0.5"],
        "both say where to begin",
    ),
    (["image-to-image", "missing.png", "a star"], "'missing.png' cannot be read: No such file"),
    (["image-to-image", "text.png", "a star"], "it is no picture"),
    (["image-to-image", "odd.png", "a star"], "17x16 pixels.*multiples of"),
    (["image-to-image", "photo.png"], "needs 'prompt'"),
    (["image-to-image", "photo.png", "a star", "--input", "strength=0.5"], "is given twice"),
    (["inpaint", "photo.png", "a star"], "a --mask, or a --mask-box"),
    (["inpaint", "photo.png", "a star", "--mask", "large.png"], "16x16 pixels and the mask 32x32"),
    (["inpaint", "photo.png", "a star", "--mask", "black.png"], "the mask is empty"),
    (["inpaint", "photo.png", "a star", "--mask-box", "4,4,4,8"], "should lie within"),
    (["inpaint", "photo.png", "a star", "--mask-box", "0,0,17,8"], "should lie within"),
    (["inpaint", "photo.png", "a star", "--mask-box", "left"], "four whole numbers"),
    (["inpaint", "photo.png", "a star", "--mask-box", "0,0,8,8", "--strength", "-1"], "0 to 1"),
    (["outpaint", "photo.png", "a star"], "say where to paint on"),
    (["outpaint", "photo.png", "a star", "--left", "-8"], "at least 0"),
    (["outpaint", "photo.png", "a star", "--left", "3"], "multiples of"),
    (["interpolate", "a star"], "at least two stops"),
    (["interpolate", "a", "b", "c", "--seeds", "1", "--seeds", "2"], "2 seeds for 3 stops"),
    (["interpolate", "a", "b", "--num-images", "1"], "at least 2"),
    (["interpolate", "a", "b", "--images", "photo.png"], "not by both"),
    (["interpolate", "a", "b", "--film", "way.mov"], "ends in .gif, .png, .webp or .mp4"),
    (["interpolate", "--images", "photo.png", "--images", "large.png"], "of one size"),
    (["blend", "photo.png", "large.png"], "16x16 and 32x32"),
    (["blend", "photo.png", "photo.png", "--weight", "2"], "from 0 to 1, not 2.0"),
    (["blend", "photo.png", "photo.png", "--mask", "large.png"], "the mask is 32x32"),
    (["invert", "photo.png", "--strength", "0"], "above 0 and at most 1"),
    (["invert", "photo.png", "--num-images", "2"], "makes one picture"),
    (["restore", "photo.png", "a star", "--noise", "-3"], "from 0 on, not -3"),
    (["restore", "photo.png", "a star", "--noise", "3", "--strength", "1"], "leave one out"),
    (["upscale", "photo.png", "a star", "--factor", "1"], "greater than 1"),
    (["upscale", "photo.png", "a star", "--by", "magic"], "magic"),
    (["features", "nowhere", "--out", "x.safetensors"], "no folder 'nowhere'"),
    (["features", "empty", "--out", "x.safetensors"], "holds no images"),
    (["features", "empty", "--out", "x.bin"], "should end in .safetensors"),
    (["augment", "--out", "set"], "a --table, or --classes"),
    (["augment", "--out", "set", "--table", "bad.csv"], "no such column"),
    (["augment", "--out", "set", "--table", "photo.png"], "cannot be read|a .csv or .jsonl"),
    (["augment", "--out", "empty.d", "--table", "good.csv"], "not a new or empty folder"),
    (["augment", "--out", "set", "--classes", "2000", "--model", "{classes}"], "no class 2000"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=lambda v: " ".join(v)[:60])
def test_bad_input_is_one_message_before_anything_is_sampled(
    ldm: Any,
    folder: Path,
    classes: Path,
    picture: Path,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw(Path("odd.png"), (17, 16))
    draw(Path("large.png"), (32, 32))
    Image.new("L", (16, 16)).save("black.png")
    Path("text.png").write_text("no picture")
    Path("bad.csv").write_text("caption\na star\n")
    Path("good.csv").write_text("prompt\na star\n")
    Path("empty").mkdir()
    Path("empty.d").mkdir()
    Path("empty.d/x").touch()

    def never(self: Pipeline, latents: Any) -> Any:
        raise AssertionError("something was sampled")

    monkeypatch.setattr(Pipeline, "decode", never)
    words = [word.format(classes=classes) for word in words]
    model = [] if "--model" in words else ["--model", str(folder)]
    code, out, err = ldm(*words, *model)
    assert (code, out) == (2, "")
    assert re.search(message, err, re.DOTALL), err
    assert not Path("pictures").exists()
    assert not Path("set").exists()


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ("", ".csv", "no rows"),
        ("prompt\na,b\n", ".csv", "row 1 .* other columns"),
        ('{"prompt": "a"}\n{"text": "b"}\n', ".jsonl", "row 2 .* other columns"),
        ('{"prompt": "a"}\n["b"]\n', ".jsonl", "line 2 .* JSON object"),
        ('{"prompt": \n', ".jsonl", "line 1 .* no JSON"),
    ],
)
def test_a_damaged_table_is_refused_by_its_place(
    tmp_path: Path, text: str, suffix: str, message: str
) -> None:
    table = tmp_path / f"t{suffix}"
    table.write_text(text)
    with pytest.raises(LdmError, match=message):
        read_table(table)


def test_a_package_brings_a_command_that_gets_a_pipeline(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function of another package: arguments, options and the shared choices are its own."""
    import typer
    from typer.testing import CliRunner

    from ldm_core.cli.later import add_plugin_commands
    from ldm_core.plugins.registry import Plugin, Registry
    from ldm_core.run.in_batches import in_batches

    heard: list[Any] = []

    @in_batches
    def count(
        pipe: Pipeline, first: int, *rest: str, scale: float = 1.0, **call: Any
    ) -> Iterator[Output]:
        """Count.

        Args:
            first: The first.
            rest: The others.
            scale: How large.
        """
        heard.append((first, rest, scale, call["seed"], pipe.recipe["scheduler"]["name"]))
        return pipe.batches("a red star", **call)

    registry = Registry()
    registry.plugins.append(Plugin("command", "count", "pkg", "1", count))
    app = typer.Typer()
    add_plugin_commands(app, registry)
    app.command("other")(lambda: None)
    monkeypatch.chdir(tmp_path)
    run = ["--model", str(folder), "--scheduler", "heun", "--seed", "7", "--steps", "1"]
    result = CliRunner().invoke(app, ["count", "3", "a", "b", "--scale", "2", *run])
    assert result.exit_code == 0, result.output
    assert heard == [(3, ("a", "b"), 2.0, 7, "heun")]
    assert Path("pictures/a-red-star-seed7.png").exists()


def test_a_mistake_in_a_package_is_not_taken_for_the_persons(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as the package's failure, and is no bad input."""
    import typer
    from typer.testing import CliRunner

    from ldm_core.cli.later import add_plugin_commands
    from ldm_core.errors import PluginError
    from ldm_core.plugins.registry import Plugin, Registry

    def wrong(pipe: Pipeline) -> list[Path]:
        """Go wrong."""
        return [Path(str(int("no number")))]

    registry = Registry()
    registry.plugins.append(Plugin("command", "wrong", "pkg", "1.2", wrong))
    app = typer.Typer()
    add_plugin_commands(app, registry)
    app.command("other")(lambda: None)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["wrong", "--model", str(folder)])
    assert type(result.exception) is PluginError
    assert type(result.exception.__cause__) is ValueError
    assert result.exception.message.startswith(
        "the command 'wrong' of the package pkg 1.2 failed while it ran: ValueError: invalid"
    )


@pytest.mark.parametrize("name", ["mask", "ldm-core:mask"])
def test_a_conditioning_by_its_full_id_is_that_conditioning(pipe: Pipeline, name: str) -> None:
    from ldm_pipelines.parts import conditioned

    own = pipe.replace(conditioning=["text", name])
    assert conditioned(own, "mask") is own


@pytest.mark.parametrize("name", ["embedded", "ldm-core:embedded"])
def test_guidance_that_a_network_needs_stays_under_any_name(tmp_path: Path, name: str) -> None:
    from ldm_pipelines.parts import unguided

    flux = Pipeline.from_pretrained(tiny.write_flux(tmp_path / "flux"), guidance=name)
    assert unguided(flux) is flux
    assert (
        unguided(flux.replace(guidance="classifier_free"))
        .recipe["guidance"]["name"]
        .endswith("none")
    )


def test_what_is_given_by_its_place_is_not_given_by_its_name_too(
    pipe: Pipeline, classes: Path, ldm: Any
) -> None:
    from ldm_pipelines.text_to_image import text_to_image

    with pytest.raises(LdmError, match="'prompt' is given twice"):
        text_to_image(pipe, "a red star", prompt="a blue circle")
    code, _, err = ldm("class-to-image", "1", "--class-label", "0", "--model", classes)
    assert (code, "'class_label' is given twice" in err) == (2, True)


def test_one_side_of_a_picture_alone_is_refused(pipe: Pipeline) -> None:
    from PIL import Image

    from ldm_pipelines.image_to_image import image_to_image

    with pytest.raises(LdmError, match="give both width and height"):
        image_to_image(pipe, Image.new("RGB", (16, 16)), "a red star", width=32)


def table(text: str, name: str = "t.csv") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def lines(folder: str) -> list[dict[str, Any]]:
    text = Path(folder, "metadata.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def test_a_row_says_its_own_seed_size_and_steps(ldm: Any, folder: Path, pipe: Pipeline) -> None:
    """Each picture is the one that a call with these arguments makes."""
    path = table(
        "prompt,seed,width,height,steps,guidance_scale,colour\n"
        "a red star,40,16,24,3,1.5,red\n"
        "a red star,40,16,24,2,1.5,red\n"
        "a blue star,7,,,,,blue\n"
    )
    code, _, err = ldm("augment", "--table", path, "--out", "set", "--model", folder, "--steps", 4)
    assert code == 0, err
    assert [(line["seed"], line["width"], line["colour"]) for line in lines("set")] == [
        (40, "16", "red"), (40, "16", "red"), (7, None, "blue"),
    ]  # fmt: skip
    size = {"width": 16, "height": 24, "seed": 40, "guidance_scale": 1.5}
    expected = [
        pipe("a red star", num_inference_steps=3, **size),
        pipe("a red star", num_inference_steps=2, **size),
        pipe("a blue star", seed=7),
    ]
    for line, out in zip(lines("set"), expected, strict=True):
        image, manifest = read_png(Path("set", line["file_name"]))
        assert (image.tobytes(), image.size) == (out.images[0].tobytes(), out.images[0].size)
        assert manifest["seed"] == line["seed"]


def test_pictures_of_a_row_count_up_from_its_seed(ldm: Any, folder: Path) -> None:
    path = table('{"prompt": "a", "seed": 5}\n{"prompt": "a", "seed": 5}\n', "t.jsonl")
    run = ("--table", path, "--out", "set", "--model", folder, "--steps", 1, "--num-images", 2)
    assert ldm("augment", *run)[0] == 0
    assert [line["seed"] for line in lines("set")] == [5, 6, 5, 6]


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("prompt,file_name\na,x.png\n", [], "column 'file_name', which is what a data set calls"),
        ("prompt,text\na,b\n", [], "column 'text', which is where a data set has its captions"),
        ("prompt,seed\na,1\n", ["--seed", "2"], "seed is given twice"),
        ("prompt,seed\na,1.5\n", [], "the seed in row 1 of the table should be a whole number"),
        ("prompt,width\na,16\nb,wide\n", [], "the width in row 2 .* whole number, not 'wide'"),
        ("prompt,width\na,15\n", [], "multiples of 2"),
        ("prompt,steps,num_inference_steps\na,1,1\n", [], "steps is given twice"),
        ("prompt,batch_size\na,1\n", [], "column 'batch_size' can be no label"),
        ("prompt,prompt\na,b\n", [], "two columns 'prompt'"),
        ("prompt,negative_prompt\na,\n,b\n", [], "a prompt should be text, not None"),
        ("prompt\n" + "x" * 200_000 + "\n", [], "field larger than field limit"),
    ],
)
def test_a_table_that_would_lose_or_mistake_something_is_refused(
    ldm: Any, folder: Path, text: str, more: list[str], message: str
) -> None:
    run = ("augment", "--table", table(text), "--out", "set", "--model", folder, *more)
    code, _, err = ldm(*run)
    assert code == 2
    assert re.search(message, err), err
    assert not Path("set").exists()


CELLS = ["a red\nstar", "a red\r\nstar", "a red\u2028star", 'a "red", star', "a\x85star", "a\x0cb"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_cells_are_what_was_written_into_them(tmp_path: Path, form: str) -> None:
    """By the libraries' own writers, with a byte order mark before them as Excel puts it."""
    path = tmp_path / f"T.{form.upper()}"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        if form == "csv":
            writer = csv.writer(file)
            writer.writerows([["prompt", "n"], *([cell, "1"] for cell in CELLS)])
        else:
            for cell in CELLS:
                file.write(json.dumps({"prompt": cell}, ensure_ascii=False) + "\r\n")
    assert [row["prompt"] for row in read_table(path)] == CELLS


def test_what_a_csv_gives_an_input_has_its_type(
    ldm: Any, folder: Path, picture: Path, classes: Path
) -> None:
    path = table("prompt,image,strength\n12,photo.png,0.5\n")
    run = ("--out", "set", "--steps", 2, "--set", 'conditioning=["text", "image"]')
    code, _, err = ldm("augment", "--table", path, "--model", folder, *run)
    assert code == 0, err
    inputs = read_png(Path("set/000000.png"))[1]["inputs"]
    assert (inputs["prompt"], inputs["strength"]) == ("12", 0.5)
    assert inputs["image"] == str(picture.resolve())
    path = table("class_label,negative_class_label\n1,tench\ngoldfish,0\n", "c.csv")
    assert ldm("augment", "--table", path, "--model", classes, "--out", "b", "--steps", 1)[0] == 0
    inputs = [read_png(Path("b", line["file_name"]))[1]["inputs"] for line in lines("b")]
    assert [[*i.values()] for i in inputs] == [[1, "tench"], ["goldfish", 0]]


def test_classes_that_would_share_a_folder_are_refused(ldm: Any, classes: Path) -> None:
    run = ("--classes", "a/b", "--classes", "a-b", "--model", classes, "--out", "set")
    code, _, err = ldm("augment", *run)
    assert (code, "would share the folder 'a-b'" in err) == (2, True)


def test_a_data_set_of_classes_trains_a_transformer(ldm: Any, classes: Path) -> None:
    from ldm_pipelines.training.data import open_source
    from ldm_pipelines.training.settings import TransformerSettings
    from ldm_pipelines.training.transformer import read_classes

    run = ("--classes", "tench", "--classes", "1", "--num-images", 2, "--steps", 1)
    assert ldm("augment", *run, "--model", classes, "--out", "set")[0] == 0
    source = open_source("set", resolution=16, need_captions=True)
    settings = TransformerSettings(out=Path("out"), autoencoder=Path("vae"), data="set")
    assert read_classes(source, settings) == ["1", "tench"]
    datasets = {path.parent.name for path in Path("set").rglob("*.png")}
    assert datasets == {*source.texts()}


@pytest.mark.slow
def test_several_processes_make_the_same_data_set(ldm: Any, folder: Path) -> None:
    path = table("prompt,colour\na red star,red\na blue star,blue\na green star,green\n")
    script = Path("run.py")
    script.write_text("from ldm_core.cli import main\nmain()\n")
    run = ["augment", "--table", path, "--model", folder, "--steps", 2, "--num-images", 3]
    assert ldm(*run, "--out", "one")[0] == 0
    words = [str(word) for word in (*run, "--out", "two")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    subprocess.run([*launch, str(script), *words], check=True)
    assert lines("two") == lines("one")
    assert {p.name for p in Path("two").iterdir()} == {p.name for p in Path("one").iterdir()}
    for line in lines("one"):
        images = [read_png(Path(place, line["file_name"]))[0] for place in ("one", "two")]
        apart = np.abs(np.subtract(*(np.asarray(image, dtype=int) for image in images)))
        assert apart.max() <= 1
    whole = {path.name: path.stat().st_mtime_ns for path in Path("two").glob("*.png")}
    for name in ("000002.png", "000007.png", "metadata.jsonl"):
        Path("two", name).unlink()
    subprocess.run([*launch, str(script), *words], check=True)  # which goes on
    assert lines("two") == lines("one")
    again = {path.name: path.stat().st_mtime_ns for path in Path("two").glob("*.png")}
    changed = {name for name in whole if again[name] != whole[name]}
    assert (again.keys(), changed) == (whole.keys(), {"000002.png", "000007.png"})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a", "x": NaN}', "line 1 of .* is no JSON: it has no NaN"),
        ('{"prompt": "a", "guidance_scale": [1]}', "guidance_scale in row 1 .* should be a number"),
    ],
)
def test_what_json_does_not_have_or_a_call_does_not_take_is_refused(
    ldm: Any, folder: Path, line: str, message: str
) -> None:
    path = table(line, "t.jsonl")
    code, _, err = ldm("augment", "--table", path, "--out", "set", "--model", folder)
    assert code == 2
    assert re.search(message, " ".join(err.split()))
