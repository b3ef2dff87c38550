"""``--set``, inputs and prompts on the command line."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fuzz.case import MODELS, Case
from fuzz.kinds.names import KIND_OF, LISTS, STAGES, choices, inputs, option_values, plugins
from fuzz.kinds.values import argument_of, arguments, numbers, toml_of, values
from fuzz.shelf import SD


@st.composite
def settings(draw: st.DrawFn) -> str:
    """What may stand behind ``--set``."""
    form = draw(st.sampled_from(["option", "option", "stage", "odd"]))
    if form == "odd":
        return draw(arguments | st.tuples(arguments, arguments).map("=".join))
    stage = draw(st.sampled_from((*STAGES, *LISTS)))
    kind = KIND_OF.get(stage, stage)
    if form == "stage":
        return f"{stage}={argument_of(toml_of(draw(choices(kind))))}"
    name, options = draw(st.sampled_from(plugins(kind)))
    option = draw(st.sampled_from(options)) if options else "eta"
    value = argument_of(toml_of(draw(option_values(option))))
    path = draw(st.sampled_from([stage, stage, f"{stage}.{name}", f"{stage}.0", f"{stage}.x.y", ""]))
    return f"{path}.{option}={value}"


def model(argv: list[str]) -> list[str]:
    """The same on the tiny model, in one step."""
    return [*argv, "--model", f"{MODELS}/{SD}", "--steps", "1", "--seed", "1"]


@st.composite
def sets(draw: st.DrawFn) -> Case:
    """``--set`` in the three commands that take it."""
    several: list[str] = []
    for setting in draw(st.lists(settings(), min_size=1, max_size=3)):
        several += ["--set", setting]
    stage = draw(st.sampled_from(("scheduler", "spacing", "guidance", "attention")))
    names = [name for name, _ in plugins(stage)]
    flags = [f"--{stage}", draw(st.sampled_from(names) | arguments)] if draw(st.booleans()) else []
    command = draw(st.sampled_from(["explain", "explain", "generate", "check"]))
    if command == "check":
        steps: list[list[Any]] = [["text", "r.toml", f'model = "{MODELS}/{SD}"\n']]
        return Case("set", steps, ["recipe", "check", "r.toml", *several])
    if command == "explain":
        argv = ["explain", "--model", f"{MODELS}/{SD}", *several, *flags]
        return Case("set", [], argv)
    return Case("set", [], model(["generate", "a red star", *several, *flags]))


@st.composite
def prompts(draw: st.DrawFn) -> Case:
    """Prompts, and inputs given by name."""
    argv = ["generate"]
    argv += [argument_of(draw(arguments)) for _ in range(draw(st.integers(0, 2)))]
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(inputs()) | arguments)
        value = argument_of(draw(arguments | values.map(toml_of) | numbers.map(str)))
        form = draw(st.sampled_from(["input", "flag", "flag=", "negative"]))
        if form == "input":
            argv += ["--input", f"{name}={value}"]
        elif form == "flag":
            argv += [f"--{name.replace('_', '-')}", value]
        elif form == "flag=":
            argv += [f"--{name.replace('_', '-')}={value}"]
        else:
            argv += ["--negative-prompt", value]
    argv = model(argv)
    for option in ("--guidance-scale", "--num-images", "--batch-size", "--size"):
        if not draw(st.integers(0, 7)):
            small = st.integers(-1, 3) if option in ("--num-images", "--batch-size") else numbers
            argv += [option, argument_of(str(draw(small)))]
    if draw(st.booleans()):
        argv.insert(draw(st.integers(1, len(argv))), "--json")
    if not draw(st.integers(0, 2)):
        argv += ["--set", "conditioning=['weighted_prompt']"]
    return Case("prompt", [["picture", "a.png", {}]], argv)
