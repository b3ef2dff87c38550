"""`ldm compare`: each cell is what a call of its own makes, and what cannot be made says why."""

from __future__ import annotations

import base64
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import media_toys as toys
from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Grid
from ldm_core.jobs.events import Event, Made
from ldm_core.media.present import state
from ldm_core.run import pipeline
from ldm_pipelines.comparing import Cell, compare
from ldm_pipelines.comparing.against import read_against
from ldm_pipelines.comparing.axes import split_values
from ldm_pipelines.comparing.written import Files

PROMPT = 'a <script>alert("x")</script> | star'


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Has an entry for each time that weights are read."""
    counted: list[None] = []
    load = pipeline.load_model

    def noted(*arguments: Any) -> Any:
        counted.append(None)
        return load(*arguments)

    monkeypatch.setattr(pipeline, "load_model", noted)
    return counted


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One comparison for several tests: a scheduler that has no such option, two scales."""
    return compare(
        Pipeline.from_pretrained(folder),
        PROMPT,
        over={"scheduler": ["ddim", "euler"], "scheduler.eta": [0.0, 1.0], "steps": [1, 2]},
        seed=5,
        out=tmp_path_factory.mktemp("compared") / "out",
    )


def pixels(source: Any) -> bytes:
    image = source if isinstance(source, Image.Image) else Image.open(source)
    return bytes(image.convert("RGB").tobytes())


def test_each_cell_is_what_a_call_of_its_own_makes(
    ldm: Any, folder: Path, pipe: Pipeline, reads: list[None]
) -> None:
    code, out, err = ldm(
        "compare", "a star", "--model", folder, "--over", "scheduler=euler,heun",
        "--over", "steps=2,3", "--over", "guidance.scale=2,4", "--seed", 9, "--table", "t.csv",
    )  # fmt: skip
    assert (code, len(reads)) == (0, 1), err
    rows = list(csv.DictReader(Path("t.csv").read_text().splitlines()))
    cells = list(product(("euler", "heun"), (2, 3), (2, 4)))
    files = sorted(Path("comparison").glob("*.png"))
    assert [(r["scheduler"], int(r["steps"]), int(r["guidance.scale"])) for r in rows] == cells
    assert len(files) == len(cells)
    for file, (scheduler, steps, scale) in zip(files, cells, strict=True):
        other = pipe.replace(scheduler=scheduler, guidance={"scale": scale})
        assert pixels(file) == pixels(other("a star", seed=9, num_inference_steps=steps).images[0])
    # Heun asks twice in each step but the last (Karras et al. 2022, Algorithm 1)
    assert [int(row["evaluations"]) for row in rows] == [2, 2, 3, 3, 3, 3, 5, 5]
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert "euler\t2\t2\t1" in out


def test_a_cell_that_cannot_be_composed_says_why(made: Any) -> None:
    rows = made.table()
    assert [row["pictures"] for row in rows] == [1] * 4 + [0] * 4
    assert all("'euler' has no option 'eta'" in row["refused"] for row in rows[4:])
    assert [row["refused"] for row in rows[:4]] == [None] * 4
    assert [row["evaluations"] for row in rows] == [1, 2, 1, 2, None, None, None, None]
    assert made.cell({"scheduler": "ddim", "scheduler.eta": 1.0, "steps": 2}).place == (0, 1, 1)
    with pytest.raises(LdmError, match=r"no value 'ddin'. Did you mean 'ddim'\?"):
        made.cell({"scheduler": "ddin"})
    with pytest.raises(LdmError, match=r"4 cells have these values; say scheduler.eta, steps too"):
        made.cell({"scheduler": "ddim"})


def test_a_sheet_has_each_picture_at_its_place(made: Any) -> None:
    """The first axis down, the second across, a sheet for each value of the third."""
    sheets = made.sheets()
    assert len(sheets) == 2
    for steps, sheet in zip((1, 2), sheets, strict=True):
        assert len({sheet.size for sheet in sheets}) == 1
        values = np.asarray(sheet)
        for eta in (0.0, 1.0):
            cell = made.cell({"scheduler": "ddim", "scheduler.eta": eta, "steps": steps})
            large = cell.shots[0].data().convert("RGB").resize((192, 192), Image.Resampling.NEAREST)
            [[left, top]] = places(values, np.asarray(large))
            # the second across lies one cell and a gap to the right, in the upper row
            assert (left > sheet.width // 2, top < sheet.height // 2) == (eta == 1.0, True)
        lower = values[sheet.height // 2 + 20 :]
        red = (lower[..., 0] > 120) & (lower[..., 1] < 60) & (lower[..., 2] < 60)
        assert red.sum() > 200  # letters of the reason


def places(sheet: Any, picture: Any) -> list[list[int]]:
    """Where a picture lies on a sheet, left and top, by comparing numbers."""
    height, width = picture.shape[:2]
    corner = (sheet[: 1 - height, : 1 - width] == picture[0, 0]).all(-1)
    return [
        [int(x), int(y)]
        for y, x in zip(*np.nonzero(corner), strict=True)
        if (sheet[y : y + height, x : x + width] == picture).all()
    ]


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the texts between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_holds_all_and_asks_for_nothing(made: Any) -> None:
    page = Tags(made.page())
    images = [a["src"] for tag, a in page.tags if tag == "img" and "src" in a]
    files = {cell.shots[0].path.read_bytes() for cell in made.cells if cell.made}
    assert {base64.b64decode(str(src).partition("base64,")[2]) for src in images} == files
    assert all(str(src).startswith("data:image/png;base64,") for src in images)
    assert not [a for _, a in page.tags if a.keys() & {"href", "srcset", "action", "data"}]
    assert sum(tag == "script" for tag, _ in page.tags) == 1  # not that of the prompt
    assert "<script>alert" not in made.page()
    assert any("default-src 'none'" in str(a.get("content")) for _, a in page.tags)
    reasons = [text for text in page.texts if text.startswith("refused: the scheduler 'euler'")]
    assert len(reasons) == 4


def test_text_from_outside_is_escaped_wherever_it_stands(pipe: Pipeline, tmp_path: Path) -> None:
    compared = compare(pipe, over={"prompt": [PROMPT, "a dog"], "steps": [1]}, out=tmp_path / "o")
    page = Tags(compared.page())
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    names = [a["data-name"] for tag, a in page.tags if tag == "button"]
    assert names == [f"prompt={PROMPT}, steps=1", "prompt=a dog, steps=1"]
    assert [row["axes"]["prompt"] for row in compared.table()] == [PROMPT, "a dog"]
    assert {shot.together for cell in compared.cells for shot in cell.shots} == {2}


def test_a_comparison_that_is_stopped_goes_on_with_the_rest(pipe: Pipeline, tmp_path: Path) -> None:
    over = {"scheduler": ["ddim", "euler", "dpmpp_2m"], "steps": [1, 2]}
    heard: list[Made] = []

    def stop_after_two(event: Event) -> None:
        if isinstance(event, Made):
            heard.append(event)
            if len(heard) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(pipe, "a star", over=over, out=tmp_path / "o", hear=stop_after_two)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "o").glob("*.png")}
    later: list[Event] = []
    compared = compare(pipe, "a star", over=over, out=tmp_path / "o", hear=later.append)
    assert (len(before), sum(isinstance(event, Made) for event in later)) == (2, 4)
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert [row["evaluations"] for row in compared.table()] == [1, 2, 1, 2, 1, 2]
    whole = compare(pipe, "a star", over=over)
    for one, other in zip(compared.cells, whole.cells, strict=True):
        assert pixels(one.shots[0].path) == pixels(other.shots[0].path)
    with pytest.raises(LdmError, match="holds another job"):
        compare(pipe, "a star", over={"steps": [1, 3]}, out=tmp_path / "o")


@pytest.mark.slow
def test_a_comparison_of_two_processes_that_are_killed_goes_on(
    ldm: Any, folder: Path, tmp_path: Path
) -> None:
    """All of them at once, by SIGKILL."""
    words = ["compare", "a star", "--model", folder, "--seed", 3, "--num-images", 2]
    words += ["--over", "scheduler=ddim,euler,dpmpp_2m,unipc", "--over", "steps=5,6,7,8,9"]
    run = [sys.executable, "-m", "ldm_core", *words, "--batch-size", 1, "--workers", 2]
    command = [*map(str, run), "--table", "t.json", "--sheet", "s.png"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    killed = subprocess.Popen(command, text=True, **pipes)
    assert killed.stdout is not None
    assert killed.stdout.readline().strip().endswith(".png")  # a first picture is there
    children = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
    assert len(children) == 2
    for pid in (killed.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    killed.communicate()  # whose pipes are theirs too, so that none of them writes on
    before = {path: path.stat().st_mtime_ns for path in Path("comparison").glob("*.png")}
    assert killed.returncode == -signal.SIGKILL
    assert 0 < len(before) < 40
    assert {state(path) for path in before} == {"whole"}
    assert not Path("t.json").exists()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert ldm(*words, "--out", tmp_path / "one")[0] == 0
    one, two = (sorted(Path(out).glob("*.png")) for out in (tmp_path / "one", "comparison"))
    assert [path.name for path in two] == [path.name for path in one]
    assert len(two) == 40
    for path, other in zip(two, one, strict=True):
        near = [np.asarray(Image.open(file).convert("RGB"), int) for file in (path, other)]
        assert abs(near[0] - near[1]).max() <= 2  # another batch rounds otherwise
    cells = json.loads(Path("t.json").read_text())
    assert [cell["pictures"] for cell in cells] == [2] * 20
    of_euler = [c["evaluations"] for c in cells if c["axes"]["scheduler"] == "euler"]
    assert of_euler == [5, 6, 7, 8, 9]
    assert Path("s.png").is_file()


MANY = f"steps={','.join(map(str, range(1, 201)))}"
WRONG: list[tuple[list[str], str]] = [
    (["--over", "stps=1,2"], "'stps' is no key of a recipe and no input"),
    (["--over", "stps=1,2"], "Did you mean 'steps'?"),
    (["--over", "schedular.eta=1"], "Did you mean 'scheduler'?"),
    (["--over", "steps=1,1"], "the axis 'steps' has the value 1 twice"),
    (["--over", "steps=1,,2"], "has an empty value"),
    (["--over", "steps="], "has no values"),
    (["--over", "steps"], "should look like NAME=VALUE,VALUE"),
    (["--over", "attention=[sdpa,chunked"], "has a ] that is missing"),
    (["--over", "steps=1", "--over", "num_inference_steps=2"], "given twice, as 'steps' too"),
    ([], "nothing to compare over"),
    (["--over", "prompt=a,b"], "'prompt' is given twice"),
    (["--over", "steps=1", "--steps", "2"], "--steps says it"),
    (["--over", "guidance=classifier_free", "--guidance-scale", "2"], "--guidance-scale says it"),
    (["--over", "scheduler=ddim", "--set", "scheduler.eta=1"], "--set says it"),
    (["--over", "width=16,32", "--size", "16x16"], "--size says it"),
    (["--over", "steps=x,y"], "steps=x: its 'num_inference_steps' should be"),
    (["--over", "scheduler=eular,ddin"], "scheduler=eular: no scheduler named 'eular'"),
    (["--over", "steps=1", "--against", "steps=2"], "the axis 'steps' has no value '2'"),
    (["--over", "steps=1", "--against", "step=1"], "no axis 'step'. Did you mean 'steps'?"),
    (["--over", "steps=1", "--table", "t.txt"], "ends in .csv, .json, .md"),
    (["--over", "steps=1", "--page", "t.txt"], "ends in .html"),
    (["--over", MANY, "--sheet", "s.webp"], "WEBP ends at 16,383 a side. s.png takes them"),
    (["--over", "steps=1", "--sheet", "t.gif"], "ends in .png, .jpg, .jpeg or .webp"),
    (["--over", "guidance.scale=2.50,1e1", "--against", "guidance.scale=3"], "has 2.50, 1e1"),
    (
        ["--over", "scheduler.inner.order=1", "--set", "scheduler.inner.order=2"],
        "given twice: --set",
    ),
    (["--over", f"scheduler.{'a.' * 5000}a=1"], "goes through more than 20 plugins"),
    (["--over", "steps=1", "--resume"], "no job in 'comparison' to go on with"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_what_makes_no_sense_is_refused_before_weights_are_read(
    words: list[str], message: str, ldm: Any, folder: Path, reads: list[None]
) -> None:
    code, _, err = ldm("compare", "a star", "--model", folder, *words)
    assert code == 2
    assert message in " ".join(err.split())
    assert (reads, list(Path().iterdir())) == ([], [])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2", ["1", "2"]),
        (" a , b c ", ["a", "b c"]),
        ("a dog's ball,b", ["a dog's ball", "b"]),
        ('"a, b",c', ['"a, b"', "c"]),
        (r'"a\", b",c', [r'"a\", b"', "c"]),
        ("'a, \"b',c", ["'a, \"b'", "c"]),
        ('["a", "b"],[]', ['["a", "b"]', "[]"]),
        ('{name = "x", s = [1, 2]},y', ['{name = "x", s = [1, 2]}', "y"]),
        ('["]", "b"],c', ['["]", "b"]', "c"]),
        ("(red:1.2), a", ["(red:1.2)", "a"]),
        ("a,,b,", ["a", "", "b", ""]),
    ],
)
def test_values_have_commas_within_quotes_and_brackets(text: str, values: list[str]) -> None:
    assert split_values(text) == values


def test_prompts_and_seeds_are_alike_in_all_cells(ldm: Any, folder: Path) -> None:
    code, _, err = ldm(
        "compare", "a star", "a, b", "--model", folder, "--over", "scheduler=euler,ddim",
        "--steps", 1, "--num-images", 2, "--batch-size", 3, "--table", "t.json", "--sheet", "s.png",
        "--against", "scheduler=ddim",
    )  # fmt: skip
    assert code == 0, err
    cells = json.loads(Path("t.json").read_text())
    for cell in cells:
        shots = cell["shots"]
        assert [(s["prompt"], s["seed"]) for s in shots] == [
            ("a star", 0), ("a star", 1), ("a, b", 2), ("a, b", 3),
        ]  # fmt: skip
        assert [s["together"] for s in shots] == [3, 3, 3, 1]
    assert cells[1]["measured"] == {"psnr": "inf", "psnr low": None, "psnr high": None}
    measured = cells[0]["measured"]
    assert measured["psnr"] == pytest.approx(psnr(cells[0], cells[1]))
    low, high = interval_of_all(cells[0], cells[1])
    near = pytest.approx((low, high), abs=0.1 * (high - low))
    assert (measured["psnr low"], measured["psnr high"]) == near
    assert Image.open("s.png").width > 4 * 192  # schedulers down, pictures across
    assert not Path("s-2.png").exists()
    before = Path("s.png").read_bytes()
    again = ("compare", "a star", "a, b", "--model", folder, "--over", "scheduler=euler,ddim")
    again = (*again, "--steps", 1, "--num-images", 2, "--sheet", "s.png")
    assert ldm(*again)[0] == 0  # all is there, and the sheet would be the same
    code, _, err = ldm(*again, "--out", "other")
    assert (code, "'s.png' is there already" in err, Path("other").exists()) == (2, True, False)
    assert Path("s.png").read_bytes() == before


def interval_of_all(one: Any, other: Any) -> tuple[float, float]:
    """What 95 of 100 figures lie in, of every one of the n^n ways to draw a cell's n pictures again
    with repetition, around the figure itself."""
    figures = [
        psnr({"shots": [one["shots"][i] for i in way]}, {"shots": [other["shots"][i] for i in way]})
        for way in product(range(len(one["shots"])), repeat=len(one["shots"]))
    ]
    around = np.asarray(figures) - np.mean(figures) + psnr(one, other)
    low, high = np.quantile(around, [0.025, 0.975])
    return float(low), float(high)


def psnr(one: Any, other: Any) -> float:
    """Of pictures of 8 bits, by its definition; the mean over them."""
    first, second = (
        np.stack([np.asarray(Image.open(shot["file"]), dtype=float) for shot in cell["shots"]])
        for cell in (one, other)
    )
    return float(20 * np.log10(255 / np.sqrt(((first - second) ** 2).mean((1, 2, 3)))).mean())


def test_python_takes_functions_and_measures(pipe: Pipeline) -> None:
    def half_way(x: Any, grid: Grid, denoise: Any, noise: Any) -> Any:
        for here, there in pairwise(grid):
            x = there.alpha * denoise(x, here) + there.sigma * noise()
        return x

    def names(cells: Sequence[Cell]) -> dict[str, list[str]]:
        return {"name": [cell.name for cell in cells]}

    compared = compare(
        pipe, "a star", over={"scheduler": [half_way, "ddim"]}, num_images=2, measures=[names]
    )
    rows = compared.table()
    assert [row["axes"]["scheduler"] for row in rows] == ["half_way", "ddim"]
    assert rows[0]["measured"] == {"name": "scheduler=half_way"}
    [path] = {shot.path.parent for cell in compared.cells for shot in cell.shots if shot.path}
    assert path.is_dir()
    del compared, rows
    assert not path.exists()  # it went with what was compared
    with pytest.raises(LdmError, match="'name' has 1 values for 2 cells"):
        compare(pipe, "a", over={"steps": [1, 2]}, measures=[lambda cells: {"name": [1]}])


def test_an_option_of_a_plugin_within_another_is_an_axis(pipe: Pipeline) -> None:
    restart = pipe.replace(scheduler={"name": "restart", "inner": "lms"})
    over = {"scheduler.inner.order": [1, 2, 9], "scheduler.sigma_max": [1.0, 2.0]}
    compared = compare(restart, "a star", over=over, seed=3)
    for cell, (order, high) in zip(compared.cells, product((1, 2), (1.0, 2.0)), strict=False):
        inner = {"name": "lms", "order": order}
        alone = pipe.replace(scheduler={"name": "restart", "inner": inner, "sigma_max": high})
        assert pixels(cell.made[0].data()) == pixels(alone("a star", seed=3).images[0])
    assert "should be Literal[1, 2, 3, 4], not 9" in compared.cells[4].refused
    names = {"scheduler.inner": ["lms", {"name": "lms", "order": 2}], "scheduler.inner.order": [1]}
    first, second = compare(restart, "a star", over=names).cells
    assert (first.refused, len(first.made)) == ("", 1)
    assert second.refused == "'scheduler.inner.order' is given twice, in 'lms' too"
    by_default = {"scheduler": ["restart"], "scheduler.inner.over": ["sigma", "x"]}
    first, second = compare(pipe, "a star", over=by_default).cells  # whose inner is heun
    assert "option 'over' of the scheduler 'heun' should be" in second.refused


def test_weights_are_converted_once_for_all_cells_that_have_it_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, reads: list[None]
) -> None:
    """Though the axis of converters goes round first."""
    pipe = Pipeline.from_pretrained(folder)
    prepared: list[Any] = []
    prepare = pipeline.prepare
    monkeypatch.setattr(
        pipeline, "prepare", lambda c: (prepared.append(c.recipe.get("converters")), prepare(c))[1]
    )
    over = {"scheduler": ["ddim", "euler"], "converters": [[], ["channels_last"]]}
    compared = compare(pipe, "a star", over={**over, "steps": [1, 2]})
    assert all(cell.made for cell in compared.cells), [cell.refused for cell in compared.cells]
    assert len([one for one in prepared if one]) == 1
    assert len(reads) == 1
    labels = [cell.labels["converters"] for cell in compared.cells]
    assert labels == ["[]", "[]", "[channels_last]", "[channels_last]"] * 2


@pytest.mark.parametrize("kind", ["Moving", "Noises"])
def test_videos_and_sounds_are_shown_as_strips(
    kind: str, ldm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    pytest.importorskip("soundfile")
    registry = toys.registry()
    toys.be_listed(monkeypatch, registry)
    model = toys.write_model(tmp_path / "model", kind)
    code, _, err = ldm(
        "compare", "a star", "--model", model, "--over", "steps=1,2", "--sheet", "s.png",
        "--page", "p.html", "--table", "t.md",
    )  # fmt: skip
    assert code == 0, err
    assert Image.open("s.png").width > 2 * 384
    page = Tags(Path("p.html").read_text())
    player = {"Moving": ("video", "video/mp4"), "Noises": ("audio", "audio/flac")}[kind]
    sources = [str(a["src"]) for tag, a in page.tags if tag == player[0]]
    assert [src.partition(";")[0] for src in sources] == [f"data:{player[1]}"] * 2
    assert Path("t.md").read_text().splitlines()[1].startswith("| --- | --- |")


def test_a_comma_stays_within_a_value_of_the_cell_that_is_measured_against() -> None:
    values = read_against("prompt=a star, red,steps=2")
    assert values == {"prompt": "a star, red", "steps": "2"}


def test_files_of_one_name_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "all.json"
    with pytest.raises(LdmError, match="two files would have the name"):
        Files(None, place, place.parent / "x" / ".." / "all.json", False, 1).check()


def test_values_that_mean_the_same_are_one(ldm: Any, folder: Path) -> None:
    for values in ("guidance.scale=1,1.0", "scheduler=ddim,ldm-core:ddim", "steps=2,2.0"):
        code, out, err = ldm("compare", "a", "--model", folder, "--over", values)
        assert (code, out, "twice" in err) == (2, "", True), err
    over = 'scheduler={name = "ddim"},ddim'
    assert "twice" in ldm("compare", "a", "--model", folder, "--over", over)[2]


def test_another_comparison_is_told_by_what_differs(ldm: Any, folder: Path) -> None:
    run = ["compare", "--model", folder, "-o", "out"]
    assert ldm(*run, "a", "--over", "steps=1,2")[0] == 0
    for more, words in (
        (["a", "--over", "steps=1,3"], "in num_inference_steps (1 2 there, 1 3 asked for)"),
        (["b", "--over", "steps=1,2"], "in prompts (a there, b asked for)"),
        (["a", "--over", "steps=1,2", "--set", "scheduler.eta=0.5"], "in recipe.scheduler ("),
        (["a", "--over", "scheduler=ddim,euler"], "scheduler (nothing there, ddim euler"),
    ):
        code, out, err = ldm(*run, *more)
        assert (code, out, words in err, "sha256" in err) == (2, "", True, False), err
