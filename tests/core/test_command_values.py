"""Odd values on the command line: one message and exit code 2, or taken as what they say."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ldm_core.cli.inputs import gather_inputs
from ldm_core.composition.recipe import override, read_value
from ldm_core.errors import LdmError
from ldm_core.plugins import discovery
from ldm_core.plugins.registry import Plugin

DEEP = "[" * 20_000
LONG = "9" * 5_000


@pytest.mark.parametrize(
    "name",
    [
        *("on_step", "batch_size", "output_type", "seed", "inputs", "extent", "width", "self"),
        *("guidance_scale", "pipe", "cls", "axes", "call", "context", "__class__", "on_batch"),
        *("num_images_per_prompt", "num_inference_steps", "a b", "1", "", "a.b", "prompts"),
    ],
)
def test_an_input_named_as_something_else(ldm: Any, folder: Path, name: str) -> None:
    code, _, error = ldm("generate", "a", "--model", folder, "--input", f"{name}=1")
    assert code == 2, error
    assert error.startswith("error: ")


def test_an_input_given_twice(ldm: Any, folder: Path) -> None:
    for flags in (
        ["a", "--input", "prompt=b"],
        ["--input", "prompt=a", "--input", "prompt=b"],
        ["a", "--prompt", "b"],
        ["a", "--input", "negative_prompt=b", "--negative-prompt", "c"],
    ):
        code, _, error = ldm("generate", "--model", folder, *flags)
        assert (code, "given twice" in error) == (2, True), error


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("", "should look like"),
        ("=", "should look like"),
        ("scheduler", "should look like"),
        (".eta=1", "should look like"),
        ("scheduler.=1", "no option ''"),
        ("scheduler.name=3", "name of 'scheduler' should be text"),
        ("scheduler.name=", "no scheduler named ''"),
        ("scheduler.__class__=1", "no option '__class__'"),
        ("scheduler.name.name=1", "the name of 'scheduler' should be text"),
        ("scheduler=[1]", "a plugin's name or a table"),
        ("scheduler={name={name=1}}", "name of 'scheduler' should be text"),
        ("guidance.scale=nan", "should be float"),
        ("guidance.scale=true", "should be float"),
        (f"guidance.scale={LONG}", "cannot be read: a number is too long"),
        (f"guidance.scale={DEEP}", "nested too deeply"),
        ("guidance.scale=2020-01-01", "should be float"),
        ("guidance.scale=1\nseed = 2", "should be float"),
        (f"scheduler.{'x' * 5000}=1", "no option"),
        ("model.name=1", "takes no options by --set"),
        ("conditioning=3", "'conditioning' should be"),
        ("loras={path=1}", "the path of an entry of 'loras'"),
        ("width=1e400", "'width' should be int"),
        ("width=true", "'width' should be int"),
        ("extent={width=true}", "'extent' should be"),
        ("nonsense=1", "no key 'nonsense'"),
        ("\udcff=1", "no key"),
        ("scheduler.eta=\udcff", "should be float"),
    ],
)
def test_settings(ldm: Any, folder: Path, setting: str, message: str) -> None:
    code, _, error = ldm("generate", "a", "--model", folder, "--set", setting)
    assert code == 2, error
    assert message in error
    assert len(error) < 20_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1.5", 1.5),
        ("a star", "a star"),
        ("'3'", "3"),
        ("[1, 2]", [1, 2]),
        ("2020-01-01", "2020-01-01"),
        ("07:32:00", "07:32:00"),
        ("3\nfoo = 4", "3\nfoo = 4"),
        ("", ""),
        ("[1,\n2]", [1, 2]),
        ("\udcff", "\udcff"),
    ],
)
def test_a_value_is_toml_or_text(text: str, value: Any) -> None:
    assert read_value(text) == value


def test_values_that_cannot_be_read() -> None:
    for text in (DEEP, LONG, f"[{LONG}]", "{a=" * 20_000):
        with pytest.raises(LdmError, match=r"nested too deeply|number is too long") as caught:
            read_value(text)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "prompt", ["\udcff", "a\udc80b", "(a:-1)", "(" * 999 + ")" * 999, "a" * 200_000]
)
def test_prompts_that_are_none(ldm: Any, folder: Path, prompt: str) -> None:
    code, _, error = ldm("generate", prompt, "--model", folder)
    assert code == 2, error
    assert "prompt" in error or "weight" in error
    assert len(error) < 2000


@pytest.mark.parametrize("size", ["0x0", "-1x8", f"{LONG}x16", "16", "16xx16", "16x16x16", "axb"])
def test_sizes(ldm: Any, folder: Path, size: str) -> None:
    code, _, error = ldm("generate", "a", "--model", folder, "--size", size)
    assert code == 2, error


PIECES = [
    *"=.,:;[]{}()\"'\\\n\t #-+",
    "\udcff",
    "\u202e",
    "\x1b[31m",
    "é",
    "名",
    "1",
    "0",
    "nan",
    "inf",
    "true",
    "1e9",
    "-1",
    "2**3",
    "9" * 40,
    "seed",
    "on_step",
    "self",
    "__class__",
    "prompt",
    "name",
    "scheduler",
    "eta",
    "guidance",
    "scale",
    "width",
    "strength",
    "image",
    "ddim",
    "nul",
    "../",
    "~",
    "@file",
    "$HOME",
    "%s",
    "{0}",
    "[[",
    "{a=1}",
    "'x'",
    '"y"',
    "--",
    "-h",
    "1970-01-01",
]
"""What values are made of at random."""


def _outcome(read: Callable[[], Any]) -> str:
    """What a value is, as a manifest holds it, or why it is none; anything else is a fault."""
    try:
        return json.dumps(read())
    except LdmError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(4))
def test_values_made_at_random_end_in_a_value_or_one_error(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(500):
        text = "".join(rng.choices(PIECES, k=rng.randrange(1, 7)))
        name = "".join(rng.choices(PIECES, k=rng.randrange(1, 3)))
        for read in (
            lambda text=text, **_: override(text),
            lambda text=text, name=name: override(f"scheduler.{name}={text}"),
            lambda text=text, name=name: gather_inputs([f"{name}={text}", text], {}),
        ):
            assert len(_outcome(read)) < 2000


def test_whole_commands_made_at_random_end_in_one_message(ldm: Any, folder: Path) -> None:
    rng = random.Random(11)
    flags = ["--set", "--input", "--negative-prompt", "--seed", "--size", "--steps", "--scheduler"]
    flags += ["--guidance-scale", "--batch-size", "--num-images", "--strength", "--dtype", "--lora"]
    for _ in range(60):
        words: list[str] = []
        for _ in range(rng.randrange(1, 4)):
            words += [rng.choice(flags), "".join(rng.choices(PIECES, k=rng.randrange(1, 4)))]
        # a model that is nowhere, so that a right command ends there too
        code, _, error = ldm("generate", "a", "--model", "nowhere/at-all", *words)
        assert code in (0, 2), (words, error)
        assert code == 0 or "rror" in error or "Usage" in error, (words, error)


TALKS = """
import functools
from pathlib import Path

from ldm_core import hookimpl

ldm_api = ">=2,<3"


def counted(*words: str):
    '''Count letters.'''
    print("a remark")
    return [f"{word} {len(word)}" for word in words]


def where():
    '''Say a path.'''
    return Path("here")


def number():
    '''Say a number.'''
    return 3


@hookimpl
def ldm_commands(register):
    for command in (counted, where, number):
        register(command.__name__, command)
    register("printed", print)
    register("in-part", functools.partial(print, "said"))
"""


SAID = "returned 3, which is neither text nor a path: not printed."


def test_what_a_command_returns_is_its_result_and_what_it_prints_is_not(
    ldm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_files", ())
    file = tmp_path / "talks_to_us.py"
    file.write_text(TALKS)
    whose = f"local 0+{sha256(file.read_bytes()).hexdigest()[:12]}"
    try:
        for words, printed, said in (
            ("counted ab c", "ab 2\nc 1\n", "a remark\n"),
            ("where", "here\n", ""),
            ("number", "", f"warning: the command 'number' of the package {whose} {SAID}\n"),
            ("printed it", "", "it\n"),
            ("in-part", "", "said\n"),
        ):
            assert ldm("--plugin", file, *words.split()) == (0, printed, said)
    finally:
        sys.modules.pop("talks_to_us", None)


@pytest.mark.parametrize("name", ["model", "recipe", "set"])
def test_a_command_takes_no_flag_that_says_what_its_pipeline_is(name: str) -> None:
    from ldm_core.cli.commands import as_command

    made: dict[str, Any] = {}
    for function, parameters in (
        ("given", f"pipe: Pipeline, *, {name}: str = 'a'"),
        ("placed", f"pipe: Pipeline, {name}: str"),
        ("alone", f"*, {name}: str = 'a'"),
        ("another", "pipe: Pipeline, *, scheduler: str = 'a'"),
    ):
        lines = [
            "from ldm_core import Pipeline",
            f"def {function}({parameters}) -> None:",
            "  pass",
        ]
        exec("\n".join(lines), made)
        plugin = Plugin("command", function, "ldm-mine", "1", made[function])
        if function in ("given", "placed"):
            with pytest.raises(TypeError, match=f"'{name}' would stand in the place of --{name}"):
                as_command(plugin)
        else:
            assert as_command(plugin)
