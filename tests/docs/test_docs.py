"""The documentation is true: what it shows runs, what it links is there, what there is it names.

A fenced block with a title is written to a file of that name. A ``python`` or ``sh`` block after
``<!-- run -->`` is run; the blocks of one page share a folder and their Python names.
"""

from __future__ import annotations

import pkgutil
import re
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
from ldm_core.cli.inputs import TakesInputs, split_flags
from ldm_core.cli.later import itself
from ldm_core.cli.main import make_app
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import ShippedModel, discover, installed

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "examples" not in p.parts)
ALL = [*PAGES, *DOCS.glob("examples/*/*.md"), ROOT / "README.md"]
NEEDS: dict[str, dict[str, Any]] = {
    "control": {"models": ["edges"]},
    "image_prompt": {"path": "adapter.safetensors", "image_encoder": "encoder"},
}
"""Options that conditionings cannot be made without."""
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
    matches = re.finditer(fence, page.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(m[2], m[3] or "", m[4], bool(m[1])) for m in matches]


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
    named = project["entry-points"]["ldm"]
    entries = [EntryPoint(name=key, value=named[key], group="ldm") for key in named]
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
    command: Any = itself(typer.main.get_command(make_app()))
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, (
            f"no command '{words[0]}' in {sorted(command.commands)}"
        )
        command, words = command.commands[words[0]], words[1:]
    return command, words


def unknown_flags(command: Any, words: list[str], inputs: set[str]) -> set[str]:
    """Flags that are no option of the command, nor, where it takes such, an input of a model."""
    own = {"-h", "--help", *(flag for p in command.params for flag in (*p.opts, *p.secondary_opts))}
    others: dict[str, str] = {}
    if isinstance(command, TakesInputs):
        words, others = split_flags(words, own)
    strange = {f"--{name.replace('_', '-')}" for name in others.keys() - inputs}
    return strange | ({word for word in words if word.startswith("-")} - own)


@pytest.fixture
def inputs(mine: None) -> set[str]:
    """The inputs that some conditioning reads, and the axes of what is drawn on these pages."""
    parts = [
        with_options(plugin.loaded, NEEDS.get(plugin.name, {}))
        for plugin in installed().of_kind("conditioning")
    ]
    return {"width", "height", "frames", *(name for part in parts for name in part.inputs)}


def test_every_command_line_has_commands_and_flags_that_exist(inputs: set[str]) -> None:
    checked = 0
    for page, line, whole in command_lines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if "ldm" not in words or (words[0] != "ldm" and words[0] != "torchrun"):
            continue
        command, rest = walk(words[words.index("ldm") + 1 :])
        unknown = unknown_flags(command, list(rest), inputs)
        assert not unknown, f"{page}: {line}: no {unknown}"
        if whole:
            command.make_context(command.name, list(rest))
        checked += 1
    assert checked > 30


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("generate star --strength 0.5 --control-image=edges.png --seed 7", set()),
        ("inpaint star.png --mask-box 0,0,8,8 --then-prompt ring --no-paste", set()),
        ("generate star --strenth 0.5 --colour red", {"--strenth", "--colour"}),
        ("explain --strength 0.5", {"--strength"}),
        ("replay star.png --class-label 3", {"--class-label"}),
    ],
)
def test_a_flag_that_nothing_reads_is_noticed(
    inputs: set[str], line: str, unknown: set[str]
) -> None:
    assert unknown_flags(*walk(line.split()), inputs) == unknown


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


def test_the_map_of_the_code_names_files_that_are_there():
    text = (DOCS / "explanation" / "architecture.md").read_text()
    named = set(re.findall(r"`(ldm_core/[\w/]+\.py)`", text))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (DOCS.parent / name).is_file()] == []
