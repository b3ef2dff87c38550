"""The ledger has a whole line for each picture, or none."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from ldm_core.errors import LdmError
from ldm_core.jobs.claims import Claims
from ldm_core.jobs.ledger import DONE, FAILED, Ledger, Result


def made(index: int) -> Result:
    return Result(index, index + 1, 7, f"{index}.png", 0.5, "ab")


def failed(index: int) -> Result:
    return Result(index, index + 1, 7, error="no")


def ledger(path: Path, since: int | None = None) -> Ledger:
    one = Ledger(path, 10, nullcontext, since)
    one.read()
    return one


def test_what_is_appended_is_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    one, other = ledger(path), ledger(path)
    one.append([made(3), failed(4)])
    assert other.read() == [made(3), failed(4)]
    assert list(other.states) == [0, 0, 0, DONE, FAILED, 0, 0, 0, 0, 0]
    assert other.read() == []
    other.append([made(4)])
    assert one.read() == [made(3), failed(4), made(4)]
    assert one.states[4] == DONE
    assert list(one.results()) == [made(3), failed(4), made(4)]
    assert one.read() == []


def test_what_failed_before_is_tried_again_and_what_fails_now_is_not(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    ledger(path).append([failed(1)])
    one = ledger(path)
    size = path.stat().st_size
    one.append([failed(2)])
    one.read()
    assert (one.states[1], one.states[2]) == (0, FAILED)
    assert list(ledger(path, since=size).states[1:3]) == [0, FAILED]
    assert list(ledger(path).states[1:3]) == [0, 0]


@pytest.mark.parametrize("cut", [1, 2, 40, 75])
def test_a_torn_last_line_counts_as_none_and_is_taken_away(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    ledger(path).append([made(1)])
    ledger(path).append([made(2)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    one = ledger(path)
    assert (one.states[1], one.states[2]) == (DONE, 0)
    one.append([made(3)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["index"] for line in lines] == [1, 3]
    assert one.read() == [made(3)]


def test_a_ledger_of_a_single_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"index"')
    one = ledger(path)
    one.append([made(0)])
    assert ledger(path).states[0] == DONE


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[]",
        "no",
        '{"index": 10, "line": 1, "seed": 1, "file": "a"}',
        '{"index": -1, "line": 1, "seed": 1, "file": "a"}',
        '{"index": true, "line": 1, "seed": 1, "file": "a"}',
        '{"index": 1.0, "line": 1, "seed": 1, "file": "a"}',
        '{"index": 1, "line": 1, "seed": 1, "file": 5}',
        '{"index": 1, "line": 1, "seed": 1, "file": "a", "error": "b"}',
        '{"index": 1, "line": 1, "seed": 1, "file": "a", "more": "b"}',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_no_ledger_of_the_job(line: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(LdmError, match="is no ledger of this job"):
        ledger(path)


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.jsonl")
    with pytest.raises(LdmError, match="no plain file"):
        ledger(tmp_path / "results.jsonl")


def test_a_line_that_does_not_fit_on_the_disk_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    """As far as a process may write, which the system refuses in the middle of a line."""
    path = tmp_path / "results.jsonl"
    ledger(path).append([made(1)])
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            ledger(path).append([made(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


def test_many_processes_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ldm_core.jobs.claims import Claims\n"
        "from ldm_core.jobs.ledger import Ledger, Result\n"
        "path = Path(sys.argv[1])\n"
        "claims = Claims(path.with_name('claims'))\n"
        "ledger = Ledger(path, 1000, claims.ledger)\n"
        "first = int(sys.argv[2])\n"
        "for index in range(first, first + 50):\n"
        "    ledger.append([Result(index, 1, 1, 'x' * 3000, 0.0, 'ab')])\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    processes = [subprocess.Popen([*command, str(first)]) for first in (0, 50, 100)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    claims = Claims(path.with_name("claims"))
    whole = Ledger(path, 1000, claims.ledger)
    assert sorted(result.index for result in whole.read()) == list(range(150))
    claims.close()
