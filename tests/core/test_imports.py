"""Who may import whom, read from the syntax trees."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "xformers", "safetensors"}


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def imports(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Names of the modules that a file imports; with `at_import`, when it is itself imported."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        if at_import and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            continue
        pending += ast.iter_child_nodes(node)


def tops(path: Path, *, at_import: bool = False) -> set[str]:
    return {name.partition(".")[0] for name in imports(path, at_import=at_import)}


@pytest.mark.parametrize("path", modules("ldm_core"), ids=str)
def test_the_core_knows_no_plugin_and_no_model(path: Path) -> None:
    assert not tops(path) & {"ldm_plugins", "ldm_pipelines", "diffusers", "transformers"}


@pytest.mark.parametrize("path", modules("plugins/ldm_plugins"), ids=str)
def test_plugins_know_the_core_alone_and_import_nothing_heavy_at_the_top(path: Path) -> None:
    assert "ldm_pipelines" not in tops(path)
    assert not tops(path, at_import=True) & HEAVY
    kind = path.relative_to(ROOT / "plugins" / "ldm_plugins").parts[0]
    for name in imports(path):
        if name.startswith("ldm_plugins."):
            assert name.split(".")[1] in (kind, "shared"), f"{path} imports {name}"


@pytest.mark.parametrize("path", modules("pipelines/ldm_pipelines"), ids=str)
def test_pipelines_name_plugins_by_string(path: Path) -> None:
    assert "ldm_plugins" not in tops(path)


ROOMS = (
    "numerics", "contracts", "plugins", "model", "composition", "media", "run", "jobs",
    "conformance", "scaffold", "cli",
)  # fmt: skip
"""The rooms of the core from the ground up: each imports those before it alone."""


def test_every_room_has_its_place_in_the_order() -> None:
    core = ROOT / "ldm_core"
    assert {path.name for path in core.iterdir() if (path / "__init__.py").is_file()} == {*ROOMS}
    names = {path.name for path in core.glob("*.py")}
    assert names == {
        "__init__.py",
        "__main__.py",
        "annotations.py",
        "arguments.py",
        "cache.py",
        "compose.py",
        "errors.py",
        "hookspecs.py",
        "machine.py",
        "recipe.py",
        "values.py",
    }


def test_what_has_moved_is_still_found_where_it_was() -> None:
    from ldm_core.composition.recipe import read_recipe
    from ldm_core.recipe import read_recipe as old_read_recipe
    from ldm_plugins.conditioning.shared.weighted_prompt import read_weights
    from ldm_plugins.conditioning.weighted_prompt import read_weights as old_read_weights

    assert (old_read_recipe, old_read_weights) == (read_recipe, read_weights)


@pytest.mark.parametrize(
    ("room", "other"),
    [(room, other) for i, room in enumerate(ROOMS) for other in ROOMS[i + 1 :]],
)
def test_a_room_imports_no_room_above_it(room: str, other: str) -> None:
    for path in modules(f"ldm_core/{room}"):
        above = [name for name in imports(path) if (name + ".").startswith(f"ldm_core.{other}.")]
        assert not above, f"{path} imports {above}"


def test_the_ground_room_imports_torch_numpy_and_itself_alone() -> None:
    for path in modules("ldm_core/numerics"):
        for name in imports(path):
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names | {"torch", "numpy", "ldm_core"}, path
            assert top != "ldm_core" or name.startswith("ldm_core.numerics."), path


def test_no_file_is_longer_than_can_be_read_in_one_sitting() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for package in ("ldm_core", "plugins", "pipelines")
        for path in modules(package)
        if (count := len(path.read_text().splitlines())) > 350
    }
    assert long == {}


@pytest.mark.parametrize("package", ["ldm_core", "plugins", "pipelines"])
def test_nothing_unpickles(package: str) -> None:
    for path in modules(package):
        text = path.read_text()
        assert not tops(path) & {"pickle", "cloudpickle", "dill", "joblib"}, path
        assert "torch.load(" not in text, path
        assert "trust_remote_code" not in text, path


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["plugins", "list"],
        ["plugins", "show", "ddim"],
        ["models", "list"],
        ["recipe", "check", "{recipe}"],
        ["explain", "--recipe", "{recipe}", "--steps", "4"],
    ],
    ids=" ".join,
)
def test_answering_takes_neither_torch_nor_diffusers(
    command: list[str], folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(f'model = "{folder}"\nscheduler = "dpmpp_2m"\nspacing = "karras"\n')
    argv = ["ldm", *(part.format(recipe=recipe) for part in command)]
    code = (
        "import sys; from ldm_core.cli import main\n"
        f"sys.argv = {argv!r}\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('HEAVY', sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().endswith("HEAVY []")


@pytest.mark.parametrize(
    ("words", "spared"),
    [
        (["--help"], ("numpy", "PIL", "pydantic", "ldm_core.contracts")),
        (["plugins", "list"], ("numpy", "PIL", "rich", "ldm_core.contracts")),
    ],
    ids=str,
)
def test_lists_run_no_command_and_no_plugin(words: list[str], spared: tuple[str, ...]) -> None:
    """Nor what only those need; `ldm_plugins.plugin` names them all."""
    code = (
        "import sys; from ldm_core.cli import main\n"
        f"sys.argv = {['ldm', *words]!r}\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('HEAVY', sorted({set(spared)!r} & {{*sys.modules}}))\n"
        "ours = {n for n in sys.modules if n.startswith(('ldm_plugins.', 'ldm_pipelines.'))}\n"
        "print(sorted(n for n in ours if not sys.modules[n].__spec__.submodule_search_locations))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    *_, heavy, own = run.stdout.strip().splitlines()
    assert heavy == "HEAVY []"
    assert own == "['ldm_pipelines.plugin', 'ldm_plugins.plugin']"
