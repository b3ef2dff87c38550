"""The line that says how far a job is."""

from __future__ import annotations

from typing import Any

import pytest

from ldm_core.cli.progress import Speaker
from ldm_core.jobs.standing import Standing


class Watched:
    """A job of which another process makes pictures."""

    ends = True

    def __init__(self) -> None:
        self.done = self.failed = 0

    def standing(self) -> Standing:
        return Standing(9, self.done, self.failed)


@pytest.mark.parametrize("what", ["done", "failed"])
def test_processes_that_were_started_read_weights_until_one_has_made_or_failed_a_picture(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job: Any = Watched()
    job.done = 4  # before this start
    speaker = Speaker(job)
    said = []
    for step in ("as it was", "started", "first"):
        if step == "started":
            speaker.started()
        if step == "first":
            setattr(job, what, getattr(job, what) + 1)
        speaker.last()
        said.append(capsys.readouterr().err.strip())
    assert [line.endswith(", reading weights") for line in said] == [False, True, False]
