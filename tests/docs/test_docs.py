"""The documentation is true: what it shows runs, what it links is there, what there is it names.

A fenced block with a title is a file of that name: it is written, or, where a command of the page
has written it, it is seen to be the same. A ``python`` or ``sh`` block after ``<!-- run -->`` is
run; the blocks of one page share a folder, empty at its beginning, and their Python names, until a
file of a package is written: what lists plugins is then begun anew, as Python is.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

import tiny
from ldm_core.cli import main
from ldm_core.cli.inputs import TakesInputs, split_flags
from ldm_core.cli.later import itself
from ldm_core.cli.main import make_app
from ldm_core.conformance.declared import Declared
from ldm_core.conformance.plugin_checks import as_plugin, of_plugin
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import ShippedModel, discover, installed
from ldm_core.scaffold.kinds import STARTERS
from ldm_core.scaffold.package import new_package
from projects import entries_of
from tiny.covering import some_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "examples" not in p.parts)
ALL = [*PAGES, *DOCS.glob("examples/*/*.md"), ROOT / "README.md"]
NEEDS: dict[str, dict[str, Any]] = {
    "control": {"models": ["edges"]},
    "image_prompt": {"path": "adapter.safetensors", "image_encoder": "encoder"},
    "image_prompt_embeds": {"path": "adapter.safetensors", "image_encoder": "encoder"},
    "redux": {"path": "redux"},
    "upsampled_latents": {"upsampler": "upsampler"},
}
"""Options that conditionings cannot be made without."""
GUIDE = [
    DOCS / "how-to" / "write-a-plugin.md",
    DOCS / "how-to" / "add-a-family.md",
    *sorted((DOCS / "how-to" / "plugins").glob("*.md")),
]
"""The pages on plugins, each of which begins with nothing and ends with a package."""
CHANGED = ("plugin.py", "ldm.toml")
"""Files that a page shows as they are to be, and not as they are."""


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


class Projects:
    """Projects that a page has installed in place, taken in anew after each file that it writes."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._place, self._monkeypatch = place, monkeypatch
        self._folders: list[Path] = []
        registry = installed()
        self._others = list(registry.plugins), list(registry.models)

    def install(self, folder: str) -> None:
        """What ``pip install -e`` does."""
        self._folders.append(Path(folder).resolve())
        self._monkeypatch.syspath_prepend(self._folders[-1])
        self.refresh()

    def refresh(self) -> None:
        """As a new process would see them."""
        importlib.invalidate_caches()
        forget("ldm_mine")
        registry = installed()
        plugins, models = self._others
        entries = [entry for f in self._folders for entry in entries_of(f, self._place / ".site")]
        package = discover(entries, disable=[], allow=[])
        assert not package.failures
        self._monkeypatch.setattr(registry, "plugins", plugins + package.plugins)
        self._monkeypatch.setattr(registry, "models", models + package.models)


def forget(package: str) -> None:
    for module in [m for m in sys.modules if m.partition(".")[0] == package]:
        del sys.modules[module]


def run_page(page: Path, monkeypatch: pytest.MonkeyPatch, projects: Projects | None = None) -> None:
    """Write and run the blocks of a page in the current folder, in their order."""
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks(page)):
        if block.title:
            write(block)
            if projects is not None and Path(block.title).parts[0] == "ldm-mine":
                projects.refresh()
                names = {}
        elif block.runs and block.language == "python":
            names = {"__name__": "page"} | {n: v for n, v in names.items() if not is_test(n)}
            exec(compile(block.text, f"{name(page)}, block {number}", "exec"), names)
            for test in filter(is_test, [*names]):
                names[test]()
        elif block.runs:
            assert block.language == "sh", block
            for line in block.text.splitlines():
                if line.startswith("pip install -e ") and projects is not None:
                    projects.install(line.removeprefix("pip install -e "))
                else:
                    run_command(line, monkeypatch)


def is_test(name: str) -> bool:
    return name.startswith("test_")


def write(block: Block) -> None:
    """A block with a title, as a file in the current folder."""
    file = Path(block.title)
    if file.exists() and file.name not in CHANGED:
        assert block.text == file.read_text(), f"{file} is not what a command wrote"
        return
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
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with few steps of its own, as `shapes` has them, that attends in its deepest
    blocks alone, since the pages draw 64x64 pixels."""
    copy = tiny.write_stable_diffusion(
        tmp_path_factory.mktemp("docs") / "shapes",
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    (copy / "ldm.toml").write_text("num_inference_steps = 3\n")
    return copy


@pytest.fixture
def as_shapes(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to run in, where `shapes` is the tiny model."""
    registry = installed()
    others = [model for model in registry.models if model.name != "shapes"]
    shapes = ShippedModel("shapes", quick, "", "ldm-core", "0")
    monkeypatch.setattr(registry, "models", [*others, shapes])
    monkeypatch.setattr(registry, "plugins", list(registry.plugins))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def projects(
    as_shapes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Projects]:
    yield Projects(tmp_path, monkeypatch)
    forget("ldm_mine")


@pytest.mark.filterwarnings("ignore:the prompt is longer:UserWarning")
@pytest.mark.parametrize("page", some_of(runnable(ALL), 0, 2), ids=name)
def test_what_is_shown_runs(
    page: Path, projects: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_page(page, monkeypatch, projects)


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDE, ids=name)
def test_what_a_page_builds_passes_its_checks(
    page: Path, projects: Projects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for those that it declares to fail, and those of commands, which are run as programs."""
    run_page(page, monkeypatch, projects)
    declared = Declared.of(["ldm_mine.plugin"])
    everyone = [*installed().plugins, *map(as_plugin, installed().models)]
    offered = [p for p in everyone if p.distribution == "ldm-mine" and p.kind != "command"]
    assert offered or "command" in page.stem
    checks = [c for p in offered for c in of_plugin(p, installed(), None, declared)]
    results = [check.result() for check in checks]
    assert [str(r) for r in results if r.outcome == "failed"] == []


@pytest.mark.parametrize("page", GUIDE, ids=name)
def test_each_page_on_plugins_begins_with_nothing(page: Path) -> None:
    first = next(block for block in blocks(page) if block.runs)
    new, install, *_ = first.text.splitlines()
    assert new.startswith("ldm plugins new ldm-mine --kind ")
    assert install == "pip install -e ./ldm-mine"
    checked = [b.text for b in blocks(page) if b.language == "sh" and "plugins check" in b.text]
    tests = "pip install -e './ldm-mine[test]'\npytest ldm-mine\n"
    assert checked[:1] == [f"ldm plugins check ldm-mine\n{tests}"] or page is GUIDE[0]


def test_there_is_a_page_for_each_kind() -> None:
    kinds = re.findall(r"^ldm plugins new ldm-mine --kind (\S+)$", all_of(GUIDE), re.MULTILINE)
    assert {kind for named in kinds for kind in named.split(",")} == {*STARTERS}


def all_of(pages: list[Path]) -> str:
    return "\n".join(page.read_text() for page in pages)


@pytest.fixture
def mine(as_shapes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All that the pages on plugins and the example package offer, at once."""
    forget("ldm_mine")
    project = new_package("ldm-mine", [*STARTERS], tmp_path, installed()).folder
    module = project / "ldm_mine" / "plugin.py"
    texts = [module.read_text()]
    for page in GUIDE:
        for block in (block for block in blocks(page) if block.title.startswith("ldm-mine/")):
            file = tmp_path / block.title
            if file == module:
                texts.append(block.text)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text)
    module.write_text(joined(texts))
    entries = []
    for folder in (project, DOCS / "examples" / "ldm-res"):
        monkeypatch.syspath_prepend(folder)
        entries += entries_of(folder, tmp_path / ".site")
    package = discover(entries, disable=[], allow=[])
    assert not package.failures
    installed().plugins.extend(package.plugins)
    installed().models.extend(package.models)
    yield
    for name in ("ldm_mine", "ldm_res"):
        forget(name)


def joined(texts: list[str]) -> str:
    """One plugin module of several, each name of a hook offered once."""
    bodies: dict[str, dict[str, str]] = {}
    hooks = r"^@hookimpl\ndef (\w+)\(register.*:\n((?: {4}.*\n)+)"
    for text in texts:
        for hook, body in re.findall(hooks, text, re.MULTILINE):
            whole = re.sub(r",?\n {4,8}\)", ")", re.sub(r"(?<=[(,])\n {8}", " ", body))
            for line in whole.splitlines():
                offered = re.match(r' *register\( ?"([^"]+)"', line)
                bodies.setdefault(hook, {}).setdefault(offered[1] if offered else line, line)
    head = 'from pathlib import Path\n\nfrom ldm_core import hookimpl\n\nldm_api = ">=2,<3"\n'
    parts = [
        "\n".join(["", "", "@hookimpl", f"def {hook}(register):", *lines.values(), ""])
        for hook, lines in bodies.items()
    ]
    return head + "".join(parts)


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


def every_command() -> Any:
    """All commands, with those of the plugins that are installed now."""
    return itself(typer.main.get_command(make_app()))


def walk(command: Any, words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and what is left of them."""
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
    checked, commands = 0, every_command()
    for page, line, whole in command_lines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if "ldm" not in words or (words[0] != "ldm" and words[0] != "torchrun"):
            continue
        typed = words[words.index("ldm") + 1 :]
        while typed[:1] == ["--plugin"]:  # before the command
            typed = typed[2:]
        if typed and typed[0].isupper():  # any command's name
            continue
        command, rest = walk(commands, typed)
        unknown = unknown_flags(command, list(rest), inputs)
        assert not unknown, f"{page}: {line}: no {unknown}"
        if whole:
            command.make_context(command.name, list(rest))
        checked += 1
    assert checked > 30


def test_options_are_set_where_one_kernel_is_named() -> None:
    """Of several, an option of each stands in its own table."""
    several = [line for _, line, _ in command_lines() if re.search(r"--attention \S+,", line)]
    assert several
    assert [line for line in several if "--set attention." in line] == []


FLAGS: dict[str, set[str]] = {
    "generate star --strength 0.5 --control-image=edges.png --seed 7": set(),
    "inpaint star.png --mask-box 0,0,8,8 --then-prompt ring --no-paste": set(),
    "generate star --strenth 0.5 --colour red": {"--strenth", "--colour"},
    "explain --strength 0.5": {"--strength"},
    "replay star.png --class-label 3": {"--class-label"},
}
"""Command lines, and the flags of them that nothing reads."""


def test_a_flag_that_nothing_reads_is_noticed(inputs: set[str]) -> None:
    commands = every_command()
    unknown = {line: unknown_flags(*walk(commands, line.split()), inputs) for line in FLAGS}
    assert unknown == FLAGS


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
            there = pkgutil.resolve_name(anchor) is not None
        except (ImportError, AttributeError):
            return False
        return there and (not path or is_documented(file, anchor))
    return not anchor or anchor in anchors(file)


def is_documented(page: Path, name: str) -> bool:
    """Whether a page shows what has this name: by itself, or its module, where it is defined."""
    shown = re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    return name in shown or getattr(pkgutil.resolve_name(name), "__module__", "") in [
        module for module in shown if name.startswith(f"{module}.")
    ]


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
