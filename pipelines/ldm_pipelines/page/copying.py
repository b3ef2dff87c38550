"""What is asked for on the page as a command, a recipe and Python, that make the same."""

from __future__ import annotations

import shlex
from pprint import pformat
from typing import Any

from ldm_core.composition.recipe import LISTS, STAGES, Layer
from ldm_core.composition.toml_text import as_toml
from ldm_core.contracts import Input
from ldm_pipelines.page.fields import TEXT
from ldm_pipelines.page.filled import Asked
from ldm_pipelines.page.making import BATCH

FLAGS = {
    "model": "--model",
    "num_inference_steps": "--steps",
    "device": "--device",
    "dtype": "--dtype",
    "compute_dtype": "--compute-dtype",
    "memory": "--memory",
}
NAMED = ("scheduler", "spacing", "guidance", "attention")
"""Hook points that have a flag of their own."""


def as_command(asked: Asked, declared: dict[str, Input]) -> str:
    """``ldm generate`` as a line for a shell.

    Args:
        declared: the inputs of the model.
    """
    words = ["ldm", "generate"]
    for key, value in asked.layer.items():
        words += _words_of(key, value)
    for name, value in asked.inputs.items():
        if name == "prompt" and value.strip():
            continue
        text = name in declared and declared[name].type in TEXT
        flag, said = f"--{name.replace('_', '-')}", value if text else _toml(value)
        if name == "prompt":
            words += ["--input", "prompt=" + _toml(value)]
        else:
            words.append(f"{flag}={said}")
    for axis, length in asked.axes.items():
        words.append(f"--{axis}={length}")
    if asked.seed is not None:
        words.append(f"--seed={asked.seed}")
    if asked.count != 1:
        words.append(f"--num-images={asked.count}")
    if asked.format:
        words.append(f"--format={asked.format}")
    prompt = str(asked.inputs.get("prompt", ""))
    if prompt.strip():
        words += ["--", prompt] if prompt.startswith("-") else [prompt]
    return shlex.join(words)


def as_recipe(asked: Asked) -> str:
    """A recipe file; what belongs to a call stands above it."""
    call = {"seed": asked.seed, **asked.axes, **asked.inputs}
    call |= {"num_images": None if asked.count == 1 else asked.count, "format": asked.format}
    said = [f"{name}: {_toml(value)}" for name, value in call.items() if value is not None]
    return as_toml(asked.layer, said)


def as_python(asked: Asked) -> str:
    """A program that makes the pictures and saves them with their manifests."""
    layer = {key: value for key, value in asked.layer.items() if key != "model"}
    words = ", ".join([repr(asked.layer["model"]), *_keywords(layer)])
    call = ", ".join(_keywords({**asked.call, "batch_size": BATCH}))
    how = f", format={asked.format!r}" if asked.format else ""
    return (
        "from ldm_core import Pipeline\n\n"
        f"pipe = Pipeline.from_pretrained({words})\n"
        f"for output in pipe.batches({call}):\n"
        f'    print(*output.save("pictures"{how}), sep="\\n")\n'
    )


def _words_of(key: str, value: Any) -> list[str]:
    """The words of a command for a key of a recipe."""
    if key in FLAGS:
        return [f"{FLAGS[key]}={value}"]
    if key == "fast":
        return ["--faster" if value == "lossy" else "--fast"]
    if key == "tf32":
        return ["--tf32"] if value else []
    if key == "loras":
        if all({*entry} == {"path", "scale"} for entry in value):
            return [f"--lora={entry['path']}:{entry['scale']}" for entry in value]
        return ["--set", f"{key}={_toml(value)}"]
    if key in STAGES:
        name, options = value.get("name"), {k: v for k, v in value.items() if k != "name"}
        if name is not None and key not in NAMED:
            return ["--set", f"{key}={_toml(value)}"]
        words = [] if name is None else [f"--{key}={name}"]
        for option, setting in options.items():
            words += ["--set", f"{key}.{option}={_toml(setting)}"]
        return words
    if key in LISTS:
        return ["--set", f"{key}={_toml([_alone(entry) for entry in value])}"]
    return ["--set", f"{key}={_toml(value)}"]


def _alone(entry: Layer) -> Any:
    return entry["name"] if [*entry] == ["name"] else entry


def _toml(value: Any) -> str:
    return as_toml({"value": value}).removeprefix("value = ").removesuffix("\n")


def _keywords(values: dict[str, Any]) -> list[str]:
    """Keyword arguments; a name that is none in Python does not come here."""
    return [
        f"{name}={pformat(value, width=10**6, sort_dicts=False)}" for name, value in values.items()
    ]
