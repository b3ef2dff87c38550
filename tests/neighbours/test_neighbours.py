"""Whatever is wrong with a package that is installed: nothing changes but its own use, which says
in one message whose fault it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from forked import Server, output_of
from neighbours.corpus import AT_USE, RIGHT, VERSION, WRONG, Use, Wrong
from neighbours.misbehaved import MISBEHAVED, USES
from neighbours.reckless import ALL
from tiny.covering import some_of

WORDS = ["generate", "star", "--steps", "2", "--seed", "1"]
CORE = {"generate", "replay", "explain", "plugins", "models", "recipe", "inpaint", "train"}
"""Some of the commands that come with ldm."""


@dataclass
class Ended:
    """A run that has ended."""

    code: int
    out: str
    err: str
    pictures: list[Any]


@dataclass
class Bench:
    """Runs of ldm beside packages.

    Attributes:
        plain: the picture, and the plugins listed, beside none.
    """

    server: Server
    place: Path
    model: str
    plain: Any = None
    plugins: frozenset[tuple[str, str, str]] = frozenset()

    def run(
        self, words: list[str], *packages: Path, environment: dict[str, str] | None = None
    ) -> Ended:
        folder = self.place / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if "--out" not in words and words[0] == "generate":
            words = [*words, "--out", str(folder / "out")]
            words += [] if "--model" in words else ["--model", self.model]
        pid = self.server.start(words, folder, environment=environment, path=packages)
        code = self.server.wait(pid)
        out, err = output_of(folder, pid)
        files = sorted((folder / "out").glob("*.png")) if (folder / "out").is_dir() else []
        return Ended(code, out, err, [np.asarray(Image.open(file)) for file in files])


@pytest.fixture(scope="module")
def bench(server: Server, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    place = tmp_path_factory.mktemp("neighbours")
    (place / "warm").mkdir()
    for words in (["plugins", "list", "--json"], ["--help"]):
        server.warm(words, place / "warm")
    bench = Bench(server, place, str(folder))
    plain = bench.run(WORDS)
    assert plain.code == 0, plain.err
    (bench.plain,) = plain.pictures
    bench.plugins = listed(bench.run(["plugins", "list", "--json"]))
    assert len(bench.plugins) > 100
    return bench


def listed(ended: Ended) -> frozenset[tuple[str, str, str]]:
    """The plugins that a list has, whatever else it holds."""
    read = json.loads(ended.out)
    plugins = read if isinstance(read, list) else read["plugins"]
    return frozenset((row["kind"], row["name"], row["distribution"]) for row in plugins)


def lay_out(place: Path, wrong: Wrong) -> Path:
    """A folder with the package, as an installer would leave it."""
    folder = place / f"site-{wrong.name}"
    shutil.rmtree(folder, ignore_errors=True)
    about = folder / f"{wrong.package}-{VERSION}.dist-info"
    about.mkdir(parents=True)
    files = {f"{wrong.package}.py": wrong.module, **wrong.more}
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    entry = wrong.entry or wrong.package
    (about / "entry_points.txt").write_text(f"[ldm]\n{wrong.entry_name} = {entry}\n")
    if wrong.metadata is not None:
        text = wrong.metadata or f"Metadata-Version: 2.1\nName: {wrong.name}\nVersion: {VERSION}\n"
        (about / "METADATA").write_text(text, errors="surrogateescape")
    names = [*files, *(f"{about.name}/{path.name}" for path in about.iterdir())]
    record = "".join(f"{name},,\n" for name in (*names, f"{about.name}/RECORD"))
    (about / "RECORD").write_text(record)
    return folder


def check_words(ended: Ended, what: str) -> None:
    assert "Traceback" not in ended.err, (what, ended.err)
    assert ended.err.count("error: ") <= 1, (what, ended.err)
    assert "fault of ldm" not in ended.err, (what, ended.err)


def check_use(bench: Bench, wrong: Wrong, use: Use, site: Path) -> None:
    """See that using what is wrong ends as it should."""
    ended = bench.run(use.words.split(), site)
    check_words(ended, use.words)
    assert ended.code == use.code, (use, ended.code, ended.err)
    assert bool(ended.pictures) == use.makes, use
    said = ended.err
    for word in use.says:
        assert word in said, (word, said)
    if use.blames and wrong.metadata == "":
        assert wrong.name in said, said
        assert VERSION in said, said


@pytest.mark.parametrize("wrong", some_of([*WRONG, *ALL], 0, 4), ids=lambda wrong: wrong.name)
def test_a_wrong_neighbour_changes_nothing_but_its_own_use(bench: Bench, wrong: Wrong) -> None:
    site = lay_out(bench.place, wrong)
    ended = bench.run(["plugins", "list", "--json"], site)
    check_words(ended, "list")
    assert ended.code == 0, ended.err
    assert listed(ended) >= bench.plugins
    if wrong.told and wrong.metadata == "":
        assert wrong.name in ended.err, ended.err
    if (
        wrong not in AT_USE
    ):  # what is imported when it is used alone; all at once they are tried too
        ended = bench.run(WORDS, site)
        check_words(ended, "generate")
        assert ended.code == 0, ended.err
        (picture,) = ended.pictures
        assert np.array_equal(picture, bench.plain)
        assert ended.out.count("\n") == 1, ended.out
    if "command" in wrong.name or "takes" in wrong.name:
        ended = bench.run(["--help"], site)
        assert ended.code == 0, ended.err
        assert set(ended.out.replace("│", " ").split()) >= CORE
        ended = bench.run(["inpaint", "--help"], site)
        assert (ended.code, "Usage" in ended.out) == (0, True), ended.err
    if wrong.use is not None:
        check_use(bench, wrong, wrong.use, site)
    shutil.rmtree(site)


def test_the_right_package_raises_no_alarm(bench: Bench) -> None:
    site = lay_out(bench.place, RIGHT)
    ended = bench.run(["plugins", "list", "--json"], site)
    assert ended.err == ""
    assert listed(ended) - bench.plugins == {("scheduler", "mine", RIGHT.name)}
    assert RIGHT.use is not None
    check_use(bench, RIGHT, RIGHT.use, site)


def test_all_of_them_at_once_change_nothing(bench: Bench) -> None:
    sites = [lay_out(bench.place, wrong) for wrong in (*WRONG, *ALL, RIGHT)]
    ended = bench.run(["plugins", "list", "--json"], *sites)
    check_words(ended, "list")
    assert listed(ended) >= bench.plugins | {("scheduler", "mine", RIGHT.name)}
    ended = bench.run(WORDS, *sites)
    assert ended.code == 0, ended.err
    assert np.array_equal(ended.pictures[0], bench.plain)


@pytest.fixture(scope="module")
def misbehaved(bench: Bench) -> Path:
    return lay_out(bench.place, MISBEHAVED)


@pytest.mark.parametrize("use", some_of(USES, 0, 2), ids=lambda use: use.words.split()[-1])
def test_a_part_that_misbehaves_is_blamed_in_one_line(
    bench: Bench, misbehaved: Path, use: Use
) -> None:
    check_use(bench, MISBEHAVED, use, misbehaved)


def test_a_working_folder_that_a_walk_leaves_is_put_back(bench: Bench, misbehaved: Path) -> None:
    ended = bench.run([*WORDS, "--scheduler", "moves", "--model", bench.model], misbehaved)
    assert (ended.code, len(ended.pictures)) == (0, 1), ended.err
    assert "the working folder was changed to / by the scheduler 'moves'" in ended.err
    assert "the rights of new files was changed by the scheduler" in ended.err
    folder = bench.place / "run"
    words = [*WORDS, "--scheduler", "moves", "--model", bench.model, "--out", "beside"]
    ended = bench.run(words, misbehaved)  # a name that the working folder gives its meaning
    assert ended.code == 0, ended.err
    (picture,) = (folder / "beside").glob("*.png")
    assert picture.stat().st_mode & 0o600 == 0o600


def test_an_interrupt_among_other_errors_is_an_interrupt(bench: Bench, misbehaved: Path) -> None:
    ended = bench.run([*WORDS, "--scheduler", "interrupted"], misbehaved)
    said = "interrupted in the scheduler 'interrupted' of the package misbehaved 1.2"
    assert (ended.code, ended.err.partition(":")[0].strip()) == (130, said), ended.err


def test_what_an_observer_prints_by_print_itself_is_no_result(
    bench: Bench, misbehaved: Path
) -> None:
    ended = bench.run([*WORDS, "--set", 'observers=["prints"]'], misbehaved)
    assert ended.code == 0, ended.err
    assert ended.out.count("\n") == 1, ended.out
    assert ended.err.count("Step(") == 2


def test_a_command_that_ends_with_a_word_is_heard(bench: Bench, misbehaved: Path) -> None:
    ended = bench.run(["says"], misbehaved)
    assert (ended.code, ended.err) == (1, "error: no such luck\n")


def test_a_line_that_a_plugin_fails_at_shows_where_if_that_is_asked_for(
    bench: Bench, misbehaved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = bench.place / "lines.txt"
    lines.write_text("a star\n")
    words = ["generate", "--prompts", str(lines), "--steps", "2", "--scheduler", "forges-stop"]
    ended = bench.run(words, misbehaved, environment={"LDM_TRACEBACK": "1"})
    assert ended.code == 1
    assert 'misbehaved_forges_stop.py", line' in ended.err
    assert ended.err.count("error: line 1: the scheduler 'forges-stop' of the package") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\xef\xbb\xbf[ldm]\nit = wrong_heading\n", "byte order mark"),
        (b"[LDM]\nit = wrong_heading\n", "'[LDM]'"),
        (b"[ ldm ]\nit = wrong_heading\n", "'[ ldm ]'"),
        (b"[ldm\nit = wrong_heading\n", "'[ldm'"),
        (b"[ldm]\nwrong_heading\n", "cannot be read"),
        (b"[ldm]\n", "no entry point"),
    ],
)
def test_entry_points_that_mean_nothing_are_said(bench: Bench, text: bytes, says: str) -> None:
    site = lay_out(bench.place, Wrong("wrong-heading", "raise SystemExit\n"))
    next(site.glob("*.dist-info/entry_points.txt")).write_bytes(text)
    ended = bench.run(["plugins", "list", "--json"], site)
    assert ended.code == 0, ended.err
    assert listed(ended) >= bench.plugins
    assert "wrong_heading" in ended.err, ended.err
    assert says in ended.err, ended.err
