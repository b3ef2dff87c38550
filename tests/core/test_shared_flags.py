"""What is asked of one command can be asked of all: JSON, quiet, where to, and in which format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from ldm_core.cli.later import itself
from ldm_core.cli.main import make_app

INSTANT = {
    *("show", "explain", "plugins new", "plugins find", "plugins list", "plugins show"),
    *("models list", "recipe check"),
}
"""Done at once, so that they say nothing on the way."""
TOLD = {"plugins check", "ui"}
"""Whose words are all results, or which serves until it is stopped."""
WRITES_NOTHING = {"show", "explain", "converge", "evaluate"}
WRITES_NOTHING |= {"plugins find", "plugins list", "plugins show", "plugins check"}
WRITES_NOTHING |= {"models list", "recipe check"}
"""But files that have names of their own, as a plot."""
NO_PICTURES = WRITES_NOTHING | {
    *("features", "tune", "plugins new", "ui"),
    *("train autoencoder", "train denoiser", "train transformer"),
}


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in getattr(group, "commands", {}).items():
        whole = f"{path} {name}".strip()
        yield from commands(command, whole) if hasattr(command, "commands") else [(whole, command)]


ALL = dict(commands(itself(typer.main.get_command(make_app()))))


@pytest.mark.parametrize("path", ALL)
def test_a_command_has_the_flags_that_all_have(path: str) -> None:
    flags = {flag for parameter in ALL[path].params for flag in parameter.opts}
    assert "--json" in flags
    assert ("-q" in flags) is (path not in INSTANT | TOLD)
    assert ("-o" in flags) is (path not in WRITES_NOTHING)
    assert ("--format" in flags) is (path not in NO_PICTURES)
    assert {"--preview", "--steps-to", "--animation"} <= flags or path in NO_PICTURES
    short = {"-n": "--num-images", "-o": "--out", "-q": "--quiet"}
    assert all(long in flags for key, long in short.items() if key in flags and path not in OTHERS)


OTHERS = {"plugins new"}
"""Whose folder has another name."""


@pytest.mark.parametrize("path", sorted(ALL))
def test_an_error_is_an_object_on_the_standard_output(ldm: Any, path: str) -> None:
    code, out, _ = ldm(*path.split(), "--json", "--no-such-flag")
    record = json.loads(out)
    assert (code, record["exit_code"]) == (2, 2)
    assert "no-such-flag" in record["error"]


def strict(text: str) -> Any:
    def none(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=none)


def test_results_are_json_and_nothing_else_is_printed(ldm: Any, folder: Path) -> None:
    """Each line of the standard output is an object, or the whole of it one; no number in it is
    infinite, which JSON has no word for."""
    Path("lines.txt").write_text("a star\n")
    Path("r.toml").write_text(f'model = "{folder}"\n')
    Path("set").mkdir()
    Image.effect_noise((16, 16), 40).convert("RGB").save("set/a.png")
    model = ["--model", folder]
    drawn = [*model, "--steps", 1, "--seed", 3]
    train = ["--resolution", 16, "--batch-size", 2]
    runs: dict[str, list[Any]] = {
        "generate": ["a", *drawn, "-o", "out"],
        "generate ": ["--prompts", "lines.txt", *drawn, "-o", "job"],
        "image-to-image": ["set/a.png", "a", *drawn, "-o", "edited", "--strength", 1],
        "replay": ["out/a-seed3.png", "--allow-files", "-o", "again"],
        "show": ["out/a-seed3.png"],
        "explain": model,
        "compare": ["a", "--over", "steps=1,2", *model, "-o", "compared"],
        "compare ": ["a", "--over", "steps=1,2", *model, "--against", "steps=2", "-o", "compared"],
        "converge": ["a", *model, "--steps", "1,2", "--reference", 4, "--end", 0],
        "evaluate": ["set", "--against", "set"],
        "features": ["set", *model, "-o", "f.safetensors"],
        "augment": ["--table", "t.csv", *model, "--steps", 1, "-o", "labelled"],
        "tune": ["a", *model, "--steps", 1, "--only", "chunked", "--rounds", 1],
        "train autoencoder": ["--data", "set", "-o", "trained", *train, "--steps", 1],
        "plugins list": ["--kind", "spacing"],
        "plugins show": ["euler"],
        "plugins find": ["Euler a"],
        "plugins new": ["ldm-mine", "--kind", "spacing", "-o", "new"],
        "models list": [],
        "recipe check": ["r.toml"],
    }
    Path("t.csv").write_text("prompt\na\n")
    for path, words in runs.items():
        code, out, err = ldm(*path.split(), *words, "--json")
        assert code == 0, (path, err)
        try:
            strict(out)
        except ValueError:
            lines = [strict(line) for line in out.splitlines()]
            assert lines
            assert all(isinstance(line, dict) for line in lines)
        assert "%|" not in err  # no bar
    for path in ("generate", "generate ", "compare", "converge", "evaluate", "features", "tune"):
        quiet = [*path.split(), *runs[path], "-q", "--overwrite"]
        code, out, err = ldm(*[word for word in quiet if path != "evaluate" or word != quiet[-1]])
        assert (code, [line for line in err.splitlines() if "warning" not in line]) == (0, []), path
        assert out or path == "generate ", path  # a job prints what it makes, and all is there
    assert ldm("train", "autoencoder", *runs["train autoencoder"], "-q") == (0, "", "")
