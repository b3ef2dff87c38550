"""Every command of the program with arguments of every kind, read from the program itself."""

from __future__ import annotations

import csv
import functools
import io
import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from fuzz.case import MODELS, Case
from fuzz.kinds.values import argument_of, arguments, numbers, seldom, toml_of, values
from fuzz.shelf import SD

RIGHT: dict[str, list[str]] = {
    "image": ["a.png"],
    "images": ["a.png", "m.png"],
    "first": ["a.png"],
    "second": ["a.png"],
    "folder": [f"{MODELS}/data"],
    "prompts": ["a red star"],
    "prompt": ["a red star"],
    "edit": ["a blue star"],
    "negative_prompt": ["a blue star", ""],
    "classes": ["3", "0"],
    "recipe": ["r.toml"],
    "model": [f"{MODELS}/{SD}", f"{MODELS}/dit", f"{MODELS}/ddpm"],
    "model_config": [f"{MODELS}/{SD}"],
    "lora": [f"{MODELS}/lora.safetensors:0.5"],
    "scheduler": ["euler", "dpmpp_2m", "ddim"],
    "spacing": ["karras", "leading"],
    "guidance": ["none", "classifier_free"],
    "guidance_scale": ["3.5", "1"],
    "attention": ["native", "chunked"],
    "set": ["scheduler.eta=0.5"],
    "set_": ["scheduler.eta=0.5"],
    "input": ["prompt='a star'"],
    "device": ["cpu", "auto"],
    "dtype": ["float32", "bfloat16", "float16"],
    "compute_dtype": ["float32"],
    "size": ["16x16", "32x16"],
    "steps": ["1", "2"],
    "crop_steps": ["0", "1"],
    "num_images": ["1", "2"],
    "batch_size": ["1", "2"],
    "seed": ["1"],
    "seeds": ["1", "2"],
    "out": ["out"],
    "sheet": ["sheet.png"],
    "animation": ["x.gif"],
    "film": ["x.gif"],
    "plot": ["x.svg"],
    "table": ["t.csv"],
    "mask": ["m.png"],
    "mask_box": ["2,2,8,8"],
    "data": [f"{MODELS}/data"],
    "autoencoder": [f"{MODELS}/{SD}"],
    "resolution": ["16"],
    "name": ["euler", "text"],
    "kind": ["scheduler"],
    "format": ["png"],
    "strength": ["0.5", "1"],
    "weight": ["0.5"],
    "factor": ["2"],
    "by": ["pixels", "latents"],
    "left": ["8"],
    "width": ["32"],
    "layers": ["1"],
    "pool_size": ["8"],
    "pool_steps": ["1"],
    "max_tokens": ["16"],
    "latent_channels": ["4"],
    "only": ["chunked", "channels_last"],
    "rounds": ["1"],
}
"""Values that are right for a parameter, by its name; of others odd ones alone are drawn."""
SIZES = [
    "0x0",
    "-8x8",
    "8x",
    "x8",
    "8x8x8",
    "15x17",
    "999999999x8",
    "99999999999999999999x8",
    "\u0663x\u0663",
    "8X8",
    " 8x8",
    "1e3x1e3",
    "8.0x8.0",
]
BOXES = ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "9,9,1,1", "-5,-5,99,99", "nan,0,1,1", "0,0,0,0"]
LARGE = ["0", "-1", "1000000000", "99999999999999999999", "1.5", "nan", "1e3", "\u0663", "", "0x10"]
"""Of counts, such as steps: too few or very many, never what would take long and is right."""
COUNTS = {"steps", "crop_steps", "num_images", "batch_size", "iterations", "factor", "milliseconds"}
COUNTS |= {"left", "right", "top", "bottom", "resolution", "width", "layers", "pool_size"}
COUNTS |= {"rounds", "pool_steps", "max_tokens", "latent_channels", "num_workers", "warmup"}


@dataclass(frozen=True)
class Parameter:
    name: str
    flag: str
    takes_value: bool
    required: bool
    several: bool


STARTS_PROCESSES = {("plugins", "check")}
"""Commands that run a package's code in a process of its own, as they say."""
GOES_ON = {("ui",)}
"""Commands that go on until they are stopped; see tests/pipelines/test_page_in_a_browser.py."""


@functools.cache
def commands() -> tuple[tuple[tuple[str, ...], tuple[Parameter, ...]], ...]:
    """Each command's words and parameters; positional ones have no flag."""
    import typer.main

    from ldm_core.cli.later import itself
    from ldm_core.cli.main import make_app

    found: list[tuple[tuple[str, ...], tuple[Parameter, ...]]] = []

    def walk(command: Any, words: tuple[str, ...]) -> None:
        inner = getattr(command, "commands", None)
        for name, sub in (inner or {}).items():
            walk(sub, (*words, name))
        if inner is None and words not in STARTS_PROCESSES | GOES_ON:
            found.append((words, tuple(map(_parameter, command.params))))

    walk(itself(typer.main.get_command(make_app())), ())
    return tuple(found)


def _parameter(given: Any) -> Parameter:
    flag = given.opts[0] if given.opts[0].startswith("-") else ""
    takes = not (flag and getattr(given, "is_flag", False))
    several = given.nargs == -1 or bool(getattr(given, "multiple", False))
    return Parameter(given.name, flag, takes, bool(given.required), several)


@st.composite
def values_of(draw: st.DrawFn, name: str, odd: bool) -> str:
    """A value of a parameter."""
    if not odd and name in RIGHT:
        return draw(st.sampled_from(RIGHT[name]))
    if name == "size":
        return argument_of(draw(st.sampled_from(SIZES)))
    if name == "mask_box":
        return draw(st.sampled_from(BOXES))
    if name in COUNTS:
        return draw(st.sampled_from(LARGE))
    if name in ("out", "sheet", "animation", "film", "plot"):
        return draw(st.sampled_from(["a.png", "a.png/b", "x.txt", "", "d/x.png", "x" * 300, "."]))
    if name == "seed":
        return argument_of(str(draw(numbers)))
    return argument_of(draw(arguments | numbers.map(str) | values.map(toml_of)))


@st.composite
def invocations(draw: st.DrawFn) -> Case:
    """A command: what it needs, some of what it takes, and up to two odd values."""
    words, parameters = draw(st.sampled_from(commands()))
    optional = [p for p in parameters if not p.required]
    chosen = draw(st.lists(st.sampled_from(optional), max_size=2, unique=True)) if optional else []
    needed = [p for p in parameters if p.required]
    cheap = {"model", "steps", "data", "resolution", "prompts", "batch_size", "num_images"}
    needed += [p for p in parameters if p.name in cheap and p not in chosen and not p.required]
    if "train" in words:
        chosen = [p for p in chosen if p.name != "num_workers"]
    every = [*needed, *chosen]
    odd = draw(st.sets(st.sampled_from(every), max_size=1)) if every else set()
    left_out = draw(st.sampled_from(every)) if every and draw(seldom(15)) else None
    places: list[str] = []
    flags: list[list[str]] = []
    for parameter in every:
        if parameter == left_out:
            continue
        if not parameter.takes_value:
            flags.append([parameter.flag])
            continue
        value = draw(values_of(parameter.name, parameter in odd))
        if not parameter.flag:
            places.append(value)
        elif draw(st.booleans()):
            flags.append([parameter.flag, value])
        else:
            flags.append([f"{parameter.flag}={value}"])
    if words == ("tune",) and not any(flag[0].startswith("--only") for flag in flags):
        flags.append(["--only", "chunked"])  # of all, some start a compiler
    if draw(seldom(20)):
        name = argument_of(draw(arguments))
        flags.append([f"--{name}", argument_of(draw(arguments))])
    if draw(seldom(25)):
        flags.append(
            [draw(st.sampled_from(["--", "-", "--help", "-h", "--version", "-x", "--json"]))]
        )
    order = draw(st.permutations(flags)) if flags else []
    argv = [*words, *places, *(piece for flag in order for piece in flag)]
    writes = ("tuned.toml",) if words == ("tune",) else ()  # where no --out says otherwise
    return Case("command", STEPS, argv, writes=writes)


STEPS: list[list[Any]] = [
    ["picture", "a.png", {}],
    ["picture", "m.png", {"mode": "L"}],
    ["text", "r.toml", f'model = "{MODELS}/{SD}"\nnum_inference_steps = 1\n'],
    ["text", "t.csv", "prompt,seed,label\na red star,1,x\na blue star,2,y\n"],
]


COLUMNS = ["seed", "width", "height", "steps", "guidance_scale", "label", "file_name"]
CELLS = {
    "prompt": ["a red star", "a blue star", "a"],
    "seed": ["1", "2"],
    "width": ["16", "32"],
    "height": ["16", "32"],
    "steps": ["1", "2"],
    "guidance_scale": ["1", "2.5"],
}
"""Right values of a table's columns."""


@st.composite
def tables(draw: st.DrawFn) -> Case:
    """Tables that ``ldm augment`` reads."""
    more = draw(st.lists(st.sampled_from(COLUMNS) | arguments, max_size=2, unique=True))
    head = ["prompt", *(name for name in more if name != "prompt")]
    if draw(seldom(10)):
        head = head[1:]
    rows = []
    for _ in range(draw(st.integers(1, 2))):
        row = [draw(st.sampled_from(CELLS.get(name, ["x"]))) for name in head]
        if row and draw(seldom(3)):
            row[draw(st.integers(0, len(row) - 1))] = draw(arguments | st.sampled_from(LARGE))
        if draw(seldom(15)):
            row = [*row, "x"]
        rows.append(row)
    if draw(st.booleans()):
        stream = io.StringIO()
        csv.writer(stream).writerows([head, *rows])
        text, name = stream.getvalue(), "t.csv"
    else:
        entries: list[Any] = [dict(zip(head, row, strict=False)) for row in rows]
        if entries and entries[0] and draw(seldom(3)):
            entries[0][draw(st.sampled_from(sorted(entries[0])))] = draw(values)
        if draw(seldom(15)):
            entries.append(draw(values))
        text, name = "\n".join(map(json.dumps, entries)), "t.jsonl"
    steps: list[list[Any]] = [["text", name, text]]
    argv = ["augment", "--table", name, "--out", "out", "--model", f"{MODELS}/{SD}", "--steps", "1"]
    return Case("table", steps, argv)
