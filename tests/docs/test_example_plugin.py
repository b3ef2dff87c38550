"""The example package, found through an entry point as an installed one is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from ldm_core import Pipeline
from ldm_core.media.png import read_png
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.registry import Registry, discover
from projects import entries_of

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "ldm-res"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the metadata that pip would write for the example's pyproject.toml."""
    site = tmp_path_factory.mktemp("site")
    entries_of(EXAMPLE, site)
    return site


@pytest.fixture
def registry(site: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """What is installed, and the example."""
    monkeypatch.syspath_prepend(EXAMPLE)
    entries = [*entry_points(group="ldm"), *entries_of(EXAMPLE, site)]
    registry = discover(entries, disable=[], allow=[])
    assert not registry.failures
    return registry


def run(site: Path, *command: Any, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (site, EXAMPLE)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=site,
    )


def ldm(site: Path, *arguments: Any, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(site, "-c", "from ldm_core.cli import main; main()", *arguments, **variables)


def test_it_is_picked_by_name(registry: Registry, folder: Path) -> None:
    pipe = Pipeline.from_pretrained(
        folder, scheduler="res_2m", num_inference_steps=5, registry=registry
    )
    second = pipe("a red star", seed=7, output_type="latent")
    assert second.manifests[0]["versions"]["ldm-core"]
    assert "scheduler ldm-res:res_2m" in second.manifests[0]["plugins"]
    first = pipe.replace(scheduler={"name": "res_2m", "order": 1})
    ddim = pipe.replace(scheduler="ddim")
    (one, two) = (p("a red star", seed=7, output_type="latent").images for p in (first, ddim))
    assert one.allclose(two, atol=1e-5)
    assert not second.images.allclose(two, atol=1e-3)


DRAW_AND_REPLAY = """
import sys
from ldm_core.cli import main
for command in {commands!r}:
    sys.argv = ["ldm", *command]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (command, end.code)
"""


def test_it_is_drawn_with_and_replayed_on_the_command_line(site: Path, folder: Path) -> None:
    generate = ["generate", "a red star", "--model", str(folder), "--steps", "5", "--seed", "7"]
    generate += ["--scheduler", "ldm-res:res_2m"]
    replay = ["replay", "pictures/a-red-star-seed7.png", "--json", "--allow-files"]
    ran = run(site, "-c", DRAW_AND_REPLAY.format(commands=[generate, replay]))
    assert ran.returncode == 0, ran.stderr
    manifest = read_png(site / "pictures" / "a-red-star-seed7.png")[1]
    assert manifest["recipe"]["scheduler"]["name"] == "ldm-res:res_2m"
    assert manifest["versions"]["ldm-res"] == "0.2.0"
    verdict = json.loads(ran.stdout.splitlines()[-1])["verdict"]
    assert verdict == "the same picture, pixel for pixel"


def test_it_offers_one_of_each_kind(registry: Registry) -> None:
    offered = [plugin.kind for plugin in registry.plugins if plugin.distribution == "ldm-res"]
    assert sorted(offered) == sorted(KINDS)
    assert [m.name for m in registry.models if m.distribution == "ldm-res"] == ["gauss"]


def test_it_is_listed_with_its_package_and_can_be_disabled(site: Path) -> None:
    listed = ldm(site, "plugins", "list", "--kind", "scheduler")
    assert "res_2m\tldm-res\t0.2.0\tRefined exponential" in listed.stdout
    without = ldm(site, "plugins", "list", LDM_DISABLE_PLUGINS="ldm-res")
    assert (without.returncode, "res_2m" in without.stdout) == (0, False)


def test_its_own_tests_pass(site: Path) -> None:
    tests = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE)
    assert tests.returncode == 0, tests.stdout
