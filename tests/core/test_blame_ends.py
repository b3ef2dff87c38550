"""How the command line and jobs end where another package's plugin fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wrong_parts
from ldm_core.contracts import writes
from ldm_core.errors import PluginError
from ldm_core.jobs.job import Job
from ldm_core.plugins.registry import Plugin, Registry, installed

LOOK = "\n  it is for that package to mend; LDM_TRACEBACK=1 in the environment shows where.\n"


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong package is installed."""
    wrong_parts.CALLS.update(dict.fromkeys(wrong_parts.CALLS, 0))
    theirs = Registry()
    theirs.add(wrong_parts, "ldm-wrong", "1.2")
    monkeypatch.setattr(installed(), "plugins", [*installed().plugins, *theirs.plugins])


def generate(ldm: Any, folder: Path, *more: Any) -> tuple[int, str, str]:
    words = ("generate", "a star", "--model", folder, "--steps", 2, "--seed", 1, *more)
    code, out, err = ldm(*words)
    return code, out, err


def test_what_is_kept_stands_in_the_one_line(ldm: Any, folder: Path, tmp_path: Path) -> None:
    scheduler = ("--scheduler", "ldm-wrong:wrong", "--set", "scheduler.at=step2")
    scheduler += ("--set", "scheduler.how=KeyError", "--set", "scheduler.call=2")
    code, out, err = generate(ldm, folder, *scheduler, "--num-images", 3, "--batch-size", 1)
    assert (code, len(out.splitlines())) == (1, 1)
    assert err.endswith(
        "error: the scheduler 'wrong' of the package ldm-wrong 1.2 failed at step 2 of 2: "
        f"KeyError: 'missing'; 1 picture is in pictures{LOOK}"
    )
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["a-star-seed1.png"]


def test_what_the_machine_refuses_a_plugin_says_which(ldm: Any, folder: Path) -> None:
    scheduler = ("--scheduler", "ldm-wrong:wrong", "--set", "scheduler.at=step2")
    code, _, err = generate(ldm, folder, *scheduler, "--set", "scheduler.how=PermissionError")
    assert code == 3
    assert "error: the machine refuses: Permission denied: '/own/cache'." in err
    assert "by the scheduler 'wrong' of the package ldm-wrong 1.2 at step 2 of 2" in err
    code, _, err = generate(ldm, folder, *scheduler, "--set", "scheduler.how=BrokenPipeError")
    assert (code, "failed at step 2 of 2: BrokenPipeError: [Errno 32]" in err) == (1, True)


def test_bad_input_that_a_scheduler_is_told_of_in_a_walk_names_it_and_what_is_kept(
    ldm: Any, folder: Path
) -> None:
    scheduler = ("--scheduler", "ldm-wrong:wrong", "--set", "scheduler.at=step2")
    scheduler += ("--set", "scheduler.how=LdmError", "--set", "scheduler.call=2")
    code, _, err = generate(ldm, folder, *scheduler, "--num-images", 2, "--batch-size", 1)
    assert code == 2
    assert "of the package ldm-wrong 1.2, at step 2 of 2: so few steps are too few." in err
    assert "1 picture is in pictures" in err


@writes("image", ".claims", holds_manifest=True)
def claims(shown: Any, manifest: Any, path: Path) -> None:
    shown.data.save(path, format="PNG")


def test_a_file_without_the_manifest_that_its_writer_says_is_inside_is_told(
    ldm: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Plugin("writer", "claims", "ldm-wrong", "1.2", claims)
    monkeypatch.setattr(installed(), "plugins", [*installed().plugins, theirs])
    code, _, err = generate(ldm, folder, "--format", "claims")
    assert code == 1
    assert "the writer 'claims' of the package ldm-wrong 1.2 failed while it wrote a file" in err
    assert "no manifest can be read of its file" in err
    assert not [*(tmp_path / "pictures").glob("*.claims")]


def test_a_writer_that_fails_takes_no_other_picture_with_it(
    ldm: Any, folder: Path, tmp_path: Path
) -> None:
    code, out, err = generate(ldm, folder, "--format", "wrong", "--num-images", 3)
    assert (code, len(out.splitlines())) == (1, 2)
    assert err.endswith(
        "error: the writer 'wrong' of the package ldm-wrong 1.2 failed while it wrote a file: "
        f"ValueError: no writing; 2 pictures are in pictures{LOOK}"
    )
    names = {path.name for path in (tmp_path / "pictures").glob("*.wrong")}
    assert names == {"a-star-seed1.wrong", "a-star-seed3.wrong"}


def test_another_packages_writer_is_not_chosen_for_anybody(ldm: Any, folder: Path) -> None:
    _, out, _ = generate(ldm, folder)
    assert out.strip().endswith("a-star-seed1.png")


@pytest.mark.parametrize(
    ("command", "how", "code", "said"),
    [
        ("plain", "ValueError", 1, "failed while it ran: ValueError: a bad value"),
        ("plain", "exit", 7, ""),
        ("plain", "interrupt", 1, "failed while it ran: KeyboardInterrupt"),  # nobody's signal
        ("of_pipeline", "AssertionError", 1, "failed while it ran: AssertionError"),
        ("of_pipeline", "none", 1, "failed while it ran: TypeError: 'NoneType' object"),
        ("in_batches", "KeyError", 1, "failed while it ran: KeyError: 'missing'; 1 picture is in"),
        ("in_batches", "none", 1, "failed while it ran: a command that is made in batches yields"),
    ],
)
def test_a_command_ends_with_its_own_code(
    ldm: Any, folder: Path, command: str, how: str, code: int, said: str
) -> None:
    model = () if command == "plain" else ("--model", folder, "--steps", 1)
    ended, _, err = ldm("wrong", command, how, *model)
    assert (ended, said in err) == (code, True), err
    if code == 1:
        assert f"error: the command 'wrong {command}' of the package ldm-wrong 1.2 " in err


def lines_in(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


BROKEN = {"name": "ldm-wrong:wrong", "at": "step2", "how": "ValueError"}
SAID = "the scheduler 'wrong' of the package ldm-wrong 1.2 failed at step 2 of 2: ValueError: a bad"


def test_a_line_that_a_plugin_fails_at_takes_no_other_with_it(
    ldm: Any, folder: Path, tmp_path: Path
) -> None:
    lines = [{"prompt": "a"}, {"prompt": "b", "scheduler": BROKEN}, {"prompt": "c"}]
    path = lines_in(tmp_path, *lines)
    code, out, err = ldm(
        "generate", "--prompts", path, "--model", folder, "--steps", 2, "--seed", 1, "--out", "o"
    )
    assert (code, len(out.splitlines())) == (1, 2)
    assert f"error: line 2: {SAID}" in err
    ledger = [json.loads(line) for line in (tmp_path / "o" / "results.jsonl").open()]
    assert {r["index"]: "error" in r for r in ledger} == {0: False, 1: True, 2: False}
    assert next(r["error"] for r in ledger if "error" in r).startswith(SAID)


def test_a_line_that_a_plugin_cannot_even_plan_is_its_failure(
    ldm: Any, folder: Path, tmp_path: Path
) -> None:
    wrong = {"name": "ldm-wrong:wrong", "at": "fit", "how": "KeyError"}
    path = lines_in(tmp_path, {"prompt": "a"}, {"prompt": "b", "guidance": wrong})
    words = ("generate", "--prompts", path, "--model", folder, "--steps", 1, "--out", "o")
    code, out, err = ldm(*words)
    assert (code, out) == (1, "")
    assert err.endswith(
        "error: the guidance 'wrong' of the package ldm-wrong 1.2 failed while it was fitted to "
        f"the model: KeyError: 'missing'; line 2 of 'lines.jsonl'; nothing is made{LOOK}"
    )
    code, out, _ = ldm(*words, "--skip-bad")
    assert (code, len(out.splitlines())) == (1, 1)


def test_a_plugin_that_fails_at_line_after_line_ends_the_job(folder: Path, tmp_path: Path) -> None:
    path = lines_in(tmp_path, *({"prompt": str(n)} for n in range(9)))
    choices = {"model": str(folder), "num_inference_steps": 2, "scheduler": BROKEN}
    job = Job.open(path, tmp_path / "o", choices=choices, seed=1, batch_size=1)
    with pytest.raises(PluginError, match="at step 2 of 2"):
        list(job.run())
    ledger = [json.loads(line) for line in (tmp_path / "o" / "results.jsonl").open()]
    assert [r["index"] for r in ledger] == [0, 1, 2]


def test_a_writer_that_fails_at_one_line_fails_that_line(folder: Path, tmp_path: Path) -> None:
    path = lines_in(tmp_path, *({"prompt": str(n)} for n in range(4)))
    choices = {"model": str(folder), "num_inference_steps": 1}
    job = Job.open(path, tmp_path / "o", choices=choices, seed=1, batch_size=4, format="wrong")
    list(job.run())
    ledger = [json.loads(line) for line in (tmp_path / "o" / "results.jsonl").open()]
    assert {r["index"]: r.get("error", "") for r in ledger} == {
        0: "",
        1: "the writer 'wrong' of the package ldm-wrong 1.2 failed while it wrote a file: "
        "ValueError: no writing",
        2: "",
        3: "",
    }
