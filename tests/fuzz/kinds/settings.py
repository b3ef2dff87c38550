"""``--set``, inputs and prompts on the command line."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fuzz.case import MODELS, Case
from fuzz.kinds.names import INPUTS, KIND_OF, LISTS, STAGES, choices, tables
from fuzz.kinds.values import argument_of, arguments, numbers, seldom, toml_of, values
from fuzz.shelf import SD


@st.composite
def settings(draw: st.DrawFn) -> str:
    """What may stand behind ``--set``."""
    if draw(seldom(10)):
        return draw(arguments | st.tuples(arguments, arguments).map("=".join))
    stage = draw(st.sampled_from(STAGES))
    if draw(st.booleans()):
        stage = draw(st.sampled_from((*STAGES, *LISTS)))
        return f"{stage}={argument_of(toml_of(draw(choices(KIND_OF.get(stage, stage)))))}"
    table = draw(tables(stage))
    option, value = list(table.items())[-1]
    path = draw(st.sampled_from([f"{stage}.x", f"{stage}.0", ""])) if draw(seldom(10)) else stage
    return f"{path}.{option}={argument_of(toml_of(value))}"


def model(argv: list[str]) -> list[str]:
    """The same on the tiny model, in one step."""
    return [*argv, "--model", f"{MODELS}/{SD}", "--steps", "1", "--seed", "1"]


@st.composite
def sets(draw: st.DrawFn) -> Case:
    """``--set`` in the three commands that take it."""
    several: list[str] = []
    for setting in draw(st.lists(settings(), min_size=1, max_size=2)):
        several += ["--set", setting]
    if draw(st.booleans()):  # options of a plugin that is chosen
        stage = draw(st.sampled_from(("scheduler", "scheduler", "spacing", "guidance")))
        table = draw(tables(stage))
        several = [f"--{stage}", table.pop("name"), *several[:0]]
        for option, value in table.items():
            several += ["--set", f"{stage}.{option}={argument_of(toml_of(value))}"]
    command = draw(st.sampled_from(["explain", "generate", "generate", "check"]))
    if command == "check" and several[0] == "--set":
        steps: list[list[Any]] = [["text", "r.toml", f'model = "{MODELS}/{SD}"\n']]
        return Case("set", steps, ["recipe", "check", "r.toml", *several])
    if command == "explain":
        return Case("set", [], ["explain", "--model", f"{MODELS}/{SD}", *several])
    return Case("set", [], model(["generate", "a red star", *several]))


@st.composite
def prompts(draw: st.DrawFn) -> Case:
    """Prompts, and inputs given by name."""
    prompt = st.sampled_from(["a red star", "a", "(a:1.5) [b]", "a AND b", "a BREAK b"]) | arguments
    argv = ["generate", *draw(st.lists(prompt, min_size=1, max_size=2))]
    argv = [text if not text.startswith("-") else f" {text}" for text in argv]
    if draw(seldom(3)):
        name = (
            draw(st.sampled_from(INPUTS) | arguments) if draw(st.booleans()) else "negative_prompt"
        )
        value = argument_of(draw(arguments | values.map(toml_of) | numbers.map(str)))
        form = draw(st.sampled_from(["input", "flag", "flag="]))
        flag = f"--{name.replace('_', '-')}"
        ways = {"input": ["--input", f"{name}={value}"], "flag": [flag, value]}
        argv += ways.get(form, [f"{flag}={value}"])
    argv = model(argv)
    if draw(seldom(3)):
        option = draw(st.sampled_from(["--guidance-scale", "--num-images", "--batch-size"]))
        count = st.integers(-1, 3)
        argv += [option, argument_of(str(draw(numbers if "scale" in option else count)))]
    if draw(seldom(4)):
        argv.append("--json")
    return Case("prompt", [["picture", "a.png", {}]], argv)
