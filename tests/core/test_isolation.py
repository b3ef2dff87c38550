"""Packages that are wrong where plugins are listed: each is named, and nothing else changes."""

from __future__ import annotations

import builtins
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pluggy
import pytest

import packages
from ldm_core.cli.ends import ended
from ldm_core.cli.signals import Stop, StopSignals
from ldm_core.plugins import died, discovery, surroundings
from ldm_core.plugins.registry import Registry

HEAD = "from ldm_core import hookimpl\nldm_api = '>=2,<3'\n"


def offering(hook: str, *lines: str, head: str = "") -> str:
    """A plugin module with one hook of these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"{HEAD}{head}\n@hookimpl\ndef {hook}(register):\n{body}"


def schedulers(*lines: str, head: str = "") -> str:
    return offering("ldm_schedulers", *lines, head=head)


WALK = "lambda x, grid, denoise, noise: x"
LISTING = {
    # at import
    "raises": ("1 / 0", "ZeroDivisionError"),
    "exits": ("import sys\nsys.exit(0)", "SystemExit: 0"),
    "exits_with_nothing": ("raise SystemExit", "SystemExit"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "cancels": ("import asyncio\nraise asyncio.CancelledError", "CancelledError"),
    "a_generator_exit": ("raise GeneratorExit", "GeneratorExit"),
    "a_bare_exception": ("class E(BaseException): pass\nraise E('mine')", "E: mine"),
    "an_error_that_cannot_be_said": (
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E()",
        "E",
    ),
    "lacks_a_module": ("import no_such_module_anywhere", "no_such_module_anywhere"),
    "is_no_python": ("this is no Python", "SyntaxError"),
    "never_ends_a_recursion": ("def f(): f()\nf()", "RecursionError"),
    "lists_while_listed": (
        "from ldm_core.plugins.registry import installed\ninstalled()",
        "asks for the installed plugins",
    ),
    # what it states
    "states_nothing": ("", "ldm_api"),
    "states_a_list": ("ldm_api_version = [2]", "ldm_api"),
    "states_text": ("ldm_api_version = '2'", "ldm_api"),
    "states_a_nan": ("ldm_api_version = (float('nan'), 2)", "ldm_api"),
    "states_by_raising": ("def __getattr__(name): raise RuntimeError(name)", "RuntimeError"),
    "says_escapes": (
        "raise ValueError('\\x1b[2J\\u202e' + 'x' * 200_000)",
        "ValueError: \ufffd[2J",
    ),
    "raises_a_class_of_escapes": ("raise type('E\\x1b[2J', (Exception,), {})('no')", "[2J: no"),
    # hooks
    "a_hook_exits": (schedulers("raise SystemExit(3)"), "SystemExit: 3"),
    "a_hook_interrupts": (schedulers("raise KeyboardInterrupt"), "KeyboardInterrupt"),
    "a_hook_lists": (
        schedulers("from ldm_core.plugins.registry import installed", "installed()"),
        "asks for the installed plugins",
    ),
    "a_hook_misspelt": (offering("ldm_scheduler", "pass"), "Did you mean 'ldm_schedulers'"),
    "a_hook_takes_more": (
        HEAD + "@hookimpl\ndef ldm_schedulers(register, registry): pass",
        "registry",
    ),
    "a_hook_is_a_generator": (schedulers("yield"), "is a generator"),
    "a_hook_is_async": (
        HEAD + "@hookimpl\nasync def ldm_schedulers(register): pass",
        "is a coroutine",
    ),
    "a_hook_is_not_marked": (HEAD + "def ldm_schedulers(register): pass", "not marked as a hook"),
    "a_hook_is_marked_by_another": (
        HEAD + "import pluggy\n@pluggy.HookimplMarker('other')\ndef ldm_schedulers(register): pass",
        "not marked as a hook",
    ),
    "a_hook_is_no_function": (HEAD + "ldm_schedulers = hookimpl(specname='ldm_schedulers')(3)", ""),
    "a_hook_returns_what_it_offers": (schedulers("return {'mine': 'a.b:c'}"), "calls register"),
    # registering
    "registers_nothing": (schedulers("register()"), "name"),
    "registers_no_callable": (schedulers("register('mine', 3)"), "target"),
    "registers_none": (schedulers("register('mine', None)"), "target"),
    "registers_no_place": (schedulers("register('mine', 'package.module')"), "package.module:name"),
    "named_none": (schedulers(f"register(None, {WALK})"), "name"),
    "named_a_number": (schedulers(f"register(3, {WALK})"), "name"),
    "named_empty": (schedulers(f"register('', {WALK})"), "a word"),
    "named_blank": (schedulers(f"register('  ', {WALK})"), "a word"),
    "named_unprintable": (schedulers(f"register('a\\x1b[31m', {WALK})"), "a word"),
    "named_by_lines": (schedulers(f"register('a\\nb', {WALK})"), "a word"),
    "named_with_a_space": (schedulers(f"register('my own', {WALK})"), "spaces"),
    "named_as_an_option": (schedulers(f"register('--steps', {WALK})"), "option"),
    "named_without_end": (schedulers(f"register('x' * 5000, {WALK})"), "5000 letters"),
    "named_as_anothers": (schedulers(f"register('ldm-core:euler', {WALK})"), "colon"),
    "named_as_a_set_of_ours": (
        schedulers(f"register('ldm-core:', {WALK})"),
        "those of another package",
    ),
    "named_as_a_set_of_a_library": (
        schedulers(f"register('Torch:', {WALK})"),
        "those of another package",
    ),
    "named_as_a_set_of_files": (
        schedulers(f"register('local:', {WALK})"),
        "those of another package",
    ),
    "named_by_colons": (schedulers(f"register('::', {WALK})"), "colon"),
    "named_by_half_a_pair": (schedulers("register('\\ud800', print)"), "a word"),
    "named_in_cyrillic": (schedulers(f"register('\\u0435uler', {WALK})"), "a to z"),
    "named_in_full_width": (schedulers(f"register('\\uff45uler', {WALK})"), "a to z"),
    "named_by_dots": (schedulers(f"register('...', {WALK})"), "a to z"),
    "named_as_a_path": (schedulers(f"register('../x/y.toml', {WALK})"), "a to z"),
    "named_as_a_value": (schedulers(f"register('nan', {WALK})"), "takes for a value"),
    "named_by_digits": (schedulers(f"register('3', {WALK})"), "a to z"),
    "named_as_a_list": (schedulers(f"register('a[b]{{{{c}}}}=d,e', {WALK})"), "a to z"),
    "named_twice": (
        schedulers(f"register('mine', {WALK})", f"register('mine', {WALK})"),
        "offered twice",
    ),
    "a_command_of_the_core": (
        offering("ldm_commands", "register('generate', print)"),
        "the core's own",
    ),
    "a_command_in_a_group_of_the_core": (
        offering("ldm_commands", "register('plugins list', print)"),
        "the core's own",
    ),
    "a_command_of_three_words": (offering("ldm_commands", "register('a b c', print)"), "a group"),
    "a_command_with_odd_letters": (offering("ldm_commands", "register('a;b', print)"), "letters"),
    "a_command_in_cyrillic": (
        offering("ldm_commands", "register('g\\u0435nerate', print)"),
        "a to z",
    ),
    "of_python_itself": (schedulers("register('mine', 'builtins:print')"), "Python itself"),
    "a_command_that_is_a_flag": (offering("ldm_commands", "register('--help', print)"), "option"),
    "a_model_without_folder": (offering("ldm_models", "register('m', None, 'tests')"), "folder"),
    "a_model_wherever": (offering("ldm_models", "register('m', 'models/m', 'tests')"), "in full"),
    "a_model_called_a_path": (offering("ldm_models", "register('a/b', '/tmp', 'tests')"), "a word"),
    "a_model_in_a_folder_that_fails": (
        offering(
            "ldm_models",
            "register('m', P('/tmp'), 'tests')",
            head="import pathlib\nclass P(type(pathlib.Path())):\n    def __str__(self): 1 / 0\n",
        ),
        "ZeroDivisionError",
    ),
    "a_model_in_no_folder": (
        offering("ldm_models", "register('m', '/a\\0b', 'tests')"),
        "no file system",
    ),
    "a_model_for_many_lines": (
        offering("ldm_models", "register('m', '/tmp', 'x\\n\\x1b[31my')"),
        "one line",
    ),
    "a_model_for_nothing": (offering("ldm_models", "register('m', '/tmp')"), "made_for"),
}
"""Plugin modules, each with a word of what is said of it."""


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, for packages of one test."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    discovery.once.cache_clear()
    before = set(sys.modules)
    yield site
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(sys.modules[name].__dict__.get("__file__")):
            del sys.modules[name]
    discovery.once.cache_clear()


def install(site: Path, name: str, text: str, **more: Any) -> None:
    module = f"wrong_{name}"
    entries = {"ldm": {"plugin": module}}
    packages.install(
        site,
        f"ldm-{name.replace('_', '-')}",
        modules={f"{module}.py": text, **more.pop("files", {})},
        entry_points=entries,
        **more,
    )


def test_each_is_named_in_one_line_and_the_rest_is_listed(fresh: Path, ldm: Any) -> None:
    before = ldm("plugins", "list")
    assert before[0] == 0
    for name, (text, _) in LISTING.items():
        install(fresh, name, text)
    discovery.once.cache_clear()
    code, out, err = ldm("plugins", "list")
    assert (code, out) == before[:2]
    lines = [line for line in err.splitlines() if line.startswith("not loaded: ")]
    assert len(lines) == len(LISTING)
    for name, (_, word) in LISTING.items():
        package = f"ldm-{name.replace('_', '-')} 1.0"
        (line,) = [line for line in lines if f"of the package {package}:" in line]
        assert word in line, line
    listed = json.loads(ldm("plugins", "list", "--json")[1])
    failed = {row["distribution"]: row["failure"] for row in listed if row["kind"] == "package"}
    assert len(failed) == len(LISTING)
    assert "ZeroDivisionError" in failed["ldm-raises"]
    for command in (["--help"], ["models", "list"], ["explain", "--steps", "3"]):
        code, out, _ = ldm(*command)
        assert (code, bool(out)) == (0, True)
    code, _, err = ldm("plugins", "show", "ldm-raises")
    assert (code, "ZeroDivisionError" in err) == (1, True)
    code, _, err = ldm("a-command-of-theirs")
    assert (code, "ldm-raises" in err) == (2, True)


METADATA = {
    "entries_of_no_form": {"entry_points": "[ldm]\nmine\n"},
    "entries_of_no_text": {"entry_points": b"[ldm]\nmine = \xff\xfe\n"},
    "entries_of_no_module": {"entry_points": "[ldm]\nmine = not a module\n"},
    "entries_of_nothing": {"entry_points": "[ldm]\nmine =\n"},
    "entries_of_a_module_that_is_gone": {"entry_points": "[ldm]\nmine = gone_module\n"},
    "entries_of_an_attribute_that_is_gone": {"entry_points": "[ldm]\nmine = wrong_pkg:gone\n"},
    "no_name": {"metadata": "Metadata-Version: 2.1\nVersion: 1.0\n"},
    "no_metadata": {"metadata": ""},
    "metadata_of_no_text": {"metadata": b"Name: \xff\xfe\n"},
    "a_name_of_no_form": {"metadata": "Name: my package!\nVersion: 1\n"},
}


def test_wrong_metadata_is_named_by_its_folder(fresh: Path, ldm: Any) -> None:
    before = ldm("plugins", "list")
    for name, parts in METADATA.items():
        folder = packages.install(
            fresh, f"ldm-{name}", modules={"wrong_pkg.py": ""}, entry_points={"ldm": {"x": "x"}}
        )
        for part, content in parts.items():
            file = folder / ("METADATA" if part == "metadata" else "entry_points.txt")
            file.write_bytes(content.encode() if isinstance(content, str) else content)
    # one without a version, which goes on
    folder = packages.install(
        fresh,
        "ldm-unversioned",
        modules={"wrong_unversioned.py": schedulers(f"register('u', {WALK})")},
        entry_points={"ldm": {"x": "wrong_unversioned"}},
    )
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: ldm-unversioned\n")
    discovery.once.cache_clear()
    code, out, err = ldm("plugins", "list")
    assert code == 0
    rest = [line for line in out.splitlines() if "ldm-unversioned" not in line]
    assert rest == before[1].splitlines()
    assert "scheduler\tu\tldm-unversioned\tunknown" in out
    for name in METADATA:
        assert re.search(rf"not loaded: .*ldm[-_]{name}", err), (name, err)


WORDS = (
    "LDM_ALLOW_PLUGINS",
    "working folder",
    "arguments",
    "streams",
    "SIGTERM",
    "json",
    "recursion",
    "builtins.print",
    "looked for first",
    "how modules are looked for",
    "torch's default type",
)


def test_what_one_changes_at_import_is_put_back_and_said(
    fresh: Path, ldm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Path.cwd(), sys.argv, sys.stdout, dict(os.environ)
    changes = """
import builtins, io, os, signal, sys, torch, warnings
torch.set_default_dtype(torch.float64)
os.environ["LDM_ALLOW_PLUGINS"] = "ldm-changes"
os.chdir("/")
sys.argv = ["other"]
sys.stdout = io.StringIO()
warnings.showwarning = lambda *_: None
warnings.simplefilter("ignore")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.modules["json"] = None
sys.setrecursionlimit(sys.getrecursionlimit() - 1)
builtins.print = None
sys.path.insert(0, sys.path.pop())

class Finder:
    def find_spec(name, path=None, target=None):
        raise RuntimeError(name)

sys.meta_path.insert(0, Finder)
"""
    how = print, sys.getrecursionlimit(), list(sys.path), list(sys.meta_path)
    install(fresh, "changes", changes + schedulers(f"register('changing', {WALK})"))
    discovery.once.cache_clear()
    code, out, err = ldm("plugins", "list")
    assert code == 0
    assert "changing" in out
    assert dict(os.environ).get("LDM_ALLOW_PLUGINS") is None
    assert sys.modules["json"] is json
    (line,) = [line for line in err.splitlines() if "was put back" in line]
    for word in WORDS:
        assert word in line
    assert how[:3] == (builtins.print, sys.getrecursionlimit(), list(sys.path))
    first, behind = sys.meta_path[: len(how[3])], sys.meta_path[len(how[3]) :]
    assert first == how[3]
    assert "wrong_changes" not in {vars(one).get("__module__") for one in behind}  # torch's may be
    assert Path.cwd() != Path("/")
    assert before[2] is sys.stdout


ONE_CHANGE = {
    "where temporary files lie": "import tempfile\ntempfile.tempdir = '/nonexistent'",
    "how deep calls of threads go": "import threading\nthreading.stack_size(32768)",
    "json.dumps": "import json\njson.dumps = lambda *a, **k: 1 / 0",
    "time.perf_counter": "import time\ntime.perf_counter = lambda: 1 / 0",
    "io.open": "import io\nio.open = lambda *a, **k: 1 / 0",
    "Path.exists": "import pathlib\npathlib.Path.exists = lambda *a: 1 / 0",
    "PluginManager.register": "import pluggy\npluggy.PluginManager.register = lambda *a: 1 / 0",
    "Registry.find": (
        "from ldm_core.plugins.registry import Registry\nRegistry.find = lambda *a: 1 / 0"
    ),
    "Registry.named": "from ldm_core.plugins.registry import Registry\ndel Registry.named",
    "RLIMIT_FSIZE": (
        "import resource as r\nhard = r.getrlimit(r.RLIMIT_FSIZE)[1]\n"
        "r.setrlimit(r.RLIMIT_FSIZE, (10, hard))"
    ),
    "RLIMIT_NOFILE": (
        "import resource as r\nhard = r.getrlimit(r.RLIMIT_NOFILE)[1]\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (20, hard))"
    ),
    "the timer": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 3600)",
    "what SIGALRM does": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: 1 / 0)",
}
"""What plugin modules change, by a word of what is said of it."""


def test_each_change_to_what_the_program_needs_is_put_back_and_said(fresh: Path, ldm: Any) -> None:
    def state() -> list[object]:
        return [
            tempfile.gettempdir(),
            threading.stack_size(),
            json.dumps,
            time.perf_counter,
            io.open,
            Path.exists,
            pluggy.PluginManager.register,
            Registry.find,
            Registry.named,
            resource.getrlimit(resource.RLIMIT_FSIZE),
            resource.getrlimit(resource.RLIMIT_NOFILE),
            signal.getitimer(signal.ITIMER_REAL),
            signal.getsignal(signal.SIGALRM),
        ]

    before = state()
    for i, change in enumerate(ONE_CHANGE.values()):
        install(fresh, f"changes_{i}", change + "\n" + HEAD)
    discovery.once.cache_clear()
    code, _, err = ldm("plugins", "list", "--json")
    assert code == 0
    assert state() == before
    for i, word in enumerate(ONE_CHANGE):
        whose = f"the package ldm-changes-{i} 1.0 changed"
        (line,) = [line for line in err.splitlines() if whose in line and "put back" in line]
        assert word in line


def test_escapes_in_errors_reach_no_terminal(fresh: Path, ldm: Any) -> None:
    for name in ("says_escapes", "raises_a_class_of_escapes"):
        install(fresh, name, LISTING[name][0])
    discovery.once.cache_clear()
    code, _, err = ldm("plugins", "list")
    assert (code, "not loaded" in err) == (0, True)
    assert not {"\x1b", "\u202e"} & {*err}
    assert max(map(len, err.splitlines())) < 600


def test_a_signal_that_comes_at_an_import_names_the_package(
    fresh: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(died, "ALONE", 0)  # a copy, which is not tried, would end of it
    install(fresh, "killed", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals(), pytest.raises(Stop) as stopped:
        discovery.installed()
    assert signal.getsignal(signal.SIGTERM) == before
    assert ended(stopped.value) == 128 + signal.SIGTERM
    assert "while the package ldm-killed 1.0 was imported" in capsys.readouterr().err


def test_a_module_of_a_library_belongs_to_that(fresh: Path, ldm: Any) -> None:
    """Also where the environment lies in the folder of a project that is being edited."""
    packages.install(fresh, "ldm-borrows", modules={}, entry_points={"ldm": {"x": "torch.nn"}})
    discovery.once.cache_clear()
    code, _, err = ldm("plugins", "list")
    (line,) = [line for line in err.splitlines() if "ldm-borrows 1.0" in line]
    assert code == 0
    assert line.endswith("belongs to the package torch")


def test_a_module_without_a_file_hinders_no_list(fresh: Path, ldm: Any) -> None:
    """Such as one of Python's own, of which a plugin offers a function itself."""
    install(fresh, "sleeper", schedulers("import time", "register('sleeper', time.sleep)"))
    discovery.once.cache_clear()
    code, out, err = ldm("plugins", "list")
    assert (code, "sleeper" in out, "fault of ldm" in err) == (0, True, False)
    assert "fault of ldm" not in ldm("plugins", "show", "sleeper")[2]


def test_a_folder_that_is_no_model_is_not_walked(
    fresh: Path, ldm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "no_model"
    place.mkdir()
    install(
        fresh,
        "walked",
        offering(
            "ldm_models",
            "from pathlib import Path",
            f"register('m', Path({str(place)!r}), 'tests')",
        ),
    )
    monkeypatch.setattr(
        "ldm_core.model.files.size_of", lambda folder: 1 // ("no_" not in str(folder))
    )
    discovery.once.cache_clear()
    code, out, err = ldm("models", "list")
    assert (code, "unusable" in out) == (0, True)
    assert "ldm-walked 1.0" in err
    assert "has no model_index.json" in err


def test_one_that_wraps_hooks_wraps_its_own_alone(fresh: Path, ldm: Any) -> None:
    wraps = f"""{HEAD}
@hookimpl(wrapper=True, tryfirst=True)
def ldm_schedulers(register):
    try:
        yield
    finally:
        pass
    return []

@hookimpl(hookwrapper=True)
def ldm_spacings(register):
    outcome = yield
    outcome.force_result([])
"""
    before = ldm("plugins", "list")
    install(fresh, "wraps", wraps)
    discovery.once.cache_clear()
    assert ldm("plugins", "list") == before


def test_register_is_of_no_use_after_its_hook(fresh: Path, ldm: Any) -> None:
    keeps = schedulers("KEPT.append(register)", head="KEPT = []\n")
    install(fresh, "keeps", keeps)
    discovery.once.cache_clear()
    before = ldm("plugins", "list")
    import wrong_keeps  # type: ignore[import-not-found]

    with pytest.raises(Exception, match="after the hook"):
        wrong_keeps.KEPT[0]("late", lambda x: x)
    assert ldm("plugins", "list") == before


def test_a_slow_and_a_heavy_import_are_said(
    fresh: Path, ldm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the second that imports what the first one has."""
    monkeypatch.setattr(surroundings, "HEAVY", ("large_library",))
    (fresh / "large_library.py").write_text("")
    install(fresh, "sleeps", "import time\ntime.sleep(0.6)\n" + schedulers("pass"))
    for name in ("one", "two"):
        install(fresh, name, "import large_library\n" + schedulers("pass"))
    discovery.once.cache_clear()
    code, _, err = ldm("plugins", "list")
    assert code == 0
    assert re.search(r"warning: the package ldm-sleeps 1\.0 took \d\.\d s to import", err)
    for name in ("one", "two"):
        assert f"the package ldm-{name} 1.0 imports large_library with its plugin module" in err


@pytest.mark.slow
def test_one_that_sleeps_three_seconds_is_said_and_hinders_nothing(fresh: Path, ldm: Any) -> None:
    before = ldm("plugins", "list")
    install(fresh, "sleeps", "import time\ntime.sleep(3)\n" + schedulers("pass"))
    discovery.once.cache_clear()
    code, out, err = ldm("plugins", "list")
    assert (code, out) == before[:2]
    (seconds,) = re.findall(r"the package ldm-sleeps 1\.0 took (\d\.\d) s to import", err)
    assert 3 <= float(seconds) < 6


COMMANDS = {
    "type_checking": """
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from somewhere import Thing
def command(thing: Thing, *, more: Thing | None = None):
    "Annotated for type checkers alone."
""",
    "odd_types": "class T: pass\ndef command(*, more: T = None): 'Takes what no flag can be.'",
    "odd_default": "def command(*, n: int = 'many'): 'Has a default that is none.'",
    "odd_star": "def command(*a: object, **k: object): 'Takes anything.'",
    "annotation_exits": "def command(*, n: 'exit(0)' = 1): 'Ends what reads it.'",
    "no_function": "command = 3",
    "gone": "",
    "raises_at_import": "raise RuntimeError('not now')",
    "exits_at_import": "raise SystemExit(0)",
    "markup": "def command(): 'Closes [/what] was [red]never [open [/or] closed, \\ud800.'",
    "doc_is_no_text": "def command(): pass\ncommand.__doc__ = 3",
    "twice_the_flag": "def command(*, a_b: int = 1, help: int = 2): 'Has a flag of all commands.'",
}


def test_a_command_that_cannot_be_made_is_alone_with_it(fresh: Path, ldm: Any) -> None:
    before = ldm("--help")
    for name, text in COMMANDS.items():
        hook = offering("ldm_commands", f"register('c-{name}', 'target_{name}:command')")
        install(fresh, name, hook, files={f"target_{name}.py": text})
    discovery.once.cache_clear()
    code, out, _ = ldm("--help")
    assert code == before[0] == 0
    shown = {name for name in COMMANDS if f"c-{name}" in out}
    assert shown == {*COMMANDS}
    for line in before[1].splitlines():
        if re.match(r"│ [a-z]", line):
            assert line.split()[1] in out
    assert ldm("explain", "--steps", "3")[0] == 0
    usable = {"odd_types", "markup", "doc_is_no_text", "odd_star"}
    for name in COMMANDS.keys() - usable:
        code, out, err = ldm(f"c-{name}", "--more", "3")
        assert (code, out) == (1, ""), (name, err)
        assert f"of the package ldm-{name.replace('_', '-')} 1.0" in err
    for name in COMMANDS:
        assert ldm(f"c-{name}", "--help")[0] in (0, 1), name


FAMILY = """
from ldm_core.contracts import Family
class {name}(Family):
    def matches(self, index):
        {matches}
    def inspect(self, source, folder, index):
        raise ValueError("inspected")
    def load(self, info, place): ...
    def default_config(self, shapes):
        {config}
"""


def family(matches: str, config: str = "return None") -> str:
    return FAMILY.format(name="made", matches=matches, config=config)


FAMILIES = {
    "gone": ("", "has no attribute"),
    "raises_when_made": ("def made(): raise ValueError('not made')", "not made"),
    "exits_when_made": ("def made(): raise SystemExit(0)", "SystemExit"),
    "needs_arguments": ("def made(*, folder): ...", "folder"),
    "gives_something_else": ("def made(): return 3", "Family"),
    "is_half_a_family": (
        "from ldm_core.contracts import Family\nclass made(Family): ...",
        "abstract",
    ),
    "raises_when_asked": (family("return index['none']"), "'none'"),
    "exits_when_asked": (family("raise SystemExit"), "SystemExit"),
    "answers_text": (family("return 'yes'"), "True or False"),
    "answers_nothing": (family("pass"), "True or False"),
    "changes_the_question": (family("index.clear(); return False"), ""),
    "claims_all": (family("return True", "return 'no/such'"), "claims the model"),
}


def test_a_family_that_cannot_be_asked_is_alone_with_it(
    fresh: Path, ldm: Any, tmp_path: Path, folder: Path
) -> None:
    before = [ldm("explain", "--steps", "3"), ldm("explain", "--steps", "3", "--model", folder)]
    assert before[0][0] == before[1][0] == 0
    for name, (text, _) in FAMILIES.items():
        hook = offering("ldm_families", f"register('{name}', 'family_{name}:made')")
        install(fresh, f"f_{name}", hook, files={f"family_{name}.py": text})
    discovery.once.cache_clear()
    for model, (_, out, _) in zip(([], ["--model", folder]), before, strict=True):
        with warnings.catch_warnings():  # in one process each would be shown once
            warnings.simplefilter("always")
            code, now, err = ldm("explain", "--steps", "3", *model)
        assert (code, now) == (0, out)
        for name, (_, word) in FAMILIES.items():
            package = f"ldm-f-{name.replace('_', '-')} 1.0"
            said = [
                line for line in err.splitlines() if f"'{name}' of the package {package}" in line
            ]
            assert len(said) == bool(word), (name, err)
            assert word in "".join(said)
    other = tmp_path / "other"
    other.mkdir()
    (other / "model_index.json").write_text('{"_class_name": "OfNobody"}')
    code, _, err = ldm("explain", "--model", other)
    assert code == 1
    assert "the family 'claims_all' of the package ldm-f-claims-all 1.0 failed" in err


def test_names_of_others_go_by_their_ids(fresh: Path, ldm: Any) -> None:
    """Ours keep theirs, and those of two other packages neither."""
    hook = offering("ldm_commands", "register('text-to-image', print)", "register('both', print)",
                    "register('train', print)", "register('upscale more', print)")  # fmt: skip
    install(fresh, "one", hook)
    install(fresh, "two", offering("ldm_commands", "register('both', print)"))
    discovery.once.cache_clear()
    out = ldm("--help")[1]
    names = {line.split()[1] for line in out.splitlines() if re.match(r"│ [a-z]", line)}
    assert {"text-to-image", "ldm-one:text-to-image", "ldm-one:both", "ldm-two:both"} <= names
    assert {"train", "ldm-one:train", "upscale", "ldm-one:upscale"} <= names
    assert "both" not in names
    assert "denoiser" in ldm("train", "--help")[1]
    assert "--help" in ldm("upscale", "--help")[1]


def test_a_model_whose_folder_is_wrong_is_listed_so(fresh: Path, ldm: Any, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    lines = [f"register('gone', {str(tmp_path / 'gone')!r}, 'tests')",
             f"register('file', {str(file)!r}, 'tests')",
             f"register('bare', {str(fresh)!r}, 'tests')"]  # fmt: skip
    install(fresh, "models", offering("ldm_models", *lines))
    discovery.once.cache_clear()
    code, out, err = ldm("models", "list")
    assert code == 0
    assert out.count("unusable") == 3
    assert "the model 'gone' of the package ldm-models 1.0 failed" in err
    records = {m["name"]: m for m in json.loads(ldm("models", "list", "--json")[1])}
    assert records["gone"]["bytes"] is None
    assert "is not there" in records["gone"]["failure"]
    for name, code in (("gone", 1), ("file", 1), ("bare", 1)):
        ended, _, err = ldm("explain", "--model", name)
        assert ended == code
        assert str(tmp_path) in err


PRINTS = """
import os, sys, subprocess
def shout(when):
    print("out", when)
    sys.stdout.write(f"out {when}\\n")
    sys.__stdout__.write(f"out {when}\\n")
    sys.stdout.buffer.write(b"out bytes\\n")
    os.write(1, b"out below\\n")
    import typer, rich
    typer.echo(f"out {when}")
    rich.print(f"out {when}")
    subprocess.run(["echo", "out", "of another process"])
shout("at import")
"""


def test_what_a_plugin_prints_goes_to_the_standard_error_stream(
    fresh: Path, tmp_path: Path
) -> None:
    hook = schedulers("shout('in a hook')", "register('loud', 'wrong_loud:loud')", head=PRINTS)
    loud = f"""

def loud(*, n: int = 1):
    "Loud."
    shout("when made")
    return {WALK}
"""
    install(fresh, "loud", hook + loud)
    place = os.pathsep.join([str(fresh), *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-m", "ldm_core", "explain", "--scheduler", "loud", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": place},
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    assert "out" not in run.stdout.split('"')[0]
    assert json.loads(run.stdout)["num_inference_steps"]
    assert run.stderr.count("out at import") == 5
    assert run.stderr.count("out when made") >= 5
    assert "out below" in run.stderr
    assert "out of another process" in run.stderr
