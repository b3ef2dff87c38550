"""Pictures seen as they form, by every command that draws: each keeps its own, and nothing of what
is made changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

STEPS = 2


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.int16)


def seen(*more: str) -> list[str]:
    return ["--preview", "now.png", "--steps-to", "steps", "--animation", "way.gif", *more]


def check_each(names: list[str], folder: str, alike: bool = False) -> None:
    """Each picture has its steps, of which the last is what was made and no other picture, and its
    way.

    Args:
        alike: the pictures are nearly the same.
    """
    for name in names:
        made = pixels(Path(folder, f"{name}.png"))
        steps = sorted(Path("steps").glob(f"{name}-step-*.png"))
        assert len(steps) == STEPS
        assert np.abs(pixels(steps[-1]) - made).max() <= 1
        others = {other: pixels(Path(folder, f"{other}.png")) for other in {*names} - {name}}
        assert all(
            np.abs(pixels(steps[-1]) - other).max() > 8 or alike for other in others.values()
        )
        frames = list(ImageSequence.Iterator(Image.open(f"way-{name}.gif")))
        assert np.abs(np.asarray(frames[-1].convert("RGB"), dtype=np.int16) - made).mean() < 8
    assert len(list(Path("steps").iterdir())) == STEPS * len(names)
    assert len(list(Path().glob("way*.gif"))) == len(names)


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.png")}


def test_a_job_shows_each_picture_by_itself_and_the_batch_in_work(ldm: Any, folder: Path) -> None:
    """Two lines have one seed, and names of their own."""
    Path("l.csv").write_text("prompt,seed,file_name\na,1,x\nb,1,y\nc,2,z\n")
    run = ["generate", "--prompts", "l.csv", "--model", folder, "--steps", STEPS, "-q"]
    run += ["--scheduler", "ddim"]
    assert ldm(*run, "-o", "plain")[0] == 0
    code, _, err = ldm(*run, "-o", "out", "--batch-size", "2", *seen())
    assert (code, err) == (0, "")
    assert files("out") == files("plain")
    check_each(["x", "y", "z"], "out")
    assert np.array_equal(pixels(Path("now.png")), pixels(Path("out/z.png")))
    code, _, err = ldm(*run, "-o", "other", *seen())
    assert (code, "not overwritten" in err) == (2, True)
    assert not Path("other").exists()
    Path("out/y.png").unlink()  # the same job makes it again, and what was kept of it
    Path("steps/y-step-001.png").write_bytes(b"")
    assert ldm(*run, "-o", "out", *seen())[0] == 0
    check_each(["x", "y", "z"], "out")


def test_a_job_of_a_ready_made_pipeline_shows_each_picture(ldm: Any, folder: Path) -> None:
    for name, colour in (("p", "red"), ("q", "blue")):
        Image.new("RGB", (16, 16), colour).save(f"{name}.png")
    Path("l.csv").write_text("image,prompt,seed,file_name\np.png,a,3,one\nq.png,a,4,two\n")
    run = ["image-to-image", "--prompts", "l.csv", "--model", folder, "--strength", "1"]
    code, _, err = ldm(*run, "--steps", STEPS, "--scheduler", "ddim", "-q", "-o", "out", *seen())
    assert (code, err) == (0, "")
    check_each(["one", "two"], "out")


def test_a_comparison_shows_each_cell_and_no_run_that_only_warms(ldm: Any, folder: Path) -> None:
    run = ["compare", "a star", "--over", "scheduler=ddim,euler", "--steps", STEPS]
    run += ["--model", folder, "-o", "out"]
    code, out, err = ldm(*run, *seen("-q"))
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 2 + 3
    check_each(["0000-ddim", "0001-euler"], "out", alike=True)
    assert "seconds of the cells hold" in ldm(*run, *seen("--overwrite"))[2]


def test_a_replay_shows_the_picture_and_writes_the_format_that_is_named(
    ldm: Any, folder: Path
) -> None:
    run = ["a star", "--model", folder, "--steps", STEPS, "--scheduler", "ddim", "--seed", "4"]
    assert ldm("generate", *run, "-o", "out", "-q")[0] == 0
    (made,) = Path("out").iterdir()
    again = ["replay", made, "--allow-files", "-o", "again", "--format", "webp", "-q"]
    code, out, err = ldm(*again, *seen())
    assert (code, "pixel for pixel" in out) == (0, True), err
    (path,) = Path("again").iterdir()
    assert path.suffix == ".webp"
    assert np.array_equal(pixels(path), pixels(made))
    assert np.array_equal(pixels(Path("now.png")), pixels(made))
    assert len(list(Path("steps").glob("seed4-step-*.png"))) == STEPS
    assert Path("way.gif").exists()
    code, out, err = ldm(*again, *seen())
    assert (code, out, "not overwritten" in err) == (2, "", True)
    assert ldm("replay", made, "--allow-files", "--format", "wav")[0] == 2


def test_a_data_set_is_seen_and_has_the_format_that_is_named(ldm: Any, folder: Path) -> None:
    """Rows of one seed and other steps are runs of their own."""
    Path("t.csv").write_text("prompt,seed,steps\na,1,2\nb,1,1\n")
    run = ["augment", "--table", "t.csv", "--model", folder, "-o", "set", "--format", "webp"]
    code, out, err = ldm(*run, *seen("-q", "--scheduler", "ddim"))
    assert (code, out, err) == (0, "set\n", "")
    assert sorted(path.name for path in Path("set").iterdir()) == [
        *("000000.webp", "000001.webp", "metadata.jsonl")
    ]
    names = ["seed1-2-step-001.png", "seed1-step-001.png", "seed1-step-002.png"]
    assert sorted(path.name for path in Path("steps").iterdir()) == names
    assert np.abs(pixels(Path("steps", names[2])) - pixels(Path("set/000000.webp"))).max() <= 1
    assert np.abs(pixels(Path("steps", names[0])) - pixels(Path("set/000001.webp"))).max() <= 2
    before = {path: path.read_bytes() for path in Path("set").iterdir()}
    code, _, err = ldm(*run, "--scheduler", "ddim")
    assert (code, "2 pictures were there already" in err) == (0, True)
    assert ldm(*run, "--scheduler", "ddim", "-q")[2] == ""
    assert {path: path.read_bytes() for path in Path("set").iterdir()} == before


@pytest.mark.parametrize("command", ["features", "converge", "explain"])
def test_what_draws_nothing_takes_no_such_option(ldm: Any, folder: Path, command: str) -> None:
    code, out, err = ldm(command, "--model", folder, "--preview", "now.png")
    assert (code, out, "--preview" in err) == (2, "", True)
