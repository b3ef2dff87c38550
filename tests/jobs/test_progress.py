"""What a job says while it runs: one line over all processes, and events as JSON."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tiny
from forked import Server, output_of

LINES = 24
END = rf"^{LINES} of {LINES} done, 0 left.*$"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("progress")
    tiny.write_stable_diffusion(place / "tiny")
    (place / "lines.txt").write_text("".join(f"star {i}\n" for i in range(LINES)))
    (place / "bad.jsonl").write_text(
        '{"prompt": "a star", "width": 24}\n{"prompt": "a star", "width": 25}\n{"prompt": 3}\n'
    )
    return place


@pytest.fixture(scope="module")
def server(server: Server, place: Path) -> Server:
    (place / "warm").mkdir()
    server.warm(words(place), place / "warm")
    return server


def words(place: Path, file: str = "lines.txt", *more: str) -> list[str]:
    run = ["--model", str(place / "tiny"), "--steps", "2", "--seed", "7", "--batch-size", "2"]
    return ["generate", "--prompts", str(place / file), *run, *more]


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_one_process_says_how_far_all_are(server: Server, place: Path, processes: int) -> None:
    folder = place / f"line{processes}"
    folder.mkdir()
    pids = [server.start(words(place), folder) for _ in range(processes)]
    assert [server.wait(pid) for pid in pids] == [0] * processes
    errors = "".join(output_of(folder, pid)[1] for pid in pids)
    assert len(re.findall(END, errors, re.MULTILINE)) == 1, errors


def test_another_process_speaks_where_the_one_that_did_has_died(
    server: Server, place: Path
) -> None:
    folder = place / "dies"
    folder.mkdir()
    (folder / "pictures").mkdir()
    first = server.start(words(place), folder)
    server.until(first, 0.0, lambda: (folder / "pictures" / ".ldm-claims").exists())
    second = server.start(words(place), folder)
    server.until(first, 0.0, lambda: len(list((folder / "pictures").glob("*.png"))) >= 4)
    os.kill(first, signal.SIGKILL)
    assert server.wait(first) == -signal.SIGKILL
    assert server.wait(second) == 0
    assert re.search(END, output_of(folder, second)[1], re.MULTILINE)


SELDOM = """
import sys
from ldm_core.cli import main, progress
progress.OFTEN = 1000.0
main()
"""
"""The command line, whose thread does not look again within a job."""


def test_it_is_seen_after_each_batch_whether_the_one_that_spoke_has_died(
    server: Server, place: Path
) -> None:
    folder = place / "dies early"
    (folder / "pictures").mkdir(parents=True)
    first = server.start(words(place), folder)
    server.until(first, 0.0, lambda: len(list((folder / "pictures").glob("*.png"))) >= 2)
    os.kill(first, signal.SIGSTOP)  # it keeps the word while the second begins
    command = [sys.executable, "-c", SELDOM, *words(place)]
    second = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    made = len(list((folder / "pictures").glob("*.png")))
    deadline = time.monotonic() + 600
    while len(list((folder / "pictures").glob("*.png"))) == made and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(first, signal.SIGKILL)
    os.kill(first, signal.SIGCONT)
    assert server.wait(first) == -signal.SIGKILL
    errors = second.communicate(timeout=600)[1]
    assert second.returncode == 0, errors
    assert len(re.findall(END, errors, re.MULTILINE)) == 1, errors


def test_events_are_objects_one_a_line(server: Server, place: Path) -> None:
    """Two processes: what each made adds up to the lines, each once."""
    folder = place / "events"
    folder.mkdir()
    pids = [server.start(words(place, "lines.txt", "--json"), folder) for _ in range(2)]
    assert [server.wait(pid) for pid in pids] == [0, 0]
    both = [events(output_of(folder, pid)[0]) for pid in pids]
    for said in both:
        assert said[0]["event"] == "started"
        assert said[0]["pictures"] == LINES
        assert said[-1] == {
            "event": "finished",
            "made": len(said) - 2,
            "failed": 0,
            "skipped": 0,
            "done": LINES,
            "left": 0,
            "pictures": LINES,
        }
    made = [event for said in both for event in said if event["event"] == "made"]
    assert sorted(event["line"] for event in made) == [*range(1, LINES + 1)]
    assert all((folder / event["path"]).is_file() for event in made)


def test_lines_that_are_left_out_are_events(server: Server, place: Path) -> None:
    folder = place / "bad"
    folder.mkdir()
    pid = server.start(words(place, "bad.jsonl", "--json", "--skip-bad"), folder)
    assert server.wait(pid) == 1
    said = events(output_of(folder, pid)[0])
    assert Counter(event["event"] for event in said) == {
        "started": 1,
        "skipped": 2,
        "made": 1,
        "finished": 1,
    }
    skipped = {event["line"]: event["reason"] for event in said if event["event"] == "skipped"}
    assert "multiple" in skipped[2]
    assert "prompt" in skipped[3]
    finished = said[-1]
    assert (finished["made"], finished["skipped"], finished["pictures"]) == (1, 2, 1)
