"""A claim is one process's, and gone with it, however it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ldm_core.jobs.claims import Claims

HOLDER = """
import sys
from pathlib import Path
from ldm_core.jobs.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take([3, 4, 9]), claims.take([4, 5]), claims.take([5]), flush=True)
sys.stdin.readline()
claims.release([9])
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds 3, 4, 5 and 9."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "claims")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True False True\n"
    yield process
    process.kill()
    process.communicate()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "released\n"


def test_what_another_process_holds_cannot_be_taken(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    claims = Claims(tmp_path / "claims")
    taken = [index for index in range(12) if claims.take([index])]
    assert taken == [0, 1, 2, 6, 7, 8, 10, 11]
    tell(holder)
    assert not claims.take([4, 9])
    assert claims.take([9])
    claims.close()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_dead_process_holds_nothing(
    signum: int, holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    claims = Claims(tmp_path / "claims")
    assert not claims.take([3])
    os.kill(holder.pid, signum)
    holder.wait()
    assert claims.take([3, 4, 5, 9])
    claims.close()


def test_all_or_nothing(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """A claim of which one picture is another's leaves the rest of it free."""
    claims, other = Claims(tmp_path / "claims"), Claims(tmp_path / "claims")
    assert not claims.take([1, 2, 5])
    assert other.take([1, 2])
    claims.close()
    other.close()


def test_two_of_one_process_exclude_each_other_and_closing_one_keeps_the_others(
    tmp_path: Path,
) -> None:
    """POSIX locks do neither."""
    path = tmp_path / "claims"
    first, second = Claims(path), Claims(path)
    assert first.take([1, 2])
    assert not second.take([2, 3])
    assert second.take([3])
    second.close()
    third = Claims(path)
    code = (
        "import sys; from pathlib import Path; from ldm_core.jobs.claims import Claims\n"
        "claims = Claims(Path(sys.argv[1])); print(claims.take([1]), claims.take([3]))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert run.stdout == "False True\n", run.stderr
    assert third.take([3])
    first.close()
    assert third.take([1, 2])
    third.close()


def test_threads_take_each_picture_once(tmp_path: Path) -> None:
    taken: list[int] = []

    def work() -> None:
        claims = Claims(tmp_path / "claims")
        mine = [index for index in range(300) if claims.take([index])]
        barrier.wait()
        taken.extend(mine)
        claims.close()

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(300))
