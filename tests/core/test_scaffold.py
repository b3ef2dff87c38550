"""``ldm plugins new``: what it writes works as it stands, and what it cannot write it refuses."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ldm_core import LdmError
from ldm_core.media.png import read_png
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.registry import Registry, ShippedModel, discover, installed
from ldm_core.scaffold.kinds import STARTERS
from ldm_core.scaffold.package import new_package
from projects import entries_of
from tiny.covering import some_of

EVERY = [*STARTERS]
LONG = "-".join(["ldm", *["abcdefghij"] * 5, "z"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "cannot be called"),
        ("1mine", "cannot be called"),
        ("-mine", "cannot be called"),
        ("mine-", "cannot be called"),
        ("../mine", "cannot be called"),
        ("ldm mine", "cannot be called"),
        ("mine\n", "cannot be called"),
        ("größer", "cannot be called"),
        ("ldm-" + "x" * 60, "too long"),
        ("ldm-core", "own name"),
        ("LDM_Core", "own name"),
        ("ldm", "own name"),
        ("json", "own name"),
        ("class", "own name"),
        ("local", "that --plugin names"),
        ("pictures", "something else in a project"),
        ("Tests", "something else in a project"),
        ("ldm-2nd", "plugins cannot be called '2nd'"),
        ("ldm-true", "'true' is a value"),
        ("PyTest", "is installed already"),
        ("projects", "there is a module 'projects' already"),
        ("ldm-ddim", "the scheduler 'ddim' of the package ldm-core"),
        ("ldm_karras", "the spacing 'karras' of the package ldm-core"),
        ("ldm-shapes", "brings a model 'shapes'"),
        ("ldm-inpaint", "the command 'inpaint' of the package ldm-core"),
        ("ldm-generate", "there is a command `ldm generate` already"),
        ("ldm-plugins", "own name"),
        ("ldm-recipe", "there is a command `ldm recipe` already"),
    ],
)
def test_a_name_that_would_mean_something_else_is_refused(
    name: str, message: str, ldm: Any, tmp_path: Path
) -> None:
    code, out, err = ldm("plugins", "new", "--kind", ",".join(EVERY), "--", name)
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind"), [("ldm-ddim", "guidance"), ("generate", "spacing"), ("shapes", "command")]
)
def test_a_name_is_taken_within_a_kind_alone(name: str, kind: str, tmp_path: Path) -> None:
    assert new_package(name, [kind], tmp_path, installed(), ["generate"]).kinds == (kind,)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ([], "say what the package is to offer, as --kind scheduler"),
        (["--kind", "sheduler"], "no kind of plugin named 'sheduler'. Did you mean 'scheduler'?"),
        (["--kind", "scheduler,"], "no kind of plugin named ''"),
    ],
)
def test_kinds_that_are_none(kinds: list[str], message: str, ldm: Any, tmp_path: Path) -> None:
    code, _, err = ldm("plugins", "new", "ldm-mine", *kinds)
    assert (code, message in err) == (2, True), err
    assert list(tmp_path.iterdir()) == []


def test_kinds_may_be_repeated_or_have_commas_between(tmp_path: Path) -> None:
    package = new_package("ldm-mine", ["spacing,guidance", "scheduler", "spacing"], tmp_path, EMPTY)
    assert package.kinds == ("scheduler", "spacing", "guidance")


@pytest.mark.parametrize(("word", "kind"), [("wrapper", "denoiser"), ("metric", "metric")])
def test_a_kind_may_be_called_as_its_page_is(word: str, kind: str, tmp_path: Path) -> None:
    assert new_package("ldm-mine", [word], tmp_path, EMPTY).kinds == (kind,)


EMPTY = Registry()


def test_there_is_a_beginning_for_each_kind() -> None:
    assert STARTERS.keys() == {*KINDS, "model"}


@pytest.mark.parametrize("there", ["folder", "file", "dangling link"])
def test_what_is_there_is_left_as_it_is(there: str, ldm: Any, tmp_path: Path) -> None:
    place = tmp_path / "ldm-mine"
    if there == "folder":
        place.mkdir()
    elif there == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "nowhere")
    code, _, err = ldm("plugins", "new", "ldm-mine", "--kind", "spacing")
    assert (code, "is there already" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["ldm-mine"]
    assert there != "folder" or not list(place.iterdir())


def test_one_that_cannot_be_written_whole_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OSError, match="No space"):
        new_package("ldm-mine", ["model"], tmp_path, installed())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parent", "code"), [("file", 2), ("file/inside", 2), ("/proc/nowhere", 3)]
)
def test_a_folder_that_cannot_hold_it(parent: str, code: int, ldm: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    ended, out, err = ldm("plugins", "new", "ldm-mine", "--kind", "spacing", "--dir", parent)
    assert (ended, out, len(err.splitlines())) == (code, "", 1), err
    assert parent in err


def test_the_folder_that_holds_it_is_made(ldm: Any, tmp_path: Path) -> None:
    code, out, err = ldm("plugins", "new", "mine", "--kind", "decoder", "--dir", "a b/c")
    assert (code, out.strip()) == (0, "a b/c/mine")
    assert "pip install -e './a b/c/mine'" in err
    assert (tmp_path / "a b" / "c" / "mine" / "mine" / "vivid.py").is_file()


@pytest.mark.parametrize("name", ["ldm-mine", LONG, "Mine.Of_Many"])
def test_what_is_written_is_formatted_and_linted(name: str, tmp_path: Path) -> None:
    package = new_package(name, EVERY, tmp_path, installed())
    for command in (["format", "--check"], ["check"]):
        ran = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", package.folder],
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout
    text = "".join(p.read_text() for p in package.folder.rglob("*") if p.suffix in TEXT)
    assert not [word for word in ("ldm_mine", "ldm-mine", "MinePipeline") if word in text] or (
        package.names.distribution == "ldm-mine"
    )


TEXT = (".py", ".toml", ".yml", ".md")


@pytest.mark.slow
def test_what_is_written_is_typed(tmp_path: Path) -> None:
    package = new_package("ldm-mine", EVERY, tmp_path, installed())
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", tmp_path / "cache"],
        capture_output=True,
        text=True,
        cwd=package.folder,
    )
    assert ran.returncode == 0, ran.stdout


def test_its_pyproject_says_what_it_needs(tmp_path: Path) -> None:
    package = new_package("Mine.Of_Many", ["scheduler", "writer"], tmp_path, EMPTY)
    project = tomllib.loads((package.folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "mine-of-many"
    assert project["dependencies"] == ["ldm-core>=0.2,<1"]
    assert project["entry-points"]["ldm"] == {"mine_of_many": "mine_of_many.plugin"}
    assert project["license"] == "Apache-2.0"
    own = (Path(__file__).parents[2] / "LICENSE").read_text()
    assert (package.folder / "LICENSE").read_text() == own


@pytest.fixture
def quick(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model as `shapes`, with few steps of its own."""
    copy = Path(shutil.copytree(folder, tmp_path / "models" / "shapes"))
    (copy / "ldm.toml").write_text("num_inference_steps = 4\n")
    registry = installed()
    others = [model for model in registry.models if model.name != "shapes"]
    shapes = ShippedModel("shapes", copy, "", "ldm-core", "0")
    monkeypatch.setattr(registry, "models", [shapes, *others])
    monkeypatch.setattr(registry, "plugins", list(registry.plugins))


@pytest.fixture
def mine(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """Take in a new package with a plugin of one kind, as pip does; nothing of it stays."""

    def take(kind: str) -> None:
        project = new_package("ldm-mine", [kind], tmp_path, installed()).folder
        monkeypatch.syspath_prepend(project)
        package = discover(entries_of(project, tmp_path / "site"), disable=[], allow=[])
        assert not package.failures
        assert {p.kind for p in package.plugins} == {kind} - {"model"}
        assert bool(package.models) == (kind in ("family", "model"))
        for plugin in package.plugins:
            assert plugin.summary
            assert all(option.help for option in plugin.options.values())
        installed().plugins.extend(package.plugins)
        installed().models.extend(package.models)

    yield take
    for module in [name for name in sys.modules if name.startswith("ldm_mine")]:
        del sys.modules[module]


@pytest.mark.parametrize("kind", some_of(EVERY, 0, 2))
def test_a_package_with_one_kind_draws(
    kind: str, mine: Callable[[str], None], ldm: Any, tmp_path: Path
) -> None:
    mine(kind)
    command = STARTERS[kind].draw.format(name="mine", folder="ldm-mine")
    code, out, err = ldm(*shlex.split(command))
    assert code == 0, err
    if kind == "metric":  # which draws nothing
        assert out.splitlines()[1].startswith("mine\t"), out
        return
    files = [tmp_path / line for line in out.splitlines()]
    assert len(files) == (2 if kind == "command" else 1)
    for file in files:
        with Image.open(file) as picture:
            assert picture.getextrema()
        manifest = read_png(file)[1] if file.suffix == ".png" else beside(file)
        assert used(kind, manifest), manifest
    if kind == "observer":
        assert err.count("spread of x0") == 4


def beside(file: Path) -> dict[str, Any]:
    text = file.with_name(f"{file.name}.json").read_text()
    manifest: dict[str, Any] = json.loads(text)
    return manifest


def used(kind: str, manifest: dict[str, Any]) -> bool:
    """Whether a manifest says that the plugin was at work; of an observer it says nothing."""
    if kind == "command":
        return manifest["recipe"]["scheduler"]["name"] in ("ldm-core:ddim", "ldm-core:heun")
    if kind == "family":
        return manifest["family"] == "ldm-mine:mine"
    if kind == "model":
        return manifest["model_package"]["name"] == "ldm-mine"
    if kind == "writer":
        return "recipe" in manifest
    return kind == "observer" or f"{kind} ldm-mine:mine" in manifest["plugins"]


def test_the_network_of_clouds_answers_best() -> None:
    """The best estimate's error is uncorrelated with what it is made from, wave by wave; so is no
    other's."""
    import torch

    from ldm_core.scaffold.template.ldm_mine.clouds_network import SPREAD, CloudNetwork, spectrum

    height, width, count = 16, 15, 4000
    alpha, sigma = torch.full((count,), 0.6), torch.full((count,), 0.4)
    network = CloudNetwork()
    generator = torch.Generator().manual_seed(0)
    white, noise = torch.randn(2, count, 3, height, width, generator=generator)
    with torch.no_grad():
        filtered = torch.fft.rfft2(white) * spectrum(height, width, network.falloff).sqrt()
        x0 = torch.fft.irfft2(filtered, s=(height, width))
        x = 0.6 * x0 + 0.4 * noise
        estimate = network(x, alpha, sigma)
    assert x0.std().item() == pytest.approx(SPREAD, rel=0.01)
    error = torch.fft.rfft2(estimate - x0)
    waves = torch.fft.rfft2(x)
    correlation = (error * waves.conj()).mean((0, 1)).abs()
    scale = (error.abs().square().mean((0, 1)) * waves.abs().square().mean((0, 1))).sqrt()
    assert (correlation / scale).max() < 5 / (3 * count) ** 0.5
    assert (estimate - x0).square().mean() < (x / 0.6 - x0).square().mean()


def test_an_entry_without_a_package_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="'ldm-core:digits', which is not installed"):
        new_package("ldm-mine", ["model"], tmp_path, EMPTY)
    assert list(tmp_path.iterdir()) == []
