"""Replaying pictures of strangers: what runs, what is read, and what is asked for first."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tiny
from audited import audited
from ldm_core import LdmError, Output, Pipeline
from ldm_core.cli import repeating
from ldm_core.contracts import FileName, InputPath, OutputPath
from ldm_core.contracts.files import WRITTEN, parts_of
from ldm_core.media.manifest_record import Command
from ldm_core.media.png import read_png, save_png
from ldm_core.plugins.registry import Plugin, Registry, installed
from ldm_core.run.in_batches import InBatches, in_batches
from ldm_pipelines.interpolate import interpolate


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The files and folders that are opened, as the interpreter itself tells."""

    paths: list[str] = []

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and arguments:
            paths.append(str(arguments[0]))

    with audited(hear):
        yield paths


@pytest.fixture(scope="module")
def beside(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures with a model in it, which a picture there reads without a word."""
    root = tmp_path_factory.mktemp("beside")
    shutil.copytree(folder, root / "model")
    pipe = Pipeline.from_pretrained(root / "model", num_inference_steps=1)
    star = pipe("a red star", seed=7)
    save_png(star.images[0], star.manifests[0], root / "star.png")
    frames = interpolate(pipe, "a", "b", num_images=2, seed=7)
    command = {"name": "ldm-core:interpolate", "arguments": ["a", "b"], "image": 1}
    frames.manifests[1]["command"] = {**command, "options": {"num_images": 2, "seed": 7}}
    save_png(frames.images[1], frames.manifests[1], root / "frame.png")
    return root


def changed(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A picture beside another, with another manifest."""
    image, manifest = read_png(path)
    change(manifest)
    other = path.with_name("changed.png")
    save_png(image, manifest, other, overwrite=True)
    return other


def test_a_frame_is_made_again_without_its_film(ldm: Any, beside: Path) -> None:
    run = ("--model", beside / "model", "--steps", 1, "--seed", 7, "--out", beside)
    ways = ("interpolate", "a red star", "a blue circle", "--num-images", 3, *run)
    code, out, err = ldm(*ways, "--film", "x.gif")
    assert code == 0, err
    assert Path("x.gif").stat().st_size > 0
    assert out.splitlines()[-1] == f"film: {Path('x.gif').resolve()}"
    code, out, err = ldm(*ways, "--film", "x.gif", "--json")  # which is there, and the same
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[-1] == {"path": str(Path("x.gif").resolve()), "option": "film"}
    frame = lines[0]["path"]
    Path("x.gif").write_text("mine")
    code, out, err = ldm("replay", frame, "--json", "--allow-files")
    assert (code, json.loads(out)["max_difference"]) == (0, 0)
    assert err == "the option 'film' names what to write, and is left out: " + (
        "a picture alone is made again\n"
    )
    assert Path("x.gif").read_text() == "mine"


@pytest.mark.parametrize("name", ["valuable.gif", "valuable.png", "new.gif"])
def test_a_stranger_writes_over_nothing(ldm: Any, beside: Path, name: str) -> None:
    path = Path(name).absolute()
    if name.startswith("valuable"):
        path.write_text("mine")
    frame = changed(
        beside / "frame.png", lambda m: m["command"]["options"].update(animation=str(path))
    )
    assert ldm("replay", frame, "--allow-files")[0] == 0
    assert path.exists() == name.startswith("valuable")
    assert not path.exists() or path.read_text() == "mine"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ({"name": "augment", "options": {"out": "set", "classes": ["0"]}}, "gives no pictures"),
        ({"name": "features", "options": {"out": "x.safetensors"}}, "gives no pictures"),
        ({"name": "train denoiser"}, "gives no pictures"),
        ({"name": "generate"}, "no command named 'generate'"),
        ({"options": {"sheet": "s.png"}}, None),
        ({"options": {"on_step": "x"}}, "has no option 'on_step'"),
        ({"options": {"output_type": "latent"}}, "has no option 'output_type'"),
        ({"options": {"inputs": {"prompt": "a"}}}, "has no option 'inputs'"),
        ({"options": {"prompts": "a"}}, "has no option 'prompts'"),
        ({"options": {"pipe": "a"}}, "has no option 'pipe'"),
        ({"options": {"a b": "a"}}, "has no option 'a b'"),
        ({"options": {"num_image": 3}}, None),
        ({"options": {"num_images": "many"}}, "option 'num_images' .* should be int"),
        ({"options": {"num_images": 1}}, "option 'num_images' .* should be int"),
        ({"options": {"seeds": {"a": 1}}}, "option 'seeds' .* should be"),
        ({"arguments": [{"a": 1}, "b"]}, "option 'prompts' .* should be str"),
        ({"arguments": "ab"}, "damaged: command.arguments is wrong"),
        ({"image": 99}, "makes fewer pictures than it says"),
        ({"image": -1}, "damaged: command.image is wrong"),
        ({"image": True}, "damaged: command.image is wrong"),
    ],
)
def test_a_command_is_called_as_it_declares_or_not_at_all(
    ldm: Any, beside: Path, command: dict[str, Any], message: str | None
) -> None:
    frame = changed(beside / "frame.png", lambda m: m["command"].update(command))
    before = {*Path().rglob("*"), *beside.rglob("*")}
    code, _, err = ldm("replay", frame, "--allow-files")
    assert code == 2
    assert err.count("error: ") == 1
    if message is not None:
        assert re.search(message, err), err
    assert {*Path().rglob("*"), *beside.rglob("*")} == before


@in_batches
def third(
    pipe: Pipeline,
    source: InputPath,
    *,
    log: Path | None = None,
    table: InputPath | None = None,
    also: OutputPath | None = None,
    style: FileName = "",
    words: str = "",
    **call: Any,
) -> Iterator[Output]:
    """Draw."""
    yield from pipe.batches("a", **call)


@in_batches
def places(pipe: Pipeline, target: OutputPath, **call: Any) -> Iterator[Output]:
    """Draw."""
    yield from pipe.batches("a", **call)


@pytest.fixture
def registry() -> Registry:
    others = Registry()
    others.plugins += [
        Plugin("command", "third", "pkg", "1", third),
        Plugin("command", "places", "pkg", "1", places),
    ]
    return others


def call(name: str = "third", arguments: Any = ("a.png",), **options: Any) -> Command:
    return Command(name=name, arguments=list(arguments), options=options, image=0)


def test_a_packages_command_says_what_it_reads_and_writes(registry: Registry) -> None:
    made = repeating.repeated(call(also="x", table="t.csv", seed=3, words="a"), registry)
    assert made.left_out == ["also"]
    assert {name: value for name, (_, value) in made.options.items()} == {
        "table": Path("t.csv"),
        "words": "a",
    }
    assert made.more == {"seed": 3}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (call(log="x"), "does not say whether its 'log' is read or written"),
        (call("places", ["x"]), "writes 'target', and what writes is not repeated"),
        (call(arguments=[]), "takes no 0 arguments"),
        (call(arguments=["a", "b"]), "takes no 2 arguments"),
        (call(source="b"), "no option 'source'"),
    ],
)
def test_what_a_packages_command_does_not_declare_is_refused(
    registry: Registry, command: Command, message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        repeating.repeated(command, registry)


def test_no_command_here_has_a_path_of_which_nothing_is_said() -> None:
    for plugin in installed().of_kind("command"):
        if isinstance(plugin.loaded, InBatches):
            for option in plugin.options.values():
                parts = parts_of(option.annotation)
                assert Path not in parts or {WRITTEN, Image.Image} & parts, (plugin.id, option)


def test_all_that_lies_elsewhere_is_named_before_any_of_it_is_read(
    ldm: Any, beside: Path, folder: Path, tmp_path: Path, opened: list[str]
) -> None:
    """Named outright, by a symbolic link beside the picture, and by a link in a folder there."""
    secret = tmp_path / "secret"
    control = tiny.write_controlnet(secret / "control", folder)
    for name in ("picture.png", "table.csv", "lora.safetensors", "linked.png", "deep.json"):
        (secret / name).write_bytes(b"x")
    pictures = Path(shutil.copytree(beside, tmp_path / "pictures"))
    (pictures / "linked.png").symlink_to(secret / "linked.png")
    (pictures / "model" / "deep.json").symlink_to(secret / "deep.json")

    def ask(manifest: dict[str, Any]) -> None:
        manifest["recipe"]["model"] = "pictures/model"
        manifest["recipe"]["loras"] = [{"path": str(secret / "lora.safetensors"), "scale": 1.0}]
        manifest["recipe"]["conditioning"] += [
            {"name": "control", "models": [{"path": str(control)}]},
            {"name": "image", "other": [{"anything": str(secret / "table.csv")}]},
        ]
        manifest["inputs"]["image"] = "pictures/linked.png"
        manifest["inputs"]["control_image"] = [str(secret / "picture.png")]

    picture = changed(pictures / "star.png", ask)
    opened.clear()
    code, out, err = ldm("replay", picture)
    assert (code, out) == (2, "")
    names = ["control", "deep.json", "linked.png", "lora.safetensors", "picture.png", "table.csv"]
    listed = ", ".join(f"the file {secret / name}" for name in names)
    assert err.startswith(f"error: the manifest asks for what does not lie beside it: {listed}.\n")
    assert "--allow-files allows it" in err
    assert "--allow-hub" not in err
    assert str(picture.absolute()) in [str(Path(path).absolute()) for path in opened]
    assert not [path for path in opened if path.startswith(str(secret))]


def test_a_models_own_recipe_is_seen_too(ldm: Any, beside: Path, tmp_path: Path) -> None:
    (tmp_path / "ink.safetensors").write_bytes(b"x")
    pictures = Path(shutil.copytree(beside, tmp_path / "pictures"))
    picture = changed(
        pictures / "star.png", lambda m: m["recipe"].update(model=str(pictures / "model"))
    )
    (pictures / "model" / "ldm.toml").write_text(f'loras = ["{tmp_path}/ink.safetensors"]\n')
    code, _, err = ldm("replay", picture)
    assert (code, f"the file {tmp_path / 'ink.safetensors'}" in err) == (2, True)


def test_a_model_elsewhere_is_not_looked_into_before_it_is_allowed(
    ldm: Any, beside: Path, tmp_path: Path, opened: list[str]
) -> None:
    """Then its own recipe asks in its turn."""
    model = Path(shutil.copytree(beside / "model", tmp_path / "model"))
    (model / "ldm.toml").write_text('loras = ["o/l"]\n')
    picture = changed(beside / "star.png", lambda m: m["recipe"].update(model=str(model)))
    opened.clear()
    code, _, err = ldm("replay", picture)
    assert (code, f"beside it: the file {model}.\n" in err) == (2, True)
    assert not [path for path in opened if path.startswith(str(model))]
    code, _, err = ldm("replay", picture, "--allow-files")
    assert (code, "beside it: o/l of the Hub.\n  --allow-hub allows it" in err) == (2, True)


def test_what_is_hidden_beside_a_picture_is_asked_for(ldm: Any, beside: Path) -> None:
    """A picture in a home folder does not read what other programs keep there."""
    shutil.copytree(beside / "model", beside / ".keys" / "model")
    hidden = str(beside / ".keys" / "model")
    picture = changed(beside / "star.png", lambda m: m["recipe"].update(model=hidden))
    code, _, err = ldm("replay", picture)
    assert (code, f"the file {hidden}." in err) == (2, True)


def test_what_lies_beside_a_picture_or_is_typed_needs_no_leave(
    ldm: Any, beside: Path, folder: Path
) -> None:
    assert ldm("replay", beside / "star.png")[::2] == (0, "")
    picture = changed(beside / "star.png", lambda m: m["recipe"].update(model=str(folder)))
    assert ldm("replay", picture)[0] == 2
    assert ldm("replay", picture, "--model", folder)[::2] == (0, "")
    code, _, err = ldm("replay", picture, "--allow-files")
    assert (code, err) == (0, f"the manifest asks for the file {folder}\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "expected"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_on_a_terminal_the_person_is_asked(
    ldm: Any,
    beside: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    expected: int,
) -> None:
    picture = changed(beside / "star.png", lambda m: m["recipe"].update(model=str(folder)))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", terminal)
    code, _, _ = ldm("replay", picture)
    assert code == expected
    assert (
        f"the manifest asks for the file {folder}\nis it to have that? [y/N]" in terminal.getvalue()
    )


def test_plugins_that_are_not_installed_are_named_with_their_package(
    ldm: Any, beside: Path
) -> None:
    def foreign(manifest: dict[str, Any]) -> None:
        manifest["recipe"]["scheduler"] = {"name": "swirl"}
        manifest["recipe"]["denoisers"] = [{"name": "their-pkg:sharpen"}]
        manifest["plugins"] += ["scheduler their-pkg:swirl"]

    code, _, err = ldm("replay", changed(beside / "star.png", foreign))
    assert code == 2
    assert "made by plugins that are not installed: denoiser 'sharpen' of their-pkg, " in err
    assert "scheduler 'swirl' of their-pkg." in err
    assert "`pip install their-pkg` does it" in err
