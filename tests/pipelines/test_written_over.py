"""Files that are asked for by name: they take the place of another only where that is asked for."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ldm_core import LdmError, Pipeline
from ldm_core.errors import LdmWarning
from ldm_pipelines.features import features
from ldm_pipelines.interpolate import interpolate
from ldm_pipelines.training.autoencoder import train_autoencoder
from ldm_pipelines.training.settings import AutoencoderSettings, DenoiserSettings

ROOT = Path(__file__).parents[2]
RUNS: list[tuple[str, list[str]]] = [
    ("s.png", ["generate", "a star", "--steps", "1", "--sheet", "s.png"]),
    ("s.webp", ["interpolate", "a", "--seeds", "1", "--seeds", "2", "--sheet", "s.webp"]),
    ("w.gif", ["interpolate", "a", "--seeds", "1", "--seeds", "2", "--film", "w.gif"]),
    ("x.safetensors", ["features", "set", "--out", "x.safetensors"]),
    ("p.svg", ["explain", "--plot", "p.svg"]),
]


@pytest.mark.parametrize("kind", ["a file", "a link"])
@pytest.mark.parametrize(("name", "run"), RUNS, ids=[name for name, _ in RUNS])
def test_nothing_is_written_over_unasked(
    ldm: Any, folder: Path, name: str, run: list[str], kind: str
) -> None:
    Path("set").mkdir()
    Image.new("RGB", (16, 16), "red").save("set/a.png")
    if kind == "a link":
        Path("dear").write_text("dear")
        Path(name).symlink_to("dear")
    else:
        Path(name).write_text("dear")
    more = ["--steps", 1] if "--steps" not in run and run[0] != "features" else []
    code, out, err = ldm(*run, *more, "--model", folder)
    assert (code, out) == (2, "")
    assert "is there already" in err
    assert "--overwrite" in err
    assert Path(name).read_text() == "dear"
    assert not Path("pictures").exists()  # and no weight was read
    assert ldm(*run, *more, "--model", folder, "--overwrite")[0] == 0
    assert not Path(name).is_symlink()
    assert Path(name).stat().st_size > 100
    if kind == "a link":
        assert Path("dear").read_text() == "dear"
    assert not list(Path().glob("**/.ldm-*"))


RERUNS = [
    ["generate", "a star", "--num-images", "3", "--sheet", "s.png"],
    ["interpolate", "a", "b", "--num-images", "3", "--sheet", "s.webp"],
    ["interpolate", "a", "b", "--num-images", "3", "--film", "s.gif", "--batch-size", "2"],
    ["interpolate", "a", "b", "--num-images", "3", "--film", "s.png", "--sheet", "t.png"],
]


@pytest.mark.parametrize("run", RERUNS, ids=lambda run: f"{run[0]} {run[-1]}")
def test_the_same_command_takes_the_files_of_its_names_for_its_own(
    ldm: Any, folder: Path, run: list[str]
) -> None:
    run = [*run, "--steps", "1", "--seed", "3", "--model", str(folder)]
    assert ldm(*run)[0] == 0
    files = {path: path.read_bytes() for path in Path().glob("**/*.*")}
    named = [path for path in files if path.stem in "st"]
    code, _, err = ldm(*run)
    assert (code, "were there already" in err) == (0, True)
    assert {path: path.read_bytes() for path in Path().glob("**/*.*")} == files
    for path in named:  # changed since: it is no longer what this run writes
        path.write_bytes(files[path] + b"dear")
        code, _, err = ldm(*run)
        assert (code, f"'{path}' is there already" in err) == (2, True)
        assert path.read_bytes() == files[path] + b"dear"
        path.write_bytes(files[path])
        del files[path]
        path.unlink()
        assert ldm(*run)[0] == 0
        files[path] = path.read_bytes()
    assert {path: path.read_bytes() for path in Path().glob("**/*.*")} == files
    assert not list(Path().glob("**/.ldm-*"))
    # another command: it is refused before a picture is made
    code, out, err = ldm(*run, "--seed", "40")
    assert (code, out, "is there already" in err) == (2, "", True)
    assert {path: path.read_bytes() for path in Path().glob("**/*.*")} == files


def test_a_sheet_and_a_film_of_one_name_are_refused(ldm: Any, folder: Path) -> None:
    run = ("interpolate", "a", "--seeds", 1, "--seeds", 2, "--model", folder, "--overwrite")
    code, _, err = ldm(*run, "--film", "a.png", "--sheet", "./a.png")
    assert (code, "--sheet and --film name the same file" in err) == (2, True)


def test_functions_overwrite_where_they_are_asked_to(
    pipe: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("w.gif", "x.safetensors"):
        Path(name).write_text("dear")
    Path("set").mkdir()
    Image.new("RGB", (16, 16), "red").save("set/a.png")
    stops: dict[str, Any] = {"seeds": [1, 2], "num_images": 2, "film": Path("w.gif")}
    with pytest.raises(LdmError, match=r"the animation 'w\.gif' is there already"):
        interpolate(pipe, "a", **stops)
    interpolate(pipe, "a", **stops, overwrite=True)
    before = {"animation" if name == "film" else name: stop for name, stop in stops.items()}
    with (
        pytest.warns(LdmWarning, match="'animation' is called 'film' now"),
        pytest.raises(LdmError, match=r"the animation 'w\.gif' is there already"),
    ):
        interpolate(pipe, "a", **before)
    with pytest.raises(LdmError, match="'animation' is given twice"):
        interpolate(pipe, "a", **stops, animation=Path("x.gif"))
    with pytest.raises(LdmError, match=r"the file of features 'x\.safetensors' is there already"):
        features(pipe, Path("set"), out=Path("x.safetensors"))
    features(pipe, Path("set"), out=Path("x.safetensors"), overwrite=True)
    with Image.open("w.gif") as animation:
        assert animation.n_frames == 2


def test_a_training_leaves_the_model_of_another_alone(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "weights").write_text("dear")
    settings = {"out": tmp_path, "resolution": 16, "steps": 1, "batch_size": 2}
    with pytest.raises(LdmError, match=r"vae' is there already, without the checkpoint"):
        train_autoencoder(AutoencoderSettings(**settings))
    assert (tmp_path / "vae" / "weights").read_text() == "dear"
    AutoencoderSettings(**settings, overwrite=True).check_free()
    (tmp_path / "checkpoint").mkdir()  # of the run that made it, which goes on
    AutoencoderSettings(**settings).check_free()
    DenoiserSettings(out=tmp_path / "elsewhere", autoencoder=tmp_path).check_free()


WRITES = {"write_text", "write_bytes", "savefig", "replace", "rename", "link", "save_file"}
WRITERS = {
    "ldm_core/conformance/certificate.py",
    "ldm_core/conformance/family_folders.py",
    "ldm_core/conformance/kinds/writer.py",
    "ldm_core/conformance/package/listing.py",
    "ldm_core/conformance/project_folder.py",
    "ldm_core/scaffold/package.py",
    "ldm_core/scaffold/template/ldm_mine/tiff.py",
    "ldm_core/jobs/archives.py",
    "ldm_core/jobs/data_sets.py",
    "ldm_core/jobs/files.py",
    "ldm_core/jobs/folder.py",
    "ldm_core/model/kept_hashes.py",
    "ldm_core/media/animations.py",
    "ldm_core/media/encoded.py",
    "ldm_core/media/names.py",
    "ldm_core/media/moving.py",
    "ldm_core/media/partial.py",
    "ldm_core/media/png.py",
    "ldm_core/media/preview_files.py",
    "ldm_core/media/riff.py",
    "ldm_core/media/sheet.py",
    "ldm_core/media/sound_files.py",
    "ldm_core/media/terminal.py",
    "ldm_core/media/video_writing.py",
    "ldm_core/plugins/died.py",
    "ldm_core/run/notebook.py",
    "ldm_core/run/showing.py",
    "ldm_core/run/saving.py",
    "ldm_core/cli/originals.py",
    "ldm_core/cli/plot.py",
    "ldm_core/cli/tune.py",
    "ldm_core/cli/writing.py",
    "plugins/ldm_plugins/conditioning/shared/compression.py",  # into memory
    "plugins/ldm_plugins/converters/shared/graph_cache.py",
    "plugins/ldm_plugins/converters/shared/kept_programs.py",
    "pipelines/ldm_pipelines/convergence/command.py",
    "pipelines/ldm_pipelines/data_set.py",
    "pipelines/ldm_pipelines/features.py",
    "pipelines/ldm_pipelines/animation.py",
    "pipelines/ldm_pipelines/comparing/page.py",
    "pipelines/ldm_pipelines/comparing/tables.py",
    "pipelines/ldm_pipelines/training/checkpoint.py",
    "pipelines/ldm_pipelines/training/folder.py",
    "pipelines/ldm_pipelines/page/saving.py",
    "pipelines/ldm_pipelines/tones/folder.py",
}
"""Files that write others, each into a name for the time being."""


def test_files_are_written_in_few_places() -> None:
    """A new place should write by `ldm_core.media.names`, and then be listed here."""
    places = set()
    for room in ("ldm_core", "plugins", "pipelines"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                owner, _, name = ast.unparse(node.func).rpartition(".")
                modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
                modes += [k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)]
                opens = name == "open" and any(
                    isinstance(mode, str) and set(mode) & set("wax+") and len(mode) < 4
                    for mode in modes
                )
                moves = name in {"replace", "rename", "link"} and (
                    owner == "os" or (name == "rename" and len(node.args) == 1)
                )
                saves = name == "save" and any(k.arg == "format" for k in node.keywords)
                if opens or moves or saves or name in WRITES - {"replace", "rename", "link"}:
                    places.add(str(path.relative_to(ROOT)))
    assert places <= WRITERS
