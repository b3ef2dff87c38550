"""No connection is tried without a name that the person typed or allowed."""

from __future__ import annotations

import ast
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from PIL import Image

from audited import audited
from ldm_core import LdmError, Pipeline
from ldm_core.cli.asking import names_in
from ldm_core.media.png import save_png
from ldm_core.model.files import find_model
from ldm_core.model.hub import as_file, as_folder
from ldm_core.model.hub_permission import only_from_hub
from ldm_core.plugins.registry import installed
from tiny.single_file import write_single_file

ROOT = Path(__file__).parents[2]
CONNECTING = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The connections that are tried, none of which is made: there is no network, and the Hub's
    cache is empty."""

    connections: list[str] = []

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CONNECTING:
            connections.append(f"{event} {arguments[:1]}")
            raise ConnectionError("there is no network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with audited(hear):
        yield connections


@pytest.fixture(scope="module")
def template(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, recipes and pictures that name the Hub."""
    root = tmp_path_factory.mktemp("hub")
    shutil.copytree(folder, root / "model")
    own = shutil.copytree(folder, root / "own")
    (own / "ldm.toml").write_text('loras = ["o/l"]\n')
    control = 'conditioning = ["text", {name = "control", models = ["o/c"]}]'
    recipes = {
        "model": 'model = "o/m"',
        "lora": 'model = "model"\nloras = ["o/l/x.safetensors:0.5"]',
        "control": f'model = "model"\n{control}',
        "inner": 'model = "model"\nguidance = {name = "autoguidance", model = "o/weak"}',
    }
    for name, text in recipes.items():
        (root / f"{name}.toml").write_text(text)
    write_single_file(folder, root / "one.safetensors")
    Image.new("RGB", (16, 16)).save(root / "a.png")
    made = Pipeline.from_pretrained(folder, num_inference_steps=2)("a", seed=1)
    for name, model in (("hub.png", "o/m"), ("revision.png", "o/m@main")):
        made.manifests[0]["recipe"]["model"] = model
        save_png(made.images[0], made.manifests[0], root / name)
    return root


@pytest.fixture
def place(ldm: Any, template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path, dirs_exist_ok=True))


DRAW = ["generate", "a star", "--steps", 1]
ELSE = [
    [*DRAW, "--recipe", "model.toml"],
    [*DRAW, "--recipe", "lora.toml"],
    [*DRAW, "--recipe", "control.toml", "--control-image", "a.png"],
    [*DRAW, "--recipe", "inner.toml"],
    [*DRAW, "--model", "own"],
    [*DRAW, "--model", "one.safetensors"],
    ["explain", "--recipe", "model.toml"],
    ["features", ".", "--out", "x.safetensors", "--recipe", "model.toml"],
    ["inpaint", "hub.png", "a", "--mask-box", "0,0,8,8", "--recipe", "model.toml"],
    ["recipe", "check", "model.toml"],
    ["recipe", "check", "inner.toml"],
    ["replay", "hub.png"],
    ["replay", "revision.png"],
]
"""What names a repository in a file."""
TYPED = [
    [*DRAW, "--model", "o/m"],
    [*DRAW, "--model=o/m@main"],
    [*DRAW, "--model", "model", "--lora", "o/l:0.5"],
    [*DRAW, "--model", "model", "--lora", "o/l/x.safetensors:0.5"],
    [*DRAW, "--model", "model", "--set", 'guidance={name="autoguidance",model="o/weak"}'],
    [*DRAW, "--model", "model", "--set", "model=o/m"],
    ["recipe", "check", "control.toml", "--set", "model=o/m"],
    ["replay", "hub.png", "--model", "o/elsewhere"],
]


@pytest.mark.parametrize("arguments", ELSE, ids=lambda words: " ".join(map(str, words)))
def test_a_name_in_a_file_is_asked_for_only_where_that_is_allowed(
    ldm: Any,
    place: Path,
    tried: list[str],
    arguments: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, _, err = ldm(*arguments)
    assert (code, tried) == (2, [])
    assert err.count("error: ") == 1
    assert "--allow-hub" in err
    assert "'o/" in err or " o/m" in err or "runwayml/" in err or "stable-diff" in err
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    code, _, err = ldm(*arguments, "--allow-hub")
    assert (code, bool(tried)) == (2, True)
    assert "cannot be reached" in err
    assert sum(slept) < 10  # the library's own retries take 24 seconds


@pytest.mark.parametrize("arguments", TYPED, ids=lambda words: " ".join(map(str, words)))
def test_a_name_that_is_typed_is_asked_for(
    ldm: Any, place: Path, tried: list[str], arguments: list[Any]
) -> None:
    code, _, err = ldm(*arguments)
    assert (code, bool(tried)) == (2, True)
    assert "cannot be reached" in err


@pytest.mark.parametrize("arguments", [[*DRAW, "--model", "model"], ["models", "list"]], ids=str)
def test_what_lies_here_needs_no_connection(
    ldm: Any, place: Path, tried: list[str], arguments: list[Any]
) -> None:
    assert ldm(*arguments)[0] == 0
    assert tried == []


def test_python_asks_for_everything_unless_it_is_bounded(tried: list[str]) -> None:
    with only_from_hub("o/m"):
        with pytest.raises(LdmError, match="the Hub is not asked"):
            find_model("o/other", installed())
        assert tried == []
        with pytest.raises(LdmError, match="cannot be reached"):
            find_model("o/m@v1", installed())
        assert len(tried) == 1
    with pytest.raises(LdmError, match="cannot be reached"):
        find_model("o/other", installed())
    assert len(tried) == 2


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("o/m", {"o/m"}),
        ("o/m@refs/pr/3", {"o/m"}),
        ("o/l/x.safetensors:0.5", {"o/l"}),
        (["o/a", {"path": "o/b"}], {"o/a", "o/b"}),
        ('conditioning=[{name="control",models=["o/c"]}]', {"o/c"}),
        ("a red o/m star", set()),
        ("/o/m", set()),
        ("shapes", set()),
        (Path("pictures/a.png"), set()),
        (None, set()),
    ],
    ids=lambda value: "-".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_the_names_in_what_is_typed(typed: Any, expected: set[str]) -> None:
    assert names_in([typed]) == expected


@pytest.mark.parametrize(
    "name",
    [
        "o/..",
        "o/m@../../x",
        "o/m@a/../b",
        "o/m/../../x.safetensors",
        "o/m@/x",
        "o/m//x.safetensors",
    ],
)
def test_a_name_that_leads_out_of_the_cache_is_none(name: str) -> None:
    assert as_folder(name) is None
    assert as_file(name) is None


def test_one_module_talks_to_the_hub() -> None:
    for package in ("ldm_core", "plugins", "pipelines"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                if any(name.partition(".")[0] == "huggingface_hub" for name in names):
                    assert path == ROOT / "ldm_core" / "model" / "hub.py"
