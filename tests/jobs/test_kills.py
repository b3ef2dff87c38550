"""Whatever ends a job, some of its processes or all of them, and whenever: the same command
finishes it, no file is torn, none is lost or made twice, and its ledger says what is there."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from forked import Server, has_loaded, output_of
from ldm_core.media.present import state

SIGNALS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
LINES = 14
DRAWS = 8
"""So often is a kill drawn anew that did not bite."""
LEDGER = "results.jsonl"
OF_THE_JOB = {LEDGER, "job.json"}
"""What a job keeps in its folder beside pictures."""
CLAIMS = ".ldm-claims"
"""The file of its locks."""
bitten: Counter[str] = Counter()


@dataclass
class Stage:
    """Where jobs are killed.

    Attributes:
        commands: each a job, written to the folder ``pictures``.
        whole: the pixels of each picture that a job leaves by itself, by its name.
        seconds: that one process computes for it.
    """

    server: Server
    place: Path
    commands: dict[str, list[str]]
    whole: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@pytest.fixture(scope="module")
def stage(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    place = tmp_path_factory.mktemp("jobs")
    model = str(tiny.write_stable_diffusion(place / "models" / "tiny"))
    commands = write_jobs(place, model)
    warm = place / "warm"
    warm.mkdir()
    stage = Stage(server, place, commands)
    for name in commands:
        server.warm([*commands[name], "--out", name], warm)
        folder = new_folder(stage, f"{name}-whole")
        pid = stage.server.start(commands[name], folder)
        stage.seconds[name] = stage.server.until(pid, 100)
        assert stage.server.wait(pid) == 0, output_of(folder, pid)
        assert has_loaded(folder, pid)
        stage.whole[name] = pixels(folder / "pictures")
        assert len(stage.whole[name]) == LINES
        check_ledger(folder / "pictures")
    yield stage
    for folder in filter(os.path.ismount, place.iterdir()):  # of a case that failed
        subprocess.run(["umount", folder], check=True)


def write_jobs(place: Path, model: str) -> dict[str, list[str]]:
    """Files of lines that differ in what a batch must share, and the commands of jobs."""
    rng = np.random.default_rng(0)
    for number in range(3):
        noise = rng.integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(noise).save(place / f"{number}.png")
    (place / "plain.txt").write_text("".join(f"star {i}\n" for i in range(LINES)))
    lines = [
        {
            "prompt": f"star {i}",
            "seed": 100 + i,
            "width": (16, 24)[i % 2],
            "steps": (1, 2, 3)[i % 3],
            "scheduler": ("euler", "dpmpp_2m")[i // 7],
        }
        for i in range(LINES)
    ]
    (place / "mixed.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with (place / "edits.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "prompt", "strength", "seed"])
        rows.writerows([f"{i % 3}.png", f"star {i}", (0.5, 1.0)[i % 2], i] for i in range(LINES))
    run = ["--model", model, "--steps", "2", "--seed", "7", "--batch-size", "3"]
    plain = ["generate", "--prompts", str(place / "plain.txt"), *run]
    return {
        "plain": plain,
        "mixed": ["generate", "--prompts", str(place / "mixed.jsonl"), *run, "--format", "webp"],
        "edits": ["image-to-image", "--prompts", str(place / "edits.csv"), *run],
        "larger": ["upscale", "--prompts", str(place / "edits.csv"), *run],
        "folders": [*plain, "--shards", "folders", "--shard-size", "5"],
        "archives": [*plain, "--shards", "webdataset", "--shard-size", "5"],
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Each picture in a folder, by its name there; one in an archive by that of its shard."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".png", ".webp")
    }
    for archive in sorted(folder.glob("*.tar")):
        with tarfile.open(archive) as tar:
            for member in tar:
                if not member.name.endswith((".json", ".txt")):
                    name = f"{archive.stem}/{member.name}"
                    assert name not in files, f"{name} is there twice"
                    file = tar.extractfile(member)
                    assert file is not None
                    files[name] = file.read()
    return files


def pixels(folder: Path) -> dict[str, np.ndarray]:
    """Of each picture in a folder, by its name there."""
    arrays = {}
    for name, data in contents(folder).items():
        with Image.open(io.BytesIO(data)) as image:
            arrays[name] = np.asarray(image.convert("RGB"), int)
    return arrays


def entries(folder: Path) -> list[dict[str, object]]:
    """The lines of a ledger, each of which is a table."""
    text = (folder / LEDGER).read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def check_ledger(folder: Path) -> None:
    """See that each line of the ledger is true, and each picture in it once."""
    made = [entry for entry in entries(folder) if "error" not in entry]
    files = contents(folder)
    named = Counter(str(entry["file"]) for entry in made)
    assert named == Counter([*files])
    for entry in made:
        digest = hashlib.sha256(files[str(entry["file"])]).hexdigest()
        assert digest == entry["sha256"], entry
    assert sorted(int(str(entry["index"])) for entry in made) == [*range(LINES)]


def check_finished(stage: Stage, name: str, folder: Path) -> None:
    """See that a folder holds what the job leaves by itself, and nothing else."""
    pictures, whole = folder / "pictures", stage.whole[name]
    left = pixels(pictures)
    assert left.keys() == whole.keys()
    for path, array in whole.items():
        assert left[path].shape == array.shape, path
        assert abs(left[path] - array).max() <= 1, path  # of another batch
        if path.endswith(".png") and (pictures / path).exists():
            assert state(pictures / path) == "whole", path
    files = {p.relative_to(pictures).as_posix() for p in pictures.rglob("*") if p.is_file()}
    others = {path for path in files - left.keys() - OF_THE_JOB if not path.endswith(".tar")}
    assert others <= {CLAIMS}
    check_ledger(pictures)


Seen = dict[str, tuple[int, int, str]]
"""Which file each name is of, when it was written, and the hash of what it holds."""


def on_disk(folder: Path) -> Seen:
    """The pictures that are files of their own now."""
    pictures = folder / "pictures"
    files = [path for path in pictures.rglob("*") if path.suffix in (".png", ".webp")]
    seen = {}
    for path in files:
        about, digest = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
        seen[path.relative_to(pictures).as_posix()] = (about.st_ino, about.st_mtime_ns, digest)
    return seen


def check_kept(folder: Path, before: Seen) -> None:
    """See that what was there is there still, and was not made again."""
    after, files = on_disk(folder), contents(folder / "pictures")
    for name, about in before.items():
        if name in after:
            assert after[name] == about, name
        else:  # it is in an archive now
            assert hashlib.sha256(files[name]).hexdigest() == about[2], name


def new_folder(stage: Stage, name: str) -> Path:
    folder = stage.place / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def check_message(folder: Path, pid: int, code: int, expected: set[int]) -> str:
    """See that a process ended with one message at most."""
    try:
        _, err = output_of(folder, pid)
    except FileNotFoundError:  # it was killed before it could open them
        err = ""
    assert code in expected, (code, expected, err)
    assert "Traceback" not in err, err
    assert err.count("error: ") <= 1, err
    return err


def finish(stage: Stage, name: str, folder: Path, processes: int = 1) -> None:
    """Give the same command again, to so many processes, and see that it finishes the job."""
    pids = [stage.server.start(stage.commands[name], folder) for _ in range(processes)]
    codes = [stage.server.wait(pid) for pid in pids]
    for pid, code in zip(pids, codes, strict=True):
        check_message(folder, pid, code, {0})
    check_finished(stage, name, folder)


def killed(
    stage: Stage, rng: random.Random, name: str, folder: Path, processes: int
) -> tuple[str, bool]:
    """A job that hears a signal in one of its processes or in all; what happened, and whether it
    was ended by that in some."""
    signum, everyone = rng.choice([*SIGNALS]), rng.random() < 0.5
    pids = [stage.server.start(stage.commands[name], folder) for _ in range(processes)]
    most = stage.seconds[name] / processes
    stage.server.until(pids[0], rng.uniform(0.02, 1.0) * most)
    targets = pids if everyone else pids[:1]
    for pid in targets:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
    codes = [stage.server.wait(pid) for pid in pids]
    for pid, code in zip(pids, codes, strict=True):
        ends = {0, SIGNALS[signum], -signum} if pid in targets else {0}
        check_message(folder, pid, code, ends)
    if len(targets) < processes:  # the others have made what it left
        check_finished(stage, name, folder)
    said = f"{name} {len(targets)}/{processes} {signal.Signals(signum).name}:{codes} "
    return said, any(code in (SIGNALS[signum], -signum) for code in codes)


def kill(stage: Stage, case: int) -> str:
    """One job that is ended at some moment by some signal, once or more often, and gone on with."""
    rng = random.Random(case)
    name = [*stage.commands][case % len(stage.commands)]
    processes = 1 + case // len(stage.commands) % 3
    for _ in range(DRAWS):
        folder = new_folder(stage, f"case{case}")
        said, ended = killed(stage, rng, name, folder, processes)
        if ended:
            break
    bitten.update(kills=1, killed=int(ended))
    before = on_disk(folder)
    while rng.random() < 1 / 3:
        again, _ = killed(stage, rng, name, folder, rng.randint(1, 3))
        said += again
    finish(stage, name, folder, rng.randint(1, 3))
    check_kept(folder, before)
    shutil.rmtree(folder)
    return said


@pytest.mark.parametrize("case", range(8))
def test_a_killed_job_goes_on(stage: Stage, case: int) -> None:
    print(kill(stage, case))


@pytest.mark.slow
@pytest.mark.parametrize("case", range(8, 208))
def test_many_killed_jobs_go_on(stage: Stage, case: int) -> None:
    print(kill(stage, case))


@pytest.mark.slow
def test_nearly_every_kill_bit() -> None:
    print(dict(bitten))
    if bitten["kills"] < 200:
        pytest.skip("the others were not all run by this process")
    assert bitten["killed"] >= 0.95 * bitten["kills"]


def mount(folder: Path, size: str) -> None:
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
    if subprocess.run(["mount", *options, folder], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def run(stage: Stage, words: Sequence[str], folder: Path, processes: int = 1) -> list[int]:
    """The processes of a job, which have ended."""
    pids = [stage.server.start(words, folder) for _ in range(processes)]
    for pid in pids:
        stage.server.until(pid, 1e9)
    return pids


@pytest.mark.parametrize(
    ("pages", "processes"), [(1, 1), (2, 2), (3, 1), (5, 2), (9, 1), (14, 1), (14, 2)]
)
def test_a_full_disk(stage: Stage, pages: int, processes: int) -> None:
    """What fits stays, each process says once what is wrong, and with room the same command goes
    on."""
    folder = new_folder(stage, f"disk{pages}-{processes}")
    mount(folder, f"{4 * pages}k")
    try:
        pids = run(stage, stage.commands["plain"], folder, processes)
        codes = [stage.server.wait(pid) for pid in pids]
        assert set(codes) == {3}
        for pid, code in zip(pids, codes, strict=True):
            err = check_message(folder, pid, code, {3})
            assert err.count("error: ") == 1
            assert "No space left on device" in err
        before = on_disk(folder)
        assert all(state(folder / "pictures" / path) == "whole" for path in before)
        remount(folder, "size=64m")
        finish(stage, "plain", folder)
        check_kept(folder, before)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("begun", [False, True])
def test_a_folder_that_cannot_be_written_to(stage: Stage, begun: bool) -> None:
    """It is said before a model is loaded, and what is there stays."""
    folder = new_folder(stage, f"read-only{begun}")
    mount(folder, "64m")
    try:
        if begun:
            pid = stage.server.start(stage.commands["plain"], folder)
            stage.server.until(pid, 0.5 * stage.seconds["plain"])
            os.kill(pid, signal.SIGKILL)
            stage.server.wait(pid)
        before = on_disk(folder)
        remount(folder, "ro")
        pid = stage.server.start(stage.commands["plain"], folder)
        err = check_message(folder, pid, stage.server.wait(pid), {3})
        assert err.count("error: ") == 1
        assert not has_loaded(folder, pid)
        remount(folder, "rw")
        finish(stage, "plain", folder)
        check_kept(folder, before)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(("processes", "share"), [(1, 0.6), (2, 0.8), (3, 0.3), (3, 0.6)])
def test_a_folder_that_is_removed_under_way(stage: Stage, processes: int, share: float) -> None:
    """Each process says so once, none makes half of the job in another folder of the name, and the
    same command makes all of it."""
    folder = new_folder(stage, f"removed{processes}-{share}")
    pictures = folder / "pictures"
    pids = [stage.server.start(stage.commands["plain"], folder) for _ in range(processes)]
    part = share * stage.seconds["plain"] / processes
    stage.server.until(pids[0], part, lambda: len(list(pictures.glob("*.png"))) > 0)
    gone = stage.place / f"gone{processes}-{share}"
    shutil.rmtree(gone, ignore_errors=True)
    there = pictures.is_dir()
    if there:
        pictures.rename(gone)  # at once, as no removal of many files is
        shutil.rmtree(gone)
    codes = [stage.server.wait(pid) for pid in pids]
    for pid, code in zip(pids, codes, strict=True):
        err = check_message(folder, pid, code, {0, 3})
        assert code == 0 or err.count("error: ") == 1
    assert there
    finish(stage, "plain", folder)


@pytest.mark.parametrize(
    "order", [("plain", "mixed"), ("edits", "larger"), ("folders", "archives")]
)
def test_another_job_is_refused_its_folder(stage: Stage, order: tuple[str, str]) -> None:
    """Whether the first is under way, or done; and two that begin at once are one and a refusal."""
    one, other = order
    folder = new_folder(stage, f"two-{one}-{other}")
    pids = {name: stage.server.start(stage.commands[name], folder) for name in order}
    codes = {name: stage.server.wait(pid) for name, pid in pids.items()}
    assert sorted(codes.values()) == [0, 2]
    winner, loser = sorted(codes, key=lambda name: codes[name])
    err = check_message(folder, pids[loser], 2, {2})
    assert err.count("error: ") == 1
    check_finished(stage, winner, folder)
    before = on_disk(folder)
    pid = stage.server.start(stage.commands[loser], folder)
    assert "another job" in check_message(folder, pid, stage.server.wait(pid), {2})
    assert on_disk(folder) == before
    finish(stage, winner, folder)


def test_the_same_lines_with_another_seed_are_another_job(stage: Stage) -> None:
    folder = new_folder(stage, "seed")
    finish(stage, "plain", folder)
    before = on_disk(folder)
    pid = stage.server.start([*stage.commands["plain"], "--seed", "8"], folder)
    assert "another job" in check_message(folder, pid, stage.server.wait(pid), {2})
    assert on_disk(folder) == before
