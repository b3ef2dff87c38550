"""The command line: pictures with their manifests, and one clear message for bad input."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.cli.streams import print_line
from ldm_core.errors import LdmError
from ldm_core.media.png import read_png
from ldm_core.media.sheet import save_sheet


def test_generate_writes_pictures_with_their_manifests(ldm: Any, folder: Path) -> None:
    code, out, _ = ldm(
        "generate", "a red star", "a blue circle", "--model", folder, "--steps", 3, "--seed", 7,
        "--num-images", 2, "--scheduler", "ddim", "--set", "scheduler.eta=0.5",
        "--negative-prompt", "green", "--out", "pics", "--json",
    )  # fmt: skip
    assert code == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [r["seed"] for r in records] == [7, 8, 9, 10]
    assert [r["prompt"] for r in records] == ["a red star"] * 2 + ["a blue circle"] * 2
    assert all(r["seconds"] > 0 for r in records)
    assert Path(records[0]["path"]).name == "a-red-star-seed7.png"
    image, manifest = read_png(Path(records[1]["path"]))
    assert image.size == (16, 16)
    assert manifest["recipe"]["scheduler"] == {
        "name": "ldm-core:ddim",
        "eta": 0.5,
        "clip": None,
    }
    assert manifest["inputs"] == {"prompt": "a red star", "negative_prompt": "green"}
    assert {"torch", "diffusers", "ldm-core"} <= set(manifest["versions"])


def test_command_line_and_python_make_the_same_picture(
    ldm: Any, folder: Path, pipe: Pipeline
) -> None:
    ldm("generate", "a red star", "--model", folder, "--steps", 4, "--seed", 7, "--size", "24x16")
    image = Image.open("pictures/a-red-star-seed7.png")
    assert image.tobytes() == pipe("a red star", seed=7, width=24, height=16).images[0].tobytes()


def test_pictures_already_made_are_never_overwritten(ldm: Any, folder: Path) -> None:
    for steps in (1, 2):
        ldm("generate", "a red star", "--model", folder, "--steps", steps, "--seed", 7)
    names = {path.name for path in Path("pictures").iterdir()}
    assert names == {"a-red-star-seed7.png", "a-red-star-seed7-2.png"}


def test_the_contact_sheet_holds_every_picture(ldm: Any, folder: Path) -> None:
    code, out, _ = ldm(
        "generate", "a red star", "a blue circle", "--model", folder, "--steps", 1,
        "--sheet", "s.png",
    )  # fmt: skip
    assert code == 0
    assert out.splitlines()[-1].endswith("s.png")
    assert Image.open("s.png").width > 2 * 192


@pytest.mark.parametrize(
    ("name", "form"), [("s.jpg", "JPEG"), ("S.WebP", "WEBP"), ("s.png", "PNG")]
)
def test_the_contact_sheet_is_what_its_suffix_says(
    ldm: Any, folder: Path, name: str, form: str
) -> None:
    run = ("generate", "a red star", "--model", folder, "--steps", 1)
    assert ldm(*run, "--sheet", name)[0] == 0
    assert Image.open(name).format == form
    assert {path.name for path in Path().iterdir()} == {name, "pictures"}


def test_a_contact_sheet_too_large_for_its_format_is_said(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="2x17000 cannot be written"):
        save_sheet(Image.new("RGB", (2, 17_000)), tmp_path / "s.webp")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "count"), [("s.webp", 10_000), ("s.jpg", 100_000)])
def test_a_sheet_that_its_format_cannot_hold_is_foreseen(
    ldm: Any, folder: Path, name: str, count: int
) -> None:
    run = ("generate", "a star", "--model", folder, "-n", count, "--sheet", name)
    code, _, err = ldm(*run)
    assert code == 2
    assert f"the contact sheet '{name}' would have" in err
    assert "s.png takes them" in err
    assert not Path("pictures").exists()


@pytest.mark.parametrize("name", ["s.gif", "sheet", "s.png.txt"])
def test_a_contact_sheet_of_another_suffix_is_refused(ldm: Any, folder: Path, name: str) -> None:
    code, _, err = ldm("generate", "a star", "--model", folder, "--sheet", name)
    assert (code, "ends in .png, .jpg, .jpeg or .webp" in err) == (2, True)
    assert not Path("pictures").exists()


def test_a_manifest_does_not_tell_how_the_run_was_watched(ldm: Any, folder: Path) -> None:
    run = ("generate", "a red star", "--model", folder, "--steps", 1, "--seed", 7)
    ldm(*run, "--out", "plain")
    ldm(*run, "--out", "json", "--json")
    recipe = Path("r.toml")
    recipe.write_text('observers = ["progress_bar"]\n')
    ldm(*run, "--out", "recipe", "--recipe", recipe)
    files = [Path(out, "a-red-star-seed7.png") for out in ("plain", "json", "recipe")]
    assert len({file.read_bytes() for file in files}) == 1
    assert "observer" not in json.dumps(read_png(files[0])[1])


def test_help_shows_no_marks_of_pages(ldm: Any) -> None:
    """Of every command, those in groups too."""
    pending: list[tuple[str, ...]] = [()]
    seen = 0
    while pending:
        words = pending.pop()
        code, out, _ = ldm(*words, "--help")
        assert (code, "`" in out) == (0, False), (words, out)
        listed = out.partition("Commands")[2]
        pending += [(*words, name) for name in re.findall(r"^│ ([a-z][\w-]*)  ", listed, re.M)]
        seen += 1
    assert seen > 25
    assert "`" not in ldm("plugins", "show", "text")[1] + ldm("plugins", "list")[1]


SETTINGS: list[list[str]] = [
    ["--set", "guidance.scale=3", "--set", "guidance.rescale=0.5"],
    ["--set", "guidance.rescale=0.5", "--guidance-scale", "3"],
    ["--recipe", "scale.toml", "--set", "guidance.rescale=0.5"],
    ["--recipe", "rescale.toml", "--guidance-scale", "3"],
    ["--recipe", "rescale.toml", "--set", "guidance.scale=3"],
]


@pytest.mark.parametrize("arguments", SETTINGS, ids=" ".join)
def test_options_without_a_name_are_added_to_those_below(
    ldm: Any, folder: Path, arguments: list[str]
) -> None:
    Path("scale.toml").write_text("[guidance]\nscale = 3.0\n")
    Path("rescale.toml").write_text("[guidance]\nrescale = 0.5\n")
    code, out, err = ldm("explain", "--model", folder, "--json", *arguments)
    assert code == 0, err
    stages = {stage["stage"]: stage for stage in json.loads(out)["stages"]}
    assert stages["guidance"]["name"] == "classifier_free"
    assert stages["guidance"]["options"]["scale"] == 3
    assert stages["guidance"]["options"]["rescale"] == 0.5


def test_replay_makes_the_same_picture_again(ldm: Any, folder: Path) -> None:
    ldm(
        "generate", "a red star", "--model", folder, "--steps", 3, "--seed", 7,
        "--scheduler", "euler_ancestral", "--spacing", "karras", "--guidance-scale", 2,
        "--size", "24x16",
    )  # fmt: skip
    code, out, err = ldm("replay", "--allow-files", "pictures/a-red-star-seed7.png", "--json")
    record = json.loads(out)
    assert (code, err) == (0, f"the manifest asks for the file {folder}\n")
    assert record["differs"] == []
    assert record["verdict"] == "the same picture, pixel for pixel"
    assert Path(record["path"]).exists()


def test_replay_says_what_differs(ldm: Any, copied: Path) -> None:
    ldm("generate", "a red star", "--model", copied, "--steps", 2, "--seed", 7)
    config = copied / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.02"))
    path = Path("pictures/a-red-star-seed7.png")
    image, manifest = read_png(path)
    manifest["versions"]["torch"] = "1.0"
    image.putpixel((3, 3), (1, 2, 3))
    from ldm_core.media.png import save_png

    save_png(image, manifest, path, overwrite=True)
    code, out, err = ldm("replay", "--allow-files", path)
    assert code == 0
    assert "torch: 1.0 then" in err
    assert "changed after it was made" in err
    assert "model's files are not those of then" in err
    assert "another picture" in out


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unconditional model of grey pixels."""
    folder = tmp_path_factory.mktemp("models") / "Grey Noise"
    return tiny.write_ddpm(folder, in_channels=1, out_channels=1)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class-conditional model: 0 is tench, 1 goldfish."""
    return tiny.write_dit(tmp_path_factory.mktemp("models") / "dit")


def test_a_model_without_conditions_needs_nothing_but_a_seed(ldm: Any, grey: Path) -> None:
    code, out, _ = ldm(
        "generate", "--model", grey, "--steps", 2, "--seed", 7, "--num-images", 3,
        "--batch-size", 2, "--sheet", "s.png", "--json",
    )  # fmt: skip
    assert code == 0
    records = [json.loads(line) for line in out.splitlines()]
    assert [r["seed"] for r in records] == [7, 8, 9]
    assert [(r["prompt"], r["inputs"]) for r in records] == [(None, {})] * 3
    assert [Path(r["path"]).name for r in records] == [f"grey-noise-seed{n}.png" for n in (7, 8, 9)]
    assert Image.open(records[0]["path"]).mode == "L"
    assert Image.open("s.png").mode == "RGB"
    verdict = json.loads(ldm("replay", "--allow-files", records[1]["path"], "--json")[1])
    assert (verdict["max_difference"], verdict["differs"]) == (0, [])


def test_any_input_is_given_by_name(ldm: Any, classes: Path) -> None:
    run = ("--model", classes, "--steps", 2, "--seed", 7, "--json")
    code, out, _ = ldm("generate", *run, "--input", "class_label=GOLDFISH", "--sheet", "s.png")
    assert code == 0
    record = json.loads(out)
    assert Path(record["path"]).name == "class-label-goldfish-seed7.png"
    assert record["inputs"] == {"class_label": "GOLDFISH", "negative_class_label": None}
    verdict = json.loads(ldm("replay", "--allow-files", record["path"], "--json")[1])
    assert (verdict["max_difference"], verdict["differs"]) == (0, [])
    by_number = json.loads(
        ldm("generate", *run, "--input", "class_label = 1", "--input", "negative_class_label=0")[1]
    )
    assert by_number["inputs"] == {"class_label": 1, "negative_class_label": 0}


def test_a_list_is_one_entry_an_image(ldm: Any, classes: Path) -> None:
    code, out, _ = ldm(
        "generate", "--model", classes, "--steps", 1, "--seed", 7, "--num-images", 2, "--json",
        "--input", "class_label=[1, 'tench']", "--batch-size", 3,
    )  # fmt: skip
    assert code == 0
    made = [(r["inputs"]["class_label"], r["seed"]) for r in map(json.loads, out.splitlines())]
    assert made == [(1, 7), (1, 8), ("tench", 9), ("tench", 10)]
    names = {path.name for path in Path("pictures").iterdir()}
    assert names == {
        *("class-label-1-seed7.png", "class-label-1-seed8.png"),
        *("class-label-tench-seed9.png", "class-label-tench-seed10.png"),
    }


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("folder", [], r"draws from a prompt, and none is given"),
        ("folder", ["a star", "--input", "prompt=a circle"], "'prompt' is given twice"),
        ("folder", ["a star", "--input", "seed=3"], "'seed' is no input of a model"),
        ("folder", ["a star", "--input", "self=3"], "'self' is no input of a model"),
        ("folder", ["a", "--width", "16", "--size", "32x32"], "'width' is given twice: --size"),
        ("folder", ["a", "--negative-prompt", "--seed", "3"], "--negative-prompt needs a value"),
        ("folder", ["a star", "--input", "negative_promt=red"], "Did you mean 'negative_prompt'"),
        ("folder", ["a star", "--input", "red"], "should look like NAME=VALUE"),
        ("folder", ["a", "b", "--input", "negative_prompt=['c']"], "1 of 'negative_prompt'"),
        ("grey", ["a star"], "takes no prompt; it takes nothing but a seed"),
        ("grey", ["--negative-prompt", "red"], "takes no 'negative_prompt'"),
        ("grey", ["--input", "class_label=1"], "takes no 'class_label'"),
        ("classes", [], "needs --input class_label=VALUE"),
        ("classes", ["a star"], "takes no prompt; it takes --input class_label=VALUE"),
        ("classes", ["--input", "class_label=1000"], "no class 1000"),
        ("classes", ["--input", "class_label=gold fish"], "Did you mean 'goldfish'"),
        ("classes", ["--input", "class_label=[]"], "0 of 'class_label'"),
    ],
)
def test_inputs_that_the_model_cannot_use_are_refused(
    ldm: Any, request: pytest.FixtureRequest, model: str, arguments: list[str], message: str
) -> None:
    code, out, err = ldm("generate", "--model", request.getfixturevalue(model), *arguments)
    assert (code, out) == (2, "")
    assert re.search(message, err)
    assert not Path("pictures").exists()


def test_ctrl_c_keeps_the_pictures_already_written(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = Pipeline.sample
    batches = []

    def interrupted(self: Pipeline, request: Any, on_step: Any = None) -> Any:
        batches.append(request)
        if len(batches) == 2:
            raise KeyboardInterrupt
        return sample(self, request, on_step)

    monkeypatch.setattr(Pipeline, "sample", interrupted)
    code, _, err = ldm(
        "generate", "a red star", "--model", folder, "--steps", 1, "--num-images", 4,
        "--batch-size", 2, "--seed", 7,
    )  # fmt: skip
    assert code == 130
    assert "2 pictures are in pictures" in err
    names = {path.name for path in Path("pictures").iterdir()}
    assert names == {"a-red-star-seed7.png", "a-red-star-seed8.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler", "dpmpp2m"], "Did you mean 'dpmpp_2m'"),
        (["--set", "scheduler.etta=1"], "Did you mean 'eta'"),
        (["--set", "scheduler.eta=lots"], "should be float"),
        (["--attention", "chunked", "--set", "attention.query_chunk=0"], r"int \| None, not 0"),
        (["--scheduler", "unipc", "--set", "scheduler.order=7"], "not 7"),
        (["--set", 'denoisers=[{name="clip_x0", limit=-1.0}]'], "float, not -1.0"),
        (["--set", "nonsense"], "hook.option=value"),
        (["--model", "shaps"], "Did you mean 'shapes'"),
        (["--model", "./nowhere"], "no folder"),
        (["--model", "."], "no model_index.json"),
        (["--size", "17x16"], "multiples of"),
        (["--size", "big"], "width x height"),
        (["--steps", "0"], "at least 1"),
        (["--steps", "5000"], "trained on 1000"),
        (["--seed", "-4"], "a seed is"),
        (["--recipe", "missing.toml"], "cannot be read"),
        (["--recipe", "typo.toml"], "Did you mean 'scheduler'"),
        (["--guidance", "none", "--guidance-scale", "3"], "has no strength"),
        (["--attention", "xformers"], "CUDA|type cuda"),
        (["--device", "tpu"], "no device named"),
        (["--out", "typo.toml"], "cannot be the folder"),
        (["--no-such-flag"], "no-such-flag"),
        (["--num-images", "0"], "at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_message_and_exit_code_2(
    ldm: Any, folder: Path, arguments: list[str], message: str
) -> None:
    Path("typo.toml").write_text('shceduler = "ddim"\n')
    model = [] if "--model" in arguments else ["--model", str(folder)]
    code, out, err = ldm("generate", "a red star", *model, *arguments)
    assert code == 2
    assert re.search(message, err)
    assert out == ""
    assert not Path("pictures").exists()


def test_damaged_weights_are_bad_input(ldm: Any, copied: Path) -> None:
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    code, _, err = ldm("generate", "a red star", "--model", copied)
    assert (code, "cut off or damaged" in err) == (2, True)
    file.rename(file.with_suffix(".bin"))
    code, _, err = ldm("generate", "a red star", "--model", copied)
    assert (code, "pickled weights" in err) == (2, True)


def test_an_empty_prompt_is_bad_input(ldm: Any, folder: Path) -> None:
    code, _, err = ldm("generate", "", "--model", folder)
    assert (code, "prompt is empty" in err) == (2, True)


def test_a_prompt_that_is_too_long_is_reported(ldm: Any, folder: Path) -> None:
    words = "a large red circle and a small blue star on a green background"
    code, out, err = ldm("generate", words, "--model", folder, "--steps", 1, "--json")
    assert code == 0
    assert "is left out" in err
    assert "background" in json.loads(out)["warnings"][0]
    code, _, err = ldm(
        "generate", words, "--model", folder, "--recipe", _recipe("error"), "--out", "other"
    )
    assert (code, list(Path("other").iterdir())) == (2, [])
    assert "does not fit" in err


def _recipe(too_long: str) -> Path:
    path = Path("r.toml")
    path.write_text(f'conditioning = [{{ name = "text", too_long = "{too_long}" }}]\n')
    return path


DAMAGED = {"format": 1, "recipe": {"model": "shapes"}, "seed": 1, "inputs": {}, "versions": {}}


@pytest.mark.parametrize("make", ["text", "plain", "damaged"])
def test_what_cannot_be_replayed_is_said(ldm: Any, make: str) -> None:
    path = Path("x.png")
    if make == "text":
        path.write_text("no picture")
    else:
        image = Image.new("RGB", (4, 4))
        from ldm_core.media.png import save_png

        image.save(path) if make == "plain" else save_png(image, DAMAGED, path)
    code, _, err = ldm("replay", "--allow-files", path)
    assert code == 2
    assert err.startswith("error: ")


def test_plugins_and_models_are_listed_for_programs(ldm: Any) -> None:
    records = json.loads(ldm("plugins", "list", "--kind", "scheduler", "--json")[1])
    assert {"ddpm", "ddim", "euler", "euler_ancestral", "heun", "dpmpp_2m"} <= {
        r["name"] for r in records
    }
    assert all(r["distribution"] and r["version"] and r["summary"] for r in records)
    (shown,) = json.loads(ldm("plugins", "show", "ddim", "--json")[1])
    assert shown["options"][0]["name"] == "eta"
    models = json.loads(ldm("models", "list", "--json")[1])
    assert [m["name"] for m in models] == ["digits", "moving-shapes", "shapes", "tones"]
    assert ldm("plugins", "show", "dimm")[0] == 2
    assert ldm("plugins", "list", "--kind", "samplers")[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--kind", "model"),
        ("list", "--kind", "models"),
        ("show", "shapes"),
        ("show", "ldm-core:shapes"),
        ("show", "shapes", "--kind", "model"),
    ],
)
def test_who_asks_for_a_model_is_sent_to_the_models(ldm: Any, words: tuple[str, ...]) -> None:
    code, _, said = ldm("plugins", *words)
    assert (code, "`ldm models list`" in said, "Did you mean" in said) == (2, True, False), said


def test_a_recipe_is_checked_and_printed_in_full(ldm: Any, folder: Path) -> None:
    Path("r.toml").write_text(f'model = "{folder}"\nscheduler = "heun"\n')
    code, out, _ = ldm("recipe", "check", "r.toml", "--set", "spacing=karras")
    assert code == 0
    assert "heun" in out
    assert "karras" in out
    code, _, err = ldm("recipe", "check", "r.toml", "--set", "spacing=karas")
    assert (code, "Did you mean 'karras'" in err) == (2, True)


def test_explain_shows_stages_grid_and_table(ldm: Any, folder: Path) -> None:
    code, out, _ = ldm(
        "explain", "--model", folder, "--scheduler", "heun", "--steps", 3, "--json",
        "--set", "spacing=trailing",
    )  # fmt: skip
    report = json.loads(out)
    assert code == 0
    chosen = {stage["stage"]: (stage["name"], stage["chosen_by"]) for stage in report["stages"]}
    assert chosen["scheduler"] == ("heun", "you")
    assert chosen["spacing"] == ("trailing", "you")
    assert chosen["guidance"] == ("classifier_free", "model")
    assert [round(point["t"]) for point in report["grid"]] == [999, 666, 332, 0]
    # Two evaluations for each of two steps, one for the last, and the end itself.
    assert len(report["table"]["rows"]) == 6
    assert report["table"]["symbols"] == ["x", *(f"x0[{i}]" for i in range(5))]
    assert report["table"]["rows"][0]["coefficients"] == [1.0] + [0.0] * 5
    code, out, _ = ldm("explain", "--model", folder, "--steps", 3)
    assert code == 0
    assert "3 evaluations" in out


def test_the_version_is_printed(ldm: Any) -> None:
    from importlib.metadata import version

    assert ldm("--version")[:2] == (0, f"ldm {version('ldm-core')}\n")


def test_a_relative_folder_is_found_again_from_elsewhere(
    ldm: Any, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied.parent)
    code, _, _ = ldm("generate", "a red star", "--model", copied.name, "--steps", 1, "--seed", 7)
    assert code == 0
    picture = Path("pictures/a-red-star-seed7.png").resolve()
    (copied.parent / "elsewhere").mkdir()
    monkeypatch.chdir(copied.parent / "elsewhere")
    assert ldm("replay", "--allow-files", picture)[0] == 0


def test_switches_of_a_plugins_command_can_be_turned_off() -> None:
    import typer
    from typer.testing import CliRunner

    from ldm_core.cli.later import add_plugin_commands
    from ldm_core.plugins.registry import Plugin, Registry

    heard = []

    def work(*, resume: bool = True, count: int = 1) -> None:
        """Work.

        Args:
            resume: go on.
            count: how often.
        """
        if count < 0:
            raise ValueError("count must not be negative")
        heard.append((resume, count))

    registry = Registry()
    registry.plugins.append(Plugin("command", "do work", "pkg", "1", work))
    app = typer.Typer()
    add_plugin_commands(app, registry)
    app.command("other")(lambda: None)
    run = CliRunner().invoke(app, ["do", "work", "--no-resume", "--count", "3"])
    assert run.exit_code == 0, run.output
    assert heard == [(False, 3)]
    bad = CliRunner().invoke(app, ["do", "work", "--count", "-1"])
    assert "must not be negative" in str(bad.exception)


@pytest.mark.parametrize("command", ["plugins list", "models list", "explain --steps 3"])
def test_a_reader_that_has_gone_is_not_complained_of(command: str) -> None:
    """As with ``ldm explain | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    program = [sys.executable, "-c", "from ldm_core.cli import main; main()", *command.split()]
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        program, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=buffered
    )
    os.close(writer)
    assert ended.stderr == ""


def test_a_path_is_printed_by_its_very_name(ldm, folder, tmp_path):
    out = "\x1b[31mred\N{BELL}"
    code, printed, _ = ldm(
        "generate", "a", "--model", folder, "--steps", 1, "--seed", 1, "--out", out
    )
    assert code == 0
    assert printed == f"{out}/a-seed1.png\n"
    assert (tmp_path / printed[:-1]).is_file()


def test_no_name_steers_a_terminal(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    print_line("pictures/\x1b[2Jé.png")
    assert terminal.getvalue() == "pictures/\\x1b[2Jé.png\n"


def test_what_a_plugin_refuses_in_a_run_says_what_is_kept(ldm, folder, tmp_path):
    file = tmp_path / "picky_ones.py"
    file.write_text(
        "from ldm_core import LdmError, hookimpl\nldm_api = '>=2,<3'\n"
        "def picky(x, grid, denoise, noise):\n"
        "    raise LdmError('so few steps are too few')\n"
        "@hookimpl\n"
        "def ldm_schedulers(register):\n"
        "    register('picky', picky)\n"
    )
    words = ("generate", "a star", "--model", folder, "--scheduler", "picky", "--steps", 2)
    code, _, err = ldm("--plugin", file, *words)
    assert code == 2
    assert "so few steps are too few\n  no picture of this run is in" in err, err
