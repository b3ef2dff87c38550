"""What a shell completes, asked as bash asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from ldm_core.cli.completion import begun


@pytest.fixture
def complete(ldm: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def asked(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_LDM_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        code, out, err = ldm()
        assert (code, err) == (0, "")
        return [word for word in out.splitlines() if word]

    return asked


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ldm gen", ["generate"]),
        ("ldm generate --scheduler eu", ["euler", "euler_ancestral"]),
        ("ldm image-to-image --spacing kar", ["karras"]),
        ("ldm explain --guidance classifier_", ["classifier_free"]),
        ("ldm generate --model sha", ["shapes"]),
        ("ldm generate --format jp", ["jpg"]),
        ("ldm generate --preview-by l", ["linear"]),
        ("ldm generate --previe", ["--preview", "--preview-by"]),
        ("ldm plugins show kar", ["karras"]),
        ("ldm plugins list --kind con", ["conditioning", "converter"]),
        ("ldm generate --class-label 3 --scheduler uni", ["unipc"]),
    ],
)
def test_names_are_completed(complete: Any, line: str, words: list[str]) -> None:
    assert complete(line) == words


@pytest.mark.parametrize(
    "line",
    [
        "ldm generate --scheduler $(touch /tmp/x)",
        "ldm generate --scheduler ../../etc",
        "ldm generate 'a red --sched",
        "ldm generate --model \x1b[31m",
        "ldm generate --scheduler " + "a" * 5000,
        "ldm nothing --scheduler eu",
    ],
)
def test_what_is_no_name_completes_to_nothing(complete: Any, line: str) -> None:
    assert complete(line) == []


def test_no_name_is_given_that_a_shell_would_take_for_more() -> None:
    hostile = ["$(reboot)", "a b", "`id`", "a;b", "a\nb", "x'y", "a&b", "\x1b[2J"]
    assert begun([*hostile, "plain", "plain", "ldm-mine:one.2"], "") == ["ldm-mine:one.2", "plain"]


def test_completing_takes_neither_torch_nor_diffusers() -> None:
    code = (
        "import sys; from ldm_core.cli import main\n"
        "sys.argv = ['ldm']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('HEAVY', sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    line = "ldm text-to-image a --scheduler eu"
    asked = {"_LDM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "4"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["euler", "euler_ancestral", "HEAVY", "[]"]
