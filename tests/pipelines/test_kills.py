"""Whatever ends a run, and whenever: no file is torn, none is lost, and the same command goes on
and leaves what it would have left by itself, once, and no litter."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import tiny
from forked import Server, output_of
from ldm_core.media.png import read_png
from ldm_core.media.present import state
from tiny.covering import some_of

SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
FAULTS = ("RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_AS", "disk", "folder")
DRAWS = 8
"""So often is a kill or a fault drawn anew that did not bite."""
LOADED = ("generate", "features", "classes", "film")
"""Commands that are killed while they load a model too."""
bitten: Counter[str] = Counter()
"""How many cases of each kind were ended by it."""


@dataclass
class Stage:
    """Where runs are killed.

    Attributes:
        warm, cold: what runs them, with models that are loaded before or by themselves.
        whole: what each command leaves by itself.
        largest, pages: bytes of the largest file of that, and pages of 4096 bytes of all.
        seconds: that each computes, where models are loaded before.
        loading: how long one of them computes until it has loaded its model.
        most: limits of the machine under which a command came to its end, the lowest.
    """

    warm: Server
    cold: Server
    place: Path
    commands: dict[str, list[str]]
    whole: dict[str, dict[str, object]]
    largest: dict[str, int]
    pages: dict[str, int]
    seconds: dict[str, float]
    loading: dict[str, float]
    most: dict[tuple[str, str, bool], int]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("kills")
    model = str(tiny.write_stable_diffusion(place / "models" / "tiny"))
    classes = str(tiny.write_dit(place / "models" / "classes"))
    pictures = place / "data"
    pictures.mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(noise).save(pictures / f"{number}.png")
    photo = str(pictures / "0.png")
    (place / "t.csv").write_text("prompt,colour\na red star,red\na blue star,blue\n")
    run = ["--model", model, "--steps", "2", "--seed", "7"]
    several = [*run, "--num-images", "5", "--batch-size", "2"]
    train = ["--resolution", "16", "--steps", "3", "--crop-steps", "0", "--batch-size", "2"]
    train += ["--mixed-precision", "no", "--checkpoint-seconds", "0", "--out", "out"]
    commands = {
        "generate": ["generate", "a red star", *several],
        "sheet": ["generate", "a red star", *several, "--sheet", "sheet.png"],
        "json": ["generate", "a red star", *several, "--json"],
        "image-to-image": ["image-to-image", photo, "a red star", *several],
        "inpaint": ["inpaint", photo, "a star", "--mask-box", "0,0,8,8", *several],
        "upscale": ["upscale", photo, "a red star", *run],
        "interpolate": ["interpolate", "a red star", "a blue star", *run, "--num-images", "4"],
        "film": [
            "interpolate", "a red star", "a blue star", *run, "--num-images", "4",
            "--batch-size", "2", "--film", "way.gif",
        ],
        "features": ["features", str(pictures), "--model", model, "--out", "f.safetensors"],
        "table": [
            "augment", "--table", str(place / "t.csv"), *run[:4], "--out", "set",
            "--num-images", "3", "--batch-size", "2",
        ],
        "classes": [
            "augment", "--classes", "1", "--classes", "tench", "--model", classes, "--steps", "1",
            "--out", "set", "--num-images", "3", "--batch-size", "2",
        ],
        "train": ["train", "autoencoder", "--data", str(pictures), *train],
    }  # fmt: skip
    warm = place / "warm"
    warm.mkdir()
    (place / "warm-too").mkdir()
    # what a training's first backward pass starts is no thread on a processor
    imports = [commands[name] for name in ("generate", "classes", "film", "train")]
    servers = Server(imports, warm, keep=True), Server(imports, place / "warm-too")
    stage = Stage(*servers, place, commands, {}, {}, {}, {}, {}, {})
    for name, words in commands.items():
        folders = [place / f"{name}{again}" for again in ("", "-again", "-loading")]
        for folder in folders if name in LOADED else folders[:2]:
            folder.mkdir()
            server = servers[folder == folders[2]]
            pid = server.start(words, folder)
            computed = server.until(pid, 100)
            assert server.wait(pid) == 0, output_of(folder, pid)
            (stage.loading if server is stage.cold else stage.seconds)[name] = computed
        stage.whole[name] = contents(folders[0])
        assert stage.whole[name]
        files = [path for path in folders[0].rglob("*") if path.is_file()]
        sizes = [path.stat().st_size for path in files]
        stage.largest[name], stage.pages[name] = max(sizes), sum(-(-s // 4096) for s in sizes)
    for name in LOADED:
        stage.loading[name] -= stage.seconds[name]
    yield stage
    for server in servers:
        server.close()
    for folder in filter(os.path.ismount, place.iterdir()):  # of a case that failed
        subprocess.run(["umount", folder], check=True)


def contents(folder: Path) -> dict[str, object]:
    """What a folder holds, litter and torn files too, in a form that can be compared."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _content(path) for path in files}


def _content(path: Path) -> object:
    if path.suffix in (".png", ".gif"):
        with Image.open(path) as image:
            frames = []
            for frame in range(getattr(image, "n_frames", 1)):
                image.seek(frame)
                frames.append(np.asarray(image.convert("RGB"), dtype=int))
            return frames
    if path.suffix == ".safetensors":
        return load_file(path)
    return path.read_text()


def equal(one: object, other: object) -> bool:
    """Whether two contents are the same, pictures but for the rounding of another batch."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            a.shape == b.shape and abs(a - b).max() <= 2 for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            np.allclose(value, other[name], atol=1e-4) for name, value in one.items()
        )
    return one == other


def check_whole(folder: Path) -> int:
    """See that no file is torn; how many pictures with manifests there are."""
    pictures = [path for path in folder.rglob("*.png") if path.parent != folder]
    for path in pictures:
        assert state(path) == "whole", path
        assert read_png(path)[1]["pixels_sha256"]
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.startswith(".ldm") for part in path.parts):
            _content(path)
    return len(pictures)


def check_end(folder: Path, pid: int, code: int, expected: set[int]) -> str:
    """See that a run ended with one message, and lost nothing that it spoke of."""
    out, err = output_of(folder, pid)
    assert code in expected, (code, expected, err)
    assert "Traceback" not in err, err
    assert err.count("error: ") <= 1, err
    for line in out.splitlines():
        if line.endswith(".png") and not line.startswith("contact sheet"):
            assert (folder / line).is_file(), line
    return err


def check_rerun(stage: Stage, name: str, folder: Path) -> None:
    """See that the same command leaves what it would have left by itself."""
    pid = stage.warm.start(stage.commands[name], folder)
    code = stage.warm.wait(pid)
    err = output_of(folder, pid)[1]
    if code == 2 and (folder / "f.safetensors").exists():
        assert "is there already" in err  # the run had come to its end, with its only file
    else:
        assert code == 0, (code, err)
    left, whole = contents(folder), stage.whole[name]
    assert left.keys() == whole.keys()
    for path, content in whole.items():
        assert equal(content, left[path]), path


def new_folder(stage: Stage, name: str) -> Path:
    folder = stage.place / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def kill(stage: Stage, case: int) -> str:
    """One run that is ended at some moment by some signal, once or twice, and gone on with."""
    rng = random.Random(case)
    name = [*stage.commands][case % len(stage.commands)]
    loading = name in LOADED and case % 4 == 0
    for _ in range(DRAWS):
        folder = new_folder(stage, f"case{case}")
        said, ended = _killed(stage, rng, name, folder, loading, first=True)
        if ended:
            break
    bitten.update(kills=1, killed=int(ended), loading=int(ended and loading))
    bitten.update(signals=1, ending=int(ended))
    if rng.random() < 1 / 3:
        again, ended = _killed(stage, rng, name, folder, loading, first=False)
        said += again
        bitten.update(signals=1, ending=int(ended))
    check_rerun(stage, name, folder)
    shutil.rmtree(folder)
    return said


def _killed(
    stage: Stage, rng: random.Random, name: str, folder: Path, loading: bool, first: bool
) -> tuple[str, bool]:
    """One run that hears a signal; what happened, and whether it was ended by that."""
    signum = rng.choice([*SIGNALS])
    server = stage.cold if loading else stage.warm
    pid = server.start(stage.commands[name], folder)
    most = stage.loading[name] if loading else stage.seconds[name]
    server.until(pid, rng.uniform(0.02, 0.9) * most)
    with suppress(ProcessLookupError):
        os.kill(pid, signum)
    code = server.wait(pid)
    ends = {0, SIGNALS[signum], -signum}  # before it listens, a signal does what it does
    if (folder / "f.safetensors").exists():
        ends.add(2)  # it had come to its end before, and said so
    err = check_end(folder, pid, code, ends)
    count = check_whole(folder)
    if found := re.search(r"(\d+) pictures? (is|are) in", err):
        # a signal between the making of a picture and its counting is heard before that
        assert int(found[1]) in ((count, count - 1) if first else range(count + 1)), err
    return f"{name} {signal.Signals(signum).name}:{code} ", code in {SIGNALS[signum], -signum}


def fault(stage: Stage, case: int) -> str:
    """One run on a machine that gives too little, and gone on with where it gives enough."""
    rng = random.Random(10_000 + case)
    name = [*stage.commands][case % len(stage.commands)]
    for _ in range(DRAWS):
        folder = new_folder(stage, f"fault{case}")
        what = rng.choice(FAULTS)
        code, err = _fault(stage, rng, name, folder, what)
        assert code in (0, 3), (what, code, err)
        check_whole(folder)
        if code == 3:
            break
        if what == "disk":
            subprocess.run(["umount", folder], check=True)
    assert code != 3 or err.count("error: ") == 1, err
    bitten.update({"faults": 1, "faulted": int(code == 3), what: int(code == 3)})
    if what == "disk" and code == 3:
        subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    if code == 3 or what not in ("folder", "disk"):
        check_rerun(stage, name, folder)
    if what == "disk" and code == 3:
        subprocess.run(["umount", folder], check=True)
    shutil.rmtree(folder)
    return f"{name} {what}:{code}"


def _fault(stage: Stage, rng: random.Random, name: str, folder: Path, what: str) -> tuple[int, str]:
    """A run on a machine that gives too little; how it ended, and what it said."""
    loading = what in ("RLIMIT_NOFILE", "RLIMIT_AS") and rng.random() < 0.5
    server = stage.cold if loading else stage.warm
    limits = {}
    key = what, name, loading
    if what == "RLIMIT_FSIZE":
        limits = {what: rng.randint(200, max(stage.largest[name] - 1, 200))}
    elif what in ("RLIMIT_NOFILE", "RLIMIT_AS"):
        least, most = (3, 8) if what == "RLIMIT_NOFILE" else (0, 12_000_000)
        limits = {what: rng.randint(least, max(least, stage.most.get(key, most) - 1))}
    elif what == "disk":
        size = f"size={4 * rng.randint(1, stage.pages[name])}k"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder]).returncode:
            pytest.skip("no disk can be mounted here")
    pid = server.start(stage.commands[name], folder, limits)
    if what == "folder":
        places = [folder / path for path in ("pictures", "set", "out")]
        part = rng.uniform(0.02, 0.9) * stage.seconds[name]
        server.until(pid, part, lambda: any(place.is_dir() for place in places))
        for path in places:
            shutil.rmtree(path, ignore_errors=True)
    code = server.wait(pid)
    if limits and code == 0:
        stage.most[key] = min(limits[what], stage.most.get(key, limits[what]))
    err = output_of(folder, pid)[1]
    if what != "folder":
        check_end(folder, pid, code, {0, 3})
    return code, err


@pytest.mark.parametrize("case", some_of(range(12), 0, 2))
def test_a_killed_run_goes_on(stage: Stage, case: int) -> None:
    print(kill(stage, case))


@pytest.mark.parametrize("case", range(6))
def test_a_machine_that_gives_too_little_loses_nothing(stage: Stage, case: int) -> None:
    print(fault(stage, case))


@pytest.mark.slow
@pytest.mark.parametrize("case", range(12, 232))
def test_many_killed_runs_go_on(stage: Stage, case: int) -> None:
    print(kill(stage, case))


@pytest.mark.slow
@pytest.mark.parametrize("case", range(6, 86))
def test_many_machines_that_give_too_little(stage: Stage, case: int) -> None:
    print(fault(stage, case))


@pytest.mark.slow
def test_nearly_every_kill_and_fault_bit() -> None:
    print(dict(bitten))
    if bitten["kills"] < 220 or bitten["faults"] < 80:
        pytest.skip("the others were not all run by this process")
    assert bitten["killed"] >= 200
    assert bitten["loading"] >= 10
    assert bitten["faulted"] >= 60


def test_eight_runs_of_the_same_pictures_have_each_its_own(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    runs = [stage.warm.start(stage.commands["generate"], folder) for _ in range(8)]
    assert [stage.warm.wait(pid) for pid in runs] == [0] * 8
    printed = [output_of(folder, pid)[0].splitlines() for pid in runs]
    for paths in printed:
        seeds = [read_png(folder / path)[1]["seed"] for path in paths]
        assert sorted(seeds) == [7, 8, 9, 10, 11]
    # one that began a little later may have met pictures that were there before
    assert {path for paths in printed for path in paths} == contents(folder).keys()


@pytest.mark.parametrize("name", ["sheet", "interpolate", "table"])
def test_eight_runs_of_one_named_file_leave_what_one_does(
    stage: Stage, name: str, tmp_path: Path
) -> None:
    """A file that is asked for by its name is made by one of them; so is a data set."""
    folder = tmp_path / "here"
    folder.mkdir()
    runs = [stage.warm.start(stage.commands[name], folder) for _ in range(8)]
    codes = [stage.warm.wait(pid) for pid in runs]
    for pid, code in zip(runs, codes, strict=True):
        err = check_end(folder, pid, code, {0, 2})
        assert code == 0 or "is there already" in err or "another run is writing" in err
    assert 0 in codes
    left = contents(folder)
    assert left.keys() >= stage.whole[name].keys()
    assert all(equal(content, left[path]) for path, content in stage.whole[name].items())


def test_eight_runs_of_other_pictures_lose_none(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    words = stage.commands["generate"]
    own = [[*words, "--seed", str(100 * run)] for run in range(8)]
    runs = [stage.warm.start(run, folder) for run in own]
    assert [stage.warm.wait(pid) for pid in runs] == [0] * 8
    seeds = [read_png(path)[1]["seed"] for path in (folder / "pictures").iterdir()]
    assert sorted(seeds) == [100 * run + image for run in range(8) for image in range(5)]
    printed = [output_of(folder, pid)[0].splitlines() for pid in runs]
    assert len({path for several in printed for path in several}) == 40
