"""Paths: a tilde is the home folder wherever one is given, and a manifest names files in full."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import tiny
from forked import Server, output_of
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.recipe import read_recipe
from ldm_core.contracts.files import expanded, parts_of
from ldm_core.media.png import read_png, save_png
from ldm_core.plugins.registry import installed
from ldm_pipelines.augment import augment
from ldm_pipelines.features import features
from ldm_pipelines.interpolate import interpolate
from ldm_pipelines.training.data import open_source
from ldm_pipelines.training.settings import AutoencoderSettings, DenoiserSettings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A home folder with the tiny model, a picture, a mask and a recipe."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("HOME", str(place))
    (place / "model").symlink_to(folder)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(place / "a.png")
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    mask.save(place / "mask.png")
    (place / "r.toml").write_text('model = "~/model"\nnum_inference_steps = 2\n')
    (place / "t.csv").write_text("prompt,image\na star,~/a.png\n")
    return place


def test_a_tilde_that_is_no_ones_home_is_a_name() -> None:
    assert expanded("~nobody-of-this-name/a") == Path("~nobody-of-this-name/a")
    assert expanded("~a.png") == Path("~a.png")
    with pytest.raises(LdmError, match=r"~a\.toml cannot be read: No such file"):
        read_recipe(Path("~a.toml"))


COMMANDS: dict[str, list[str]] = {
    "generate": ["a star", "--recipe=~/r.toml", "--out=~/out", "--sheet=~/deep/s.png"],
    "image-to-image": ["~/a.png", "a star", "--recipe=~/r.toml", "--out=~/out"],
    "inpaint": ["~/a.png", "a star", "--mask=~/mask.png", "--model=~/model", "--out=~/out"],
    "interpolate": [
        *("--images=~/a.png", "--images=~/mask.png", "--recipe=~/r.toml", "--out=~/out"),
        *("--num-images=2", "--film=~/way.gif"),
    ],
    "features": ["~/", "--out=~/x.safetensors", "--recipe=~/r.toml"],
    "augment": ["--table=~/t.csv", "--out=~/set", "--recipe=~/r.toml", "--set=conditioning=IMAGE"],
    "explain": ["--recipe=~/r.toml", "--plot=~/p.png"],
    "recipe": ["check", "~/r.toml"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_takes_a_tilde(ldm: Any, home: Path, command: str) -> None:
    words = [word.replace("IMAGE", '["text", "image"]') for word in COMMANDS[command]]
    code, _, err = ldm(command, *words)
    assert code == 0, err
    for word in words:
        option, equals, path = word.partition("=~/")
        if equals and option in ("--out", "--sheet", "--film", "--plot"):
            assert (home / path).exists(), word
    assert not Path("~").exists()


def test_replay_takes_a_tilde(ldm: Any, home: Path) -> None:
    ldm("generate", "a star", "--recipe=~/r.toml", "--out=~/out", "--seed=1")
    code, _, err = ldm(
        "replay", "--allow-files", "~/out/a-star-seed1.png", "--model=~/model", "--out=~/again"
    )
    assert (code, err) == (0, "")
    assert [path.name for path in (home / "again").iterdir()] == ["a-star-seed1-replay.png"]


def test_python_takes_a_tilde(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipeline.from_pretrained("~/model", recipe="~/r.toml")
    both = pipe.replace(conditioning=["text", "image"])
    assert both("a star", image="~/a.png", seed=1).images
    regional = pipe.replace(conditioning=["regions"])
    regional("a star", regions=[{"prompt": "a", "mask": "~/mask.png"}], seed=1)
    interpolate(pipe, images=["~/a.png", "~/mask.png"], num_images=2, film="~/way.gif")
    features(pipe, Path("~/"), out=Path("~/x.safetensors"))
    augment(both, out=Path("~/set"), table=Path("~/t.csv"))
    assert {"way.gif", "x.safetensors", "set"} <= {path.name for path in home.iterdir()}
    assert open_source("~/", resolution=16).draw(np.random.default_rng(0), 1)
    settings = DenoiserSettings(out=Path("~/out"), autoencoder=Path("~/vae"), data="~/set")
    assert (settings.out, settings.autoencoder) == (home / "out", home / "vae")
    assert AutoencoderSettings(out=Path("~/out")).out == home / "out"


def test_a_picture_is_replayed_from_another_folder(
    ldm: Any, folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its inputs were named from where it was made: pictures, masks in tables, control images."""
    control = tiny.write_controlnet(home / "control", folder)
    monkeypatch.chdir(home)
    runs = [
        (["text", "image"], {"image": "a.png"}),
        (["regions"], {"regions": [{"prompt": "a star", "mask": "mask.png"}]}),
        (
            ["text", {"name": "control", "models": [{"path": "control", "weight": 2.0}]}],
            {"control_image": ["a.png"]},
        ),
    ]
    pipe = Pipeline.from_pretrained(folder, num_inference_steps=2)
    for number, (conditioning, inputs) in enumerate(runs):
        out = pipe.replace(conditioning=conditioning)(["a"], seed=1, **inputs)
        save_png(out.images[0], out.manifests[0], home / f"{number}.png")
    assert control.is_dir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for number in range(len(runs)):
        code, told, err = ldm(
            "replay", "--allow-files", home / f"{number}.png", "--json", "--out", elsewhere
        )
        assert code == 0, err
        assert json.loads(told)["max_difference"] == 0
    manifest = read_png(home / "1.png")[1]
    assert manifest["inputs"]["regions"][0]["mask"] == str(home / "mask.png")
    control_manifest = read_png(home / "2.png")[1]["recipe"]["conditioning"][1]
    assert control_manifest["models"] == [{"path": str(home / "control"), "weight": 2.0}]


@pytest.mark.parametrize("name", ["x" * 5000, "/" + "x" * 300, "a\0b"], ids=["long", "part", "nul"])
@pytest.mark.parametrize(
    "choice",
    [
        lambda name: {"model": name},
        lambda name: {"loras": [{"path": name}]},
        lambda name: {"conditioning": ["text", {"name": "control", "models": [name]}]},
        lambda name: {"guidance": {"name": "autoguidance", "model": name}},
        lambda name: {
            "conditioning": ["text", {"name": "image_prompt", "path": name, "image_encoder": name}]
        },
    ],
)
def test_a_name_that_no_file_can_have_is_one_message(folder: Path, name: str, choice: Any) -> None:
    with pytest.raises(LdmError, match=r"is the name of no file: |there is no |no model named "):
        Pipeline.from_pretrained(**{"model": folder, **choice(name)})


def test_the_types_inside_an_annotation() -> None:
    assert Path in parts_of(Path | list[Path])
    assert Path in parts_of(list[dict[str, Path | None]])
    assert Path not in parts_of(list[str])


def test_names_of_files_that_are_no_unicode_are_kept(
    server: Server, folder: Path, tmp_path: Path
) -> None:
    """As a byte of another encoding: printed as it is, and named in a manifest that can be read."""
    place = tmp_path / os.fsdecode(b"caf\xe9")
    place.mkdir()
    Image.new("RGB", (16, 16), "red").save(place / "a.png")
    words = ["image-to-image", str(place / "a.png"), "a star", "--model", str(folder)]
    words += ["--steps", "2", "--seed", "7", "--out", str(place / "out")]
    pid = server.start(words, place)
    code = server.wait(pid)
    out, err = output_of(place, pid)
    assert code == 0, err
    assert out == f"{place}/out/a-star-seed7.png\n"
    manifest = read_png(place / "out" / "a-star-seed7.png")[1]
    assert manifest["inputs"]["image"] == str(place / "a.png")


def test_the_files_of_the_converter_lora_are_named_in_full(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    down = {"lora_unet_conv_in.lora_down.weight": torch.zeros(1, 4, 3, 3)}
    up = {"lora_unet_conv_in.lora_up.weight": torch.zeros(16, 1, 1, 1)}
    save_file({**down, **up}, "l.safetensors")
    converter = {"name": "lora", "files": ["l.safetensors"]}
    composition = compose({"model": str(folder), "converters": [converter]}, installed())
    assert composition.recipe["converters"][0]["files"] == [str(tmp_path / "l.safetensors")]


def test_a_model_inside_another_guidance_is_named_in_full(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    inner = {"name": "autoguidance", "model": folder.name}
    guidance = {"name": "dynamic_threshold", "inner": inner}
    composition = compose({"model": str(folder), "guidance": guidance}, installed())
    assert composition.recipe["guidance"]["inner"]["model"] == str(folder)
