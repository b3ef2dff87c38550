"""What a person gives the model on the command line: prompts and other inputs."""

from __future__ import annotations

import tomllib
from typing import Any

from ldm_core.composition.compose import Composition, is_one_each
from ldm_core.errors import LdmError


def gather_inputs(
    prompts: list[str] | None, negative_prompt: str | None, others: list[str] | None
) -> dict[str, Any]:
    """Every input that was given, by name.

    Raises:
        LdmError: an ``--input`` of another form than NAME=VALUE, or an input given twice.
    """
    inputs: dict[str, Any] = {}
    if prompts:
        inputs["prompt"] = prompts
    if negative_prompt is not None:
        inputs["negative_prompt"] = negative_prompt
    for other in others or []:
        name, equals, text = other.partition("=")
        name = name.strip()
        if not (name and equals):
            raise LdmError(f"'{other}' should look like NAME=VALUE.", "as in --input class_label=3")
        if name in inputs:
            raise LdmError(
                f"'{name}' is given twice.", f"a list is one an image: --input '{name}=[1, 2]'"
            )
        inputs[name] = parse_value(text)
    return inputs


def check_inputs(composition: Composition, inputs: dict[str, Any]) -> None:
    """Say in the command line's words what the model needs or does not take."""
    known, source = composition.inputs, composition.info.source
    if "prompt" in inputs and "prompt" not in known:
        reads = ", ".join(f"--input {name}=VALUE" for name in known) or "nothing but a seed"
        raise LdmError(f"the model '{source}' takes no prompt; it takes {reads}.")
    for name, default in known.items():
        if default is ... and name not in inputs:
            if name == "prompt":
                raise LdmError(
                    f"the model '{source}' draws from a prompt, and none is given.",
                    'as in ldm generate "a red circle"',
                )
            raise LdmError(f"the model '{source}' needs --input {name}=VALUE.")


def spread(inputs: dict[str, Any], each: int) -> tuple[dict[str, Any], int]:
    """Inputs with every entry of a list `each` times, and how many images that makes.

    Raises:
        LdmError: lists of different lengths, or an empty one.
    """
    lengths = {name: len(value) for name, value in inputs.items() if is_one_each(value)}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        told = ", ".join(f"{length} of '{name}'" for name, length in lengths.items())
        raise LdmError(f"the inputs should be as many of each as images: there are {told}.")
    many = {name: [v for v in inputs[name] for _ in range(each)] for name in lengths}
    return {**inputs, **many}, max(lengths.values(), default=1) * each


def parse_value(text: str) -> Any:
    """A value of the command line, read as TOML or else as text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
