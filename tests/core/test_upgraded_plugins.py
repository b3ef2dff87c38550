"""Pictures of plugins that another release has changed, or that are gone: made again bit for bit,
or refused with the command that brings them back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ldm_core import Pipeline
from ldm_core.media.hashes import pixel_hash
from ldm_core.media.manifest import recipe_of
from ldm_core.media.png import read_png, save_png
from sites import Site, site_in

HOOKS = """
from pathlib import Path

from ldm_core import hookimpl

ldm_api = ">=2,<3"


@hookimpl
def ldm_schedulers(register):
    register("drift", "gentle.parts:drift")


@hookimpl
def ldm_spacings(register):
    register("skipping", "gentle.parts:skipping")


@hookimpl
def ldm_guidance(register):
    register("lean", "gentle.parts:lean")


@hookimpl
def ldm_conditioning(register):
    register("words", "gentle.parts:words")


@hookimpl
def ldm_denoisers(register):
    register("shrink", "gentle.parts:shrink")


@hookimpl
def ldm_decoders(register):
    register("tint", "gentle.parts:tint")


@hookimpl
def ldm_commands(register):
    register("paired", "gentle.commands:paired")


@hookimpl
def ldm_models(register):
    register("pics", Path(__file__).parent / "pics", "tests")
"""
PARTS = """
from ldm_core.contracts import Guidance, InputPath, Scheduler
from ldm_plugins.autoencoders.autoencoder_kl import decode
from ldm_plugins.conditioning.text import text
from ldm_plugins.spacings.trailing import trailing


def drift(
    x, grid, denoise, noise, *, gain: float = {gain}, inner: Scheduler = "{inner}",
    table: InputPath | None = None, {more}
):
    return inner(x, grid, lambda x, point: gain * denoise(x, point), noise)


def skipping(schedule, steps, *, skipped: int = {skipped}):
    return trailing(schedule, steps + skipped)[skipped:]


class Lean(Guidance):
    def __init__(self, scale):
        self.scale = scale

    def branches(self, point):
        return ("positive", "negative")

    def combine(self, outputs, at):
        return outputs["negative"].lerp(outputs["positive"], self.scale)


def lean(*, scale: float = {scale}):
    return Lean(scale)


def words(*, weights: bool = {weights}):
    return text(weights=weights)


def shrink(denoise, *, by: float = {by}):
    return lambda x, point: by * denoise(x, point)


def tint(model, x0, *, amounts: tuple[float, ...] = {amounts}):
    return decode(model, x0) + sum(amounts)
"""
COMMANDS = """
from dataclasses import replace

from ldm_core.run.in_batches import in_batches


@in_batches
def paired(pipe: "Pipeline", *prompts: str, strength: float = {strength}, **call):
    guided = pipe.replace(guidance={{"scale": strength}})
    for output in guided.batches(list(prompts), **call):
        yield replace(output, manifests=[{{**m, "finish": "paired"}} for m in output.manifests])
"""
FILE = """
from ldm_core import hookimpl

ldm_api = ">=2,<3"


@hookimpl
def ldm_schedulers(register):
    register("softly", lambda x, grid, denoise, noise: denoise(x, grid[0]))
"""
THEN = {
    "gain": 0.9,
    "inner": "euler",
    "more": "",
    "skipped": 0,
    "scale": 3.0,
    "weights": True,
    "by": 0.8,
    "amounts": (0.1, 0.1),
    "strength": 2.0,
}
NOW = {
    "gain": 0.5,
    "inner": "heun",
    "more": "",
    "skipped": 1,
    "scale": 1.5,
    "weights": False,
    "by": 0.5,
    "amounts": (0.3,),
    "strength": 5.0,
}
CHOICES: dict[str, dict[str, Any]] = {
    "scheduler": {"scheduler": "drift"},
    "scheduler in another": {"scheduler": {"name": "restart", "inner": "drift"}},
    "spacing": {"spacing": "skipping"},
    "guidance": {"guidance": "lean"},
    "conditioning": {"conditioning": ["words"]},
    "denoisers": {"denoisers": ["shrink"]},
    "decoder": {"decoder": "tint"},
}
PROMPT = "a (red:1.6) star"


class Gentle:
    """The package, of which one release is installed at a time."""

    def __init__(self, site: Site, model: Path) -> None:
        self._site, self._model = site, model

    def has(self, version: str | None, name: str = "gentle", **values: Any) -> None:
        """Install a release in the place of the one before; none where there is no version."""
        if version is None:
            self._site.has()
            return
        texts = {"plugin": HOOKS, "parts": PARTS, "commands": COMMANDS}
        modules = {f"gentle/{n}.py": t for n, t in texts.items() if n == "plugin"}
        modules |= {f"gentle/{n}.py": t.format(**values) for n, t in texts.items() if n != "plugin"}
        self._site.has(
            name,
            version,
            {"gentle/__init__.py": "", **modules},
            {"gentle": "gentle.plugin"},
            {"gentle/pics": self._model},
        )


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gentle]:
    with site_in(tmp_path_factory.mktemp("site") / "packages") as site:
        yield Gentle(site, folder)


@pytest.fixture(scope="module")
def pictures(site: Gentle, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of version 0.3, by what was chosen."""
    site.has("0.3", **THEN)
    pictures = tmp_path_factory.mktemp("pictures")
    pipe = Pipeline.from_pretrained("gentle:pics", num_inference_steps=3)
    (pictures / "table.csv").write_text("1,2")
    reads = {"scheduler": {"name": "drift", "table": str(pictures / "table.csv")}}
    for name, choices in {**CHOICES, "table": reads, "model": {}}.items():
        out = pipe.replace(**choices)(PROMPT, seed=7)
        manifest = {**out.manifests[0], "pixels_sha256": pixel_hash(out.images[0])}
        save_png(out.images[0], manifest, pictures / f"{name}.png")
    return pictures


def same_picture(ldm: Any, path: Path, *flags: Any) -> list[str]:
    """What differs of a picture that is made again pixel for pixel."""
    code, out, err = ldm("replay", path, "--json", "--out", "again", *flags)
    assert code == 0, err
    report = json.loads(out)
    assert report["max_difference"] == 0, err
    return list(report["differs"])


@pytest.mark.parametrize("name", CHOICES)
def test_a_default_that_changed_does_not_matter(
    ldm: Any, site: Gentle, pictures: Path, name: str
) -> None:
    site.has("0.4", **NOW)
    image, manifest = read_png(pictures / f"{name}.png")
    assert same_picture(ldm, pictures / f"{name}.png") == ["gentle: 0.3 then, 0.4 now"]
    in_python = Pipeline.from_pretrained(recipe=recipe_of(manifest))
    assert in_python(PROMPT, seed=7).images[0] == image
    now = Pipeline.from_pretrained("pics", num_inference_steps=3, **CHOICES[name])
    assert now(PROMPT, seed=7).images[0] != image  # that of the default of now


def test_a_command_is_called_with_its_defaults_of_then(
    ldm: Any, site: Gentle, tmp_path: Path
) -> None:
    site.has("0.3", **THEN)
    run = ["paired", PROMPT, "--model", "pics", "--steps", "2", "--seed", "7", "--out", "drawn"]
    code, out, err = ldm(*run)
    assert code == 0, err
    path = Path(out.split()[0])
    site.has("0.4", **NOW)
    assert same_picture(ldm, path) == ["gentle: 0.3 then, 0.4 now"]
    code, out, err = ldm(*run)
    assert Image.open(out.split()[0]).tobytes() != Image.open(path).tobytes()
    site.has(None)
    code, _, err = ldm("replay", path)
    assert (code, err.count("error: ")) == (2, 1)
    assert "command 'paired' of gentle 0.3, model 'pics' of gentle 0.3." in err
    assert "`pip install gentle==0.3`" in err


@pytest.mark.parametrize("name", [*CHOICES, "model"])
def test_what_is_gone_is_named_with_the_command_that_installs_it(
    ldm: Any, site: Gentle, pictures: Path, folder: Path, name: str
) -> None:
    site.has(None)
    code, out, err = ldm("replay", pictures / f"{name}.png")
    assert (code, out, err.count("error: ")) == (2, "", 1)
    assert " of gentle 0.3" in err
    assert "`pip install gentle==0.3`" in err
    code, out, err = ldm("replay", pictures / f"{name}.png", "--model", folder)
    assert (code == 0) == (name == "model"), err  # whose plugins are all here


def test_a_file_that_is_gone_is_named_and_nothing_to_install(
    ldm: Any, site: Gentle, folder: Path, tmp_path: Path
) -> None:
    """Its package is called as anyone could call one in a package index."""
    site.has("0.3", **THEN)
    file = tmp_path / "softly.py"
    file.write_text(FILE)
    filed = ("--plugin", file)
    run = ["generate", "a star", "--model", folder, "--steps", "1", "--seed", "3", "--out", "drawn"]
    code, out, err = ldm(*run, "--scheduler", "softly", *filed)
    assert code == 0, err
    path = Path(out.split()[0])
    code, out, err = ldm("replay", path, "--allow-files")
    assert (code, out, err.count("error: ")) == (2, "", 1)
    assert "scheduler 'softly' of local 0+" in err
    assert "by --plugin FILE.py" in err
    assert "pip install" not in err
    assert same_picture(ldm, path, "--allow-files", *filed) == []
    code, out, err = ldm(*run, "--scheduler", "softly", "--guidance", "lean", *filed)
    assert code == 0, err
    site.has(None)
    code, _, err = ldm("replay", out.split()[0], "--allow-files")
    assert code == 2
    assert "`pip install gentle==0.3` does it" in err
    assert "by --plugin FILE.py" in err


def test_a_package_spelt_otherwise_is_the_same(ldm: Any, site: Gentle, pictures: Path) -> None:
    """Tools that build packages have changed how they spell names."""
    site.has("0.4", "Gentle", **NOW)
    notes = same_picture(ldm, pictures / "scheduler.png")
    assert notes == ["gentle: 0.3 then, 0.4 now"]


def test_an_option_that_is_gone_is_refused(ldm: Any, site: Gentle, pictures: Path) -> None:
    site.has("0.3", **{**THEN, "more": "bend: int = 2"})
    out = Pipeline.from_pretrained("pics", scheduler="drift", num_inference_steps=1)(PROMPT, seed=1)
    save_png(out.images[0], out.manifests[0], Path("bend.png"))
    site.has("0.4", **NOW)
    code, _, err = ldm("replay", "bend.png")
    assert (code, err.count("error: ")) == (2, 1)
    assert "gentle 0.3 had the option 'bend' (here 2) of the scheduler 'drift'" in err
    assert "gentle 0.4 has it not" in err
    assert "`pip install gentle==0.3`" in err


def test_an_option_that_is_new_is_said(ldm: Any, site: Gentle, pictures: Path) -> None:
    site.has("0.4", **{**THEN, "more": "bend: int = 2"})
    assert same_picture(ldm, pictures / "scheduler.png") == [
        "gentle: 0.3 then, 0.4 now",
        "the scheduler 'gentle:drift' has an option 'bend' now, which is left at its default, 2",
    ]


def test_a_file_that_an_option_names_is_seen_to_have_changed(
    ldm: Any, site: Gentle, pictures: Path
) -> None:
    site.has("0.3", **THEN)
    table = pictures / "table.csv"
    assert read_png(pictures / "table.png")[1]["option_files"].keys() == {str(table)}
    assert same_picture(ldm, pictures / "table.png") == []
    table.write_text("1,3")
    notes = same_picture(ldm, pictures / "table.png")
    assert notes == [f"{table}, which an option names, is not that of then"]
    table.write_text("1,2")


def test_a_package_that_is_imported_beside_is_said(
    ldm: Any, site: Gentle, folder: Path, tmp_path: Path
) -> None:
    """It has no part in the picture, and is no reason to make it twice."""
    site.has("0.3", **THEN)
    run = ["generate", "a star", "--model", folder, "--steps", "1", "--seed", "3", "--out", "drawn"]
    code, out, err = ldm(*run)
    assert code == 0, err
    path = Path(out.split()[0])
    manifest = read_png(path)[1]
    assert (manifest["imported"], "gentle" in manifest["versions"]) == ({"gentle": "0.3"}, False)
    site.has(None)
    assert same_picture(ldm, path, "--allow-files") == ["gentle: 0.3 then, not installed now"]
    code, out, err = ldm(*run)
    assert (code, out.split()) == (0, [str(path)]), err
