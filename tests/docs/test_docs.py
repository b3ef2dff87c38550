"""The documentation is true: what it shows runs, what it links is there, what there is it names.

A fenced block with a title is written to a file of that name. A ``python`` or ``sh`` block after
``<!-- run -->`` is run; the blocks of one page share a folder and their Python names.
"""

from __future__ import annotations

import pkgutil
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer

from ldm_core.cli import main
from ldm_core.cli.main import make_app
from ldm_core.composition.recipe import KEYS
from ldm_core.plugins import hookspecs
from ldm_core.plugins.registry import ShippedModel, discover, installed

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "examples" not in p.parts)
ALL = [*PAGES, *DOCS.glob("examples/*/*.md"), ROOT / "README.md"]
GUIDE = [DOCS / "how-to" / "write-a-plugin.md", *sorted((DOCS / "how-to" / "plugins").glob("*.md"))]
"""The pages that write one package, each a part of it."""


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str
    runs: bool


def blocks(page: Path) -> list[Block]:
    fence = r'(<!-- run -->\n+)?^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$'
    found = re.finditer(fence, page.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(m[2], m[3] or "", m[4], bool(m[1])) for m in found]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runnable(pages: list[Path]) -> list[Path]:
    return [page for page in pages if any(block.runs for block in blocks(page))]


def run_page(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write and run the blocks of a page in the current folder, in their order."""
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks(page)):
        if block.title:
            write(block)
        elif block.runs and block.language == "python":
            exec(compile(block.text, f"{name(page)}, block {number}", "exec"), names)
        elif block.runs:
            assert block.language == "sh", block
            for line in block.text.splitlines():
                run_command(line, monkeypatch)
    for test in [thing for key, thing in names.items() if key.startswith("test_")]:
        test()


def write(block: Block) -> None:
    """A block with a title, as a file in the current folder."""
    file = Path(block.title)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.text)


def run_command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    try:
        main()
        code: Any = 0
    except SystemExit as end:
        code = end.code or 0
    assert code == 0, line


@pytest.fixture(scope="module")
def quick(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with few steps of its own, as `shapes` has them."""
    copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp("docs") / "shapes"))
    (copy / "ldm.toml").write_text("num_inference_steps = 6\n")
    return copy


@pytest.fixture
def as_shapes(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to run in, where `shapes` is the tiny model."""
    registry = installed()
    monkeypatch.setattr(registry, "models", [ShippedModel("shapes", quick, "", "ldm-core", "0")])
    monkeypatch.setattr(registry, "plugins", list(registry.plugins))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mine(as_shapes: None) -> Iterator[None]:
    """The package of the guide to plugins, taken in by its entry point."""
    for page in GUIDE:
        for block in blocks(page):
            if block.title:
                write(block)
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    entries = [EntryPoint(*item, "ldm") for item in project["entry-points"]["ldm"].items()]
    package = discover(entries, disable=[], allow=[])
    assert not package.failures
    installed().plugins.extend(package.plugins)
    installed().models.extend(package.models)
    yield
    for module in [m for m in sys.modules if m.startswith(("ldm_mine", "ldm_pixels"))]:
        del sys.modules[module]


@pytest.mark.filterwarnings("ignore:the prompt is longer:UserWarning")
@pytest.mark.parametrize("page", runnable(ALL), ids=name)
def test_what_is_shown_runs(page: Path, mine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(page, monkeypatch)


@pytest.mark.slow
def test_the_tutorial_runs_on_the_model_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(DOCS / "tutorial.md", monkeypatch)


def command_lines() -> Iterator[tuple[str, str, bool]]:
    """Each ``ldm …`` that is shown: its page, the line, and whether it stands in a sh block."""
    for page in ALL:
        text = page.read_text()
        for block in blocks(page):
            if block.language in ("", "sh"):
                for line in block.text.replace("\\\n", " ").splitlines():
                    yield name(page), line, True
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`(ldm [^`]+)`", prose):
            yield name(page), code.replace("\n", " "), False


def walk(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and what is left of them."""
    command: Any = typer.main.get_command(make_app())
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, (
            f"no command '{words[0]}' in {sorted(command.commands)}"
        )
        command, words = command.commands[words[0]], words[1:]
    return command, words


def flags(command: Any) -> set[str]:
    return {flag for p in command.params for flag in p.opts if flag.startswith("-")} | {
        "-h",
        "--help",
    }


def test_every_command_line_has_commands_and_flags_that_exist() -> None:
    checked = 0
    for page, line, whole in command_lines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if "ldm" not in words or (words[0] != "ldm" and words[0] != "torchrun"):
            continue
        words = words[words.index("ldm") + 1 :]
        if words[:2] == ["count", "pixels"]:
            continue  # the command of a package that a page only sketches
        command, rest = walk(words)
        unknown = {w for w in rest if w.startswith("-")} - flags(command)
        assert not unknown, f"{page}: {line}: no {unknown}"
        if whole:
            command.make_context(command.name, list(rest))
        checked += 1
    assert checked > 30


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for key, found in getattr(command, "commands", {}).items():
        yield from leaves(found, f"{path} {key}")
    if not hasattr(command, "commands"):
        yield path, command


def test_every_command_and_flag_is_in_the_reference() -> None:
    sections = (DOCS / "reference" / "command-line.md").read_text().split("\n## ")
    app = typer.main.get_command(make_app())
    shared = flags(app.commands["generate"])  # type: ignore[attr-defined]
    for path, command in leaves(app, "ldm"):
        section = next(s for s in sections if s.startswith(" ".join(path.split()[:2]) + "\n"))
        assert path in section
        takes_all = re.search(r"the\s+options\s+of\s+`ldm generate`", section)
        for flag in flags(command) - {"-h", "--help"} - (shared if takes_all else set()):
            assert f"`{flag}`" in section, f"{path} {flag}"


def test_every_kind_and_hook_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "hooks.md").read_text()
    for kind, hook in {**hookspecs.KINDS, "model": "ldm_models"}.items():
        assert f"| {kind} | `{hook}` |" in page
    assert "::: ldm_core.plugins.hookspecs" in page
    listed = (DOCS / "reference" / "plugins.md").read_text()
    for plugin in installed().plugins:
        if plugin.distribution == "ldm-core":
            assert f"`{plugin.name}`" in listed or f"`ldm {plugin.name}`" in listed


def test_every_recipe_key_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "recipe.md").read_text()
    assert {key for key in KEYS if f"`{key}`" not in page} == set()


def test_every_manifest_key_is_in_the_reference(pipe: Any) -> None:
    page = (DOCS / "reference" / "manifest.md").read_text()
    (manifest,) = pipe("a red star", seed=1, num_inference_steps=1).manifests
    assert {key for key in [*manifest, "pixels_sha256"] if f"`{key}`" not in page} == set()


def test_the_list_of_plugins_is_current() -> None:
    script = DOCS / "make_plugin_table.py"
    page = runpy.run_path(str(script))
    assert page["PAGE"].read_text() == page["make_page"](), f"run: python {name(script)}"


def anchors(page: Path) -> set[str]:
    """The anchors that headings get."""
    text = page.read_text()
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in heads}


def links(page: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    documented = [f"#{name}" for name in re.findall(r"\]\[(ldm_core\.[\w.]+)\]", prose)]
    return [*(t for t in targets if not re.match(r"[a-z]+:", t)), *documented]


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    if not file.exists():
        return False
    if anchor.startswith("ldm_core."):
        try:
            return pkgutil.resolve_name(anchor) is not None
        except (ImportError, AttributeError):
            return False
    return not anchor or anchor in anchors(file)


def test_every_relative_link_leads_somewhere() -> None:
    broken = [(name(p), link) for p in ALL for link in links(p) if not leads_somewhere(p, link)]
    assert broken == []


def test_every_page_is_in_the_navigation() -> None:
    menu = (ROOT / "mkdocs.yml").read_text()
    for page in [*PAGES, *DOCS.glob("examples/*/README.md")]:
        assert f": {page.relative_to(DOCS).as_posix()}\n" in menu, page


@pytest.mark.parametrize(
    "page", [DOCS / "reference" / "hooks.md", DOCS / "reference" / "python.md"]
)
def test_what_mkdocstrings_is_asked_for_exists(page: Path) -> None:
    for reference, options in re.findall(
        r"^::: (\S+)\n((?:    .*\n)*)", page.read_text(), re.MULTILINE
    ):
        thing = pkgutil.resolve_name(reference)
        for listed in re.findall(r"members: \[(.*)\]", options):
            for member in listed.split(", "):
                assert hasattr(thing, member), f"{reference}.{member}"
