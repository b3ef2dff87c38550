"""From ``ldm plugins new`` to a picture, by four commands, where nothing else is installed."""

from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path

import pytest

from environments import LISTING, ROOT, Environment, wheel_of
from ldm_core.media.png import read_png
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.scaffold.kinds import STARTERS


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own wheel."""
    return wheel_of(ROOT, tmp_path_factory.mktemp("core"))


def commands_after(environment: Environment, *new: str | Path) -> list[list[str]]:
    """The commands that ``ldm plugins new`` says come next, in words."""
    told = environment.ran(["ldm", "plugins", "new", *new]).stderr
    return [shlex.split(line) for line in told.splitlines() if line.startswith("  ")]


def test_four_commands_lead_to_a_picture_of_every_kind(core: Path, tmp_path: Path) -> None:
    environment = Environment.fresh(tmp_path)
    environment.install(core)
    install, check, *draws = commands_after(environment, "ldm-mine", "--kind", ",".join(STARTERS))
    environment.run(install)
    where = "import ldm_core, ldm_mine; print(ldm_core.__file__, ldm_mine.__file__)"
    homes = environment.run(["python", "-c", where]).split()
    assert [Path(home).is_relative_to(tmp_path) for home in homes] == [True, True]
    environment.run(check)
    assert len(draws) == len(STARTERS)
    (measured,) = [draw for draw in draws if draw[1] == "evaluate"]
    assert "\nmine\t" in environment.run(measured)
    draws.remove(measured)
    first, *others = [[*draw, "--steps", "4"] for draw in draws]
    (picture,) = environment.run(first).splitlines()
    assert (environment.cwd / picture).is_file()
    drawn = environment.run(["python", "-c", LISTING, json.dumps([w[1:] for w in others])])
    files = drawn.splitlines()
    assert len(files) == len(others) + 1  # the command draws two
    assert all((environment.cwd / file).is_file() for file in files)


@pytest.fixture(scope="module")
def shared(core: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the project's wheel, for one package after the other."""
    environment = Environment.fresh(tmp_path_factory.mktemp("shared"))
    environment.install(core)
    return environment


@pytest.mark.slow
@pytest.mark.parametrize("kind", STARTERS)
def test_a_package_of_one_kind_is_whole(kind: str, shared: Environment, tmp_path: Path) -> None:
    install, check, draw = commands_after(shared, "ldm-mine", "--kind", kind, "--dir", tmp_path)
    shared.run([*install, "--no-deps"])
    try:
        shared.run(check)
        printed = shared.run(draw)
    finally:
        shared.run(["python", "-m", "pip", "uninstall", "--yes", "--quiet", "ldm-mine"])
    if kind == "metric":
        assert printed.splitlines()[1].startswith("mine\t")
    else:
        assert all((shared.cwd / file).is_file() for file in printed.splitlines())
    project = tmp_path / "ldm-mine"
    wheel = wheel_of(project, tmp_path / "wheel")
    files = {f.relative_to(project) for f in (project / "ldm_mine").rglob("*") if f.is_file()}
    whole = {str(file) for file in files if "__pycache__" not in file.parts}
    assert whole <= {*zipfile.ZipFile(wheel).namelist()}


@pytest.mark.slow
def test_the_tests_of_a_new_package_pass(shared: Environment, tmp_path: Path) -> None:
    new = ["ldm-mine", "--kind", ",".join(STARTERS), "--dir", tmp_path]
    install = commands_after(shared, *new)[0]
    shared.run([*install, "--no-deps"])
    try:
        shared.run(["pytest", "-q", "-p", "no:cacheprovider", tmp_path / "ldm-mine"])
    finally:
        shared.run(["python", "-m", "pip", "uninstall", "--yes", "--quiet", "ldm-mine"])


def test_the_example_is_installed_beside_the_projects_own_wheel(core: Path, tmp_path: Path) -> None:
    example = wheel_of(ROOT / "docs" / "examples" / "ldm-res", tmp_path / "example")
    environment = Environment.fresh(tmp_path)
    environment.install(core, example)
    names = set(zipfile.ZipFile(example).namelist())
    weights = "ldm_res/models/gauss/network/gauss.safetensors"
    assert {"ldm_res/py.typed", "ldm_res/models/gauss/model_index.json", weights} <= names
    assert not [name for name in names if name.startswith("tests")]
    rows = json.loads(environment.run(["ldm", "plugins", "list", "--json"]))
    assert {r["kind"] for r in rows if r["distribution"] == "ldm-res"} == {*KINDS}
    generate = ["generate", "a red star", "--steps", "3", "--seed", "7"]
    commands = [
        [*generate, "--scheduler", "res_2m", "--spacing", "laplace", "--guidance", "rising"],
        [*generate, "--set", 'conditioning=["text", "kaleidoscope"]', "--attention", "exact"],
        [*generate, "--set", 'denoisers=["held"]', "--set", 'converters=["pruned"]'],
        [*generate, "--set", "decoder=mirrored", "--set", 'observers=["changes"]'],
        ["generate", "--model", "gauss", "--seed", "7", "--format", "ppm"],
        ["ladder", "a red star", "--counts", "2", "--counts", "3", "--seed", "7"],
    ]
    files = environment.run(["python", "-c", LISTING, json.dumps(commands)]).splitlines()
    assert len(files) == 7
    picture = environment.cwd / files[0]
    manifest = read_png(picture)[1]
    assert manifest["versions"]["ldm-res"] == "0.2.0"
    again = ["image-to-image", files[0], "a red star", "--set", "encoder=mirrored", "--seed", "7"]
    (edited,) = environment.run(["ldm", *again]).splitlines()
    assert "encoder ldm-res:mirrored" in read_png(environment.cwd / edited)[1]["plugins"]
