"""The same command again goes on from what is there, and makes nothing twice."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.contracts import Shown, writes
from ldm_core.errors import LdmError, MachineError
from ldm_core.media.held import LOCK, held
from ldm_core.media.png import read_png, save_png
from ldm_core.media.present import Present
from ldm_core.plugins.registry import Plugin, installed
from ldm_plugins.writers.png import png

RED = ("generate", "a red star", "--steps", 1, "--num-images", 4, "--seed", 7)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_dit(tmp_path_factory.mktemp("models") / "classes")


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of all that is sampled."""
    seeds: list[int] = []
    sample = Pipeline.sample

    def watched(self: Pipeline, plan: Any, on_step: Any = None) -> Any:
        seeds.extend(plan.request.seeds)
        return sample(self, plan, on_step)

    monkeypatch.setattr(Pipeline, "sample", watched)
    return seeds


def bytes_in(folder: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_what_is_there_is_not_sampled_again(ldm: Any, folder: Path, sampled: list[int]) -> None:
    run = (*RED, "--model", folder, "--batch-size", 2)
    code, out, _ = ldm(*run)
    whole = bytes_in("pictures")
    assert (code, len(whole)) == (0, 4)
    Path("pictures/a-red-star-seed8.png").unlink()
    sampled.clear()
    code, again, err = ldm(*run)
    assert code == 0
    assert sampled == [8]
    assert "3 pictures were there already" in err
    assert sorted(again.splitlines()) == sorted(out.splitlines())
    assert bytes_in("pictures") == whole


def test_all_there_reads_no_weights(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = (*RED, "--model", folder, "--json", "--sheet", "s.png")
    code, out, _ = ldm(*run)
    made = [json.loads(line) for line in out.splitlines()]
    assert [line["made"] for line in made] == [True] * 4
    sheet = Path("s.png").read_bytes()

    def never(*_: Any) -> Any:
        raise AssertionError("the weights are read")

    monkeypatch.setattr("ldm_core.run.pipeline.load_model", never)
    code, out, _ = ldm(*run, "--overwrite")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["made"] for line in lines] == [False] * 4
    assert [line["path"] for line in lines] == [line["path"] for line in made]
    assert Path("s.png").read_bytes() == sheet


def test_the_sheet_keeps_its_order(ldm: Any, folder: Path) -> None:
    run = (*RED, "--model", folder, "--batch-size", 3, "--sheet", "s.png", "--overwrite")
    ldm(*run)
    sheet = Path("s.png").read_bytes()
    Path("pictures/a-red-star-seed7.png").unlink()
    ldm(*run)
    assert Path("s.png").read_bytes() == sheet


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "changed", "other manifest", "no manifest", "garbage"]
)
def test_what_is_torn_or_changed_does_not_count(ldm: Any, folder: Path, damage: str) -> None:
    run = ("generate", "a red star", "--steps", 1, "--seed", 7, "--model", folder)
    ldm(*run)
    path = Path("pictures/a-red-star-seed7.png")
    data, (image, manifest) = path.read_bytes(), read_png(path)
    match damage:
        case "cut":
            path.write_bytes(data[:-40])
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(os.urandom(500))
        case "changed":
            image.putpixel((0, 0), (1, 2, 3))
            save_png(image, manifest, path, overwrite=True)
        case "other manifest":
            save_png(image, {**manifest, "seed": 8}, path, overwrite=True)
        case "no manifest":
            image.save(path)
    damaged = path.read_bytes()
    assert ldm(*run)[0] == 0
    assert path.read_bytes() == damaged
    assert Path("pictures/a-red-star-seed7-2.png").read_bytes() == data


def test_without_a_seed_there_are_new_pictures(ldm: Any, folder: Path) -> None:
    for _ in range(2):
        ldm("generate", "a red star", "--steps", 1, "--model", folder)
    assert len([*Path("pictures").iterdir()]) == 2


@pytest.mark.parametrize(
    "change", [("--steps", 2), ("--scheduler", "euler"), ("--size", "24x16"), ("--seed", 9)]
)
def test_anything_else_makes_another_picture(ldm: Any, folder: Path, change: Any) -> None:
    run = ("generate", "a red star", "--steps", 1, "--seed", 7, "--model", folder)
    ldm(*run)
    ldm(*run, *change)
    assert len([*Path("pictures").iterdir()]) == 2


OTHERS = [
    ("interpolate", "a red star", "a blue star", "--num-images", 3),
    ("image-to-image", "photo.png", "a red star", "--num-images", 2),
    ("inpaint", "photo.png", "a red star", "--mask-box", "0,0,8,8"),
    ("outpaint", "photo.png", "a red star", "--left", 8),
    ("upscale", "photo.png", "a red star"),
    ("blend", "photo.png", "other.png"),
    ("invert", "photo.png", "a red star", "--edit", "a blue star"),
    ("restore", "photo.png", "a red star", "--strength", 0.5),
    ("text-to-image", "a red star", "a blue star"),
]


@pytest.mark.parametrize("command", OTHERS, ids=lambda words: words[0])
def test_no_command_writes_an_equal_picture_again(ldm: Any, folder: Path, command: Any) -> None:
    for name, colour in (("photo.png", "red"), ("other.png", "blue")):
        Image.new("RGB", (16, 16), colour).save(name)
    run = (*command, "--model", folder, "--steps", 2, "--seed", 3)
    code, out, err = ldm(*run)
    assert code == 0, err
    whole = bytes_in("pictures")
    gone = sorted(whole)[0]
    Path("pictures", gone).unlink()
    code, again, _ = ldm(*run)
    assert code == 0
    assert bytes_in("pictures") == whole
    assert sorted(again.splitlines()) == sorted(out.splitlines())


def test_a_manifest_that_lies_beside_counts_with_its_file(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, sampled: list[int]
) -> None:
    @writes("image", ".bmp")
    def bmp(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
        shown.data.save(path, format="BMP")

    theirs = Plugin("writer", "bmp", "pkg-a", "1", bmp)
    monkeypatch.setattr(installed(), "plugins", [*installed().plugins, theirs])
    run = (*RED, "--model", folder, "--format", "bmp")
    assert ldm(*run)[0] == 0
    whole = bytes_in("pictures")
    assert len(whole) == 8
    Path("pictures/a-red-star-seed8.bmp").unlink()
    Path("pictures/a-red-star-seed9.bmp.json").unlink()
    Path("pictures/a-red-star-seed9.bmp").unlink()
    sampled.clear()
    assert ldm(*run)[0] == 0
    assert sampled == [8, 9]
    assert bytes_in("pictures") == whole


def test_what_another_run_writes_meanwhile_does_not_count(pipe: Pipeline, tmp_path: Path) -> None:
    one, two = (pipe("a red star", seed=seed) for seed in (1, 2))
    save_png(one.images[0], one.manifests[0], tmp_path / "one.png")
    began = (tmp_path / "one.png").stat().st_mtime_ns
    save_png(two.images[0], two.manifests[0], tmp_path / "two.png")
    os.utime(tmp_path / "two.png", ns=(began + 1, began + 1))
    present = Present(tmp_path, png, began)
    assert present.path_of(one.manifests[0]) == tmp_path / "one.png"
    assert present.path_of(two.manifests[0]) is None
    assert Present(tmp_path, png, began + 1).path_of(two.manifests[0]) == tmp_path / "two.png"
    (tmp_path / "one.png").unlink()
    assert present.path_of(one.manifests[0]) is None


def test_a_pipe_among_the_pictures_keeps_nobody_waiting(pipe: Pipeline, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    present = Present(tmp_path, png, time.time_ns())
    assert not present.has_of({"name": "interpolate"})
    assert present.path_of(pipe("a red star", seed=1).manifests[0]) is None


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """Of /proc the system says, of what it does not have, that it is not there."""
    with pytest.raises(MachineError, match="cannot be written into"), held(Path("/proc/ldm")):
        raise AssertionError("it is held")


def test_what_is_said_after_the_last_picture_is_heard(
    ldm: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    from ldm_core.errors import LdmWarning
    from ldm_core.run.pipeline import Pipeline

    batches = Pipeline.batches_of

    def saying(self: Pipeline, call: Any) -> Any:
        warnings.warn("before all", LdmWarning, stacklevel=1)
        made = batches(self, call)

        def outputs() -> Any:
            yield from made
            warnings.warn("after all", LdmWarning, stacklevel=1)

        return outputs()

    monkeypatch.setattr(Pipeline, "batches_of", saying)
    for _ in range(2):  # the second time nothing is made
        _, _, err = ldm(*RED, "--model", folder)
        assert "warning: before all" in err
        assert "warning: after all" in err


def test_ten_thousand_pictures_are_looked_through_in_seconds(
    pipe: Pipeline, tmp_path: Path
) -> None:
    """Linear in their number, and without their pixels."""
    output = pipe("a red star", seed=1)
    image, manifest = output.images[0], output.manifests[0]
    for seed in range(1000):
        image.save(tmp_path / f"{seed}.png", compress_level=0)
    for seed in range(1000):
        save_png_quickly(image, {**manifest, "seed": seed}, tmp_path / f"{seed}.png")
    present, start = Present(tmp_path, png, time.time_ns()), time.process_time()
    assert present.path_of({**manifest, "seed": 999}) == tmp_path / "999.png"
    assert time.process_time() - start < 1


def save_png_quickly(image: Image.Image, manifest: Any, path: Path) -> None:
    from ldm_core.media.png import write_png

    write_png(image, manifest, path)


def test_python_leaves_out_what_it_is_told(pipe: Pipeline) -> None:
    whole = pipe(["a red star"] * 3, seed=1)
    part = pipe(["a red star"] * 3, seed=1, skip=lambda manifest: manifest["seed"] == 2)
    assert part.seeds == [1, 3]
    assert part.manifests == [whole.manifests[0], whole.manifests[2]]
    with pytest.raises(LdmError, match="every image that was asked for was left out"):
        pipe("a red star", seed=1, skip=lambda manifest: True)


TABLE = "prompt,colour\na red star,red\na blue star,blue\na green star,green\n"


def data_set(folder: Path, *more: Any) -> tuple[Any, ...]:
    Path("t.csv").write_text(TABLE)
    run = ("augment", "--table", "t.csv", "--model", folder, "--steps", 1, "--out", "set")
    return (*run, "--num-images", 2, "--batch-size", 1, *more)


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ([0, 1, 2, 3, 4, 5], "none"),
        ([5], "whole"),
        ([1, 3], "whole"),
        ([2], "cut"),
        ([], "whole"),
        ([4], "litter"),
    ],
)
def test_a_data_set_goes_on(
    ldm: Any, folder: Path, sampled: list[int], gone: list[int], left: str
) -> None:
    run = data_set(folder)
    assert ldm(*run)[0] == 0
    whole = bytes_in("set")
    assert len(whole) == 7
    for number in gone:
        Path(f"set/{number:06d}.png").unlink()
    metadata = Path("set/metadata.jsonl")
    lines = metadata.read_text().splitlines(keepends=True)
    match left:
        case "none":
            metadata.unlink()
        case "cut":
            metadata.write_text("".join([*lines[:2], lines[3][:9]]))
        case "litter":
            Path("set/.ldm-0123456789abcdef.part").write_text("half a picture")
            Path("set", LOCK).write_text("process 1 on nowhere\n")
            metadata.write_text("".join(lines[3:]))
    sampled.clear()
    code, out, err = ldm(*run)
    assert (code, out.strip()) == (0, "set"), err
    assert sampled == gone
    assert bytes_in("set") == whole


def test_a_damaged_picture_of_a_data_set_is_made_again_and_a_changed_one_kept(
    ldm: Any, folder: Path
) -> None:
    run = data_set(folder)
    ldm(*run)
    path = Path("set/000003.png")
    data = path.read_bytes()
    path.write_bytes(data[:-50])
    code, _, err = ldm(*run)
    assert code == 0
    assert "'set/000003.png' is damaged, and is made again" in err
    assert path.read_bytes() == data
    image, manifest = read_png(path)
    image.putpixel((0, 0), (1, 2, 3))
    save_png(image, manifest, path, overwrite=True)
    changed = path.read_bytes()
    code, _, err = ldm(*run)
    assert code == 2
    assert "was changed after it was made" in err
    assert path.read_bytes() == changed


@pytest.mark.parametrize(
    "other",
    ["a file", "a folder", "another line", "other steps", "other seeds", "fewer", "a class"],
)
def test_another_data_set_is_not_mixed_with_it(ldm: Any, folder: Path, other: str) -> None:
    run = list(data_set(folder))
    ldm(*run)
    match other:
        case "a file":
            Path("set/notes.txt").write_text("mine")
        case "a folder":
            Path("set/mine").mkdir()
        case "another line":
            with Path("set/metadata.jsonl").open("a") as file:
                file.write('{"file_name": "mine.png"}\n')
        case "other steps":
            run += ["--scheduler", "euler"]
        case "other seeds":
            run += ["--seed", 5]
        case "fewer":
            run[run.index("--num-images") + 1] = 1
        case "a class":
            Path("set/000000.png").rename("set/red.png")
    before = bytes_in("set")
    code, _, err = ldm(*run)
    assert code == 2, err
    assert "not a new or empty folder" in err or "is another picture" in err
    assert bytes_in("set") == before


def test_a_data_set_of_classes_goes_on(ldm: Any, classes: Path, sampled: list[int]) -> None:
    run = ("augment", "--classes", "1", "--classes", "tench", "--out", "set", "--num-images", 2)
    run = (*run, "--model", classes, "--steps", 1)
    assert ldm(*run)[0] == 0
    whole = bytes_in("set")
    Path("set/1/000001.png").unlink()
    Path("set/tench/.ldm-0123456789abcdef.part").write_text("half a picture")
    sampled.clear()
    assert ldm(*run)[0] == 0
    assert sampled == [1]
    assert bytes_in("set") == whole


def test_one_run_at_a_time_makes_a_data_set(ldm: Any, folder: Path) -> None:
    run = data_set(folder)
    ldm(*run)
    with held(Path("set")):
        code, _, err = ldm(*run)
    assert code == 2
    assert f"another run is writing into 'set': process {os.getpid()} on " in err
    assert ldm(*run)[0] == 0


def test_a_lock_is_let_go_of_by_whoever_ends(tmp_path: Path) -> None:
    """Also by a kill; a child that lives on does not hold it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with held(tmp_path):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            os.write(writer, b"held")
            time.sleep(60)
        os._exit(0)
    os.read(reader, 4)
    with pytest.raises(LdmError, match=f"process {child} on"), held(tmp_path):
        pass
    os.kill(child, 9)
    os.waitpid(child, 0)
    with held(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert not [*tmp_path.iterdir()]


def link_to(path: Path, other: Path) -> None:
    path.symlink_to(other)


def hard_link_to(path: Path, other: Path) -> None:
    path.hardlink_to(other)


def copy_of(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def folder_there(path: Path, _: Path) -> None:
    path.mkdir()


def pipe_there(path: Path, _: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("lay", [link_to, hard_link_to, copy_of, folder_there, pipe_there])
def test_what_has_the_name_of_a_lock_and_is_none_is_refused_and_kept(
    lay: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    precious, folder = tmp_path / "precious.txt", tmp_path / "out"
    precious.write_text("precious " * 200)
    folder.mkdir()
    lay(folder / LOCK, precious)
    with pytest.raises(LdmError, match=r"is not the lock of a run"), held(folder):
        raise AssertionError("it is held")
    assert precious.read_text() == "precious " * 200
    assert os.path.lexists(folder / LOCK)


def test_a_folder_that_vanishes_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by another run that held it, and wrote nothing."""
    folder, mkdir, made = tmp_path / "set", Path.mkdir, []

    def vanishing(path: Path, *arguments: Any, **options: Any) -> None:
        mkdir(path, *arguments, **options)
        made.append(path)
        if len(made) < 3:
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", vanishing)
    with held(folder):
        assert (folder / LOCK).is_file()
    assert made == [folder] * 3
    assert not folder.exists()
