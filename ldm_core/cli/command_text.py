"""The command that makes a picture again, as text for a shell.

It names every choice that is not what the same command would choose by itself, so that it is as
short as it can be; where the model may not be read, or is not there, it names all of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ldm_core.cli.choices import FLAGS
from ldm_core.composition.compose import compose
from ldm_core.composition.full_recipe import recipe_in_full
from ldm_core.composition.reach import Reach
from ldm_core.composition.recipe import LISTS, STAGES, Layer
from ldm_core.composition.spread import is_one_each
from ldm_core.composition.toml_text import written_value
from ldm_core.contracts.files import in_full
from ldm_core.errors import LdmError, PluginError
from ldm_core.media.manifest_record import Command
from ldm_core.plugins.registry import Registry, installed

NAMED = {
    "model": "--model",
    "model_config": "--model-config",
    "num_inference_steps": "--steps",
    "dtype": "--dtype",
    "compute_dtype": "--compute-dtype",
    "scheduler": "--scheduler",
    "spacing": "--spacing",
    "guidance": "--guidance",
    "attention": "--attention",
}
"""Keys of a recipe that have a flag of their own."""
CALLED = {
    "num_inference_steps": "--steps",
    "num_images_per_prompt": "--num-images",
    "num_images": "--num-images",
}
"""Options of a call that have a flag of another name."""


def command_text(
    layer: Layer,
    inputs: Mapping[str, Any],
    seed: int | None,
    size: Mapping[str, int],
    frame_rate: float | None = None,
    command: Command | None = None,
    folder: Path | None = None,
) -> str:
    """The command.

    Args:
        layer: the recipe.
        inputs: of one picture.
        command: of a ready-made pipeline that made it.
        folder: the picture's own; files elsewhere are not read to make the command shorter.
    """
    words = ["ldm"]
    prompt = inputs.get("prompt") if command is None else None
    if command is None:
        words += ["generate", *_prompt(prompt)]
        words += list(_inputs(inputs, prompt))
    else:
        words += _call(command, installed())
        layer = {k: v for k, v in layer.items() if k not in CALLED or k not in command.options}
    short = shortened(layer, installed(), folder)
    words += list(_recipe(short))
    if command is None:
        words += [] if seed is None else ["--seed", str(seed)]
        words += list(_size(size))
        words += [] if frame_rate is None else ["--frame-rate", repr(frame_rate)]
    return shlex.join(words)


def _prompt(prompt: Any) -> list[str]:
    """A prompt as an argument, where it can be one."""
    plain = isinstance(prompt, str) and prompt.strip() and not prompt.startswith("-")
    return [prompt] if plain else []


def _inputs(inputs: Mapping[str, Any], prompt: Any) -> Iterator[str]:
    for name, value in inputs.items():
        if value is None or (name == "prompt" and _prompt(prompt)):
            continue
        if name == "negative_prompt" and isinstance(value, str):
            yield f"--negative-prompt={value}"
        else:
            one = [value] if is_one_each(value) else value  # a list is one for each picture
            yield f"--input={name}={written_value(one)}"


def _size(size: Mapping[str, int]) -> Iterator[str]:
    if {"width", "height"} <= {*size}:
        yield from ("--size", f"{size['width']}x{size['height']}")
    for name, length in size.items():
        if name not in ("width", "height") or not {"width", "height"} <= {*size}:
            yield from (f"--{name.replace('_', '-')}", str(length))


def _call(command: Command, registry: Registry) -> list[str]:
    """A ready-made pipeline's name, arguments and options."""
    plugin = registry.find("command", command.name)
    words = plugin.name.split()
    words += [_argument(value) for value in command.arguments if value is not None]
    options = dict(command.options)
    if {"width", "height"} <= {*options}:
        words += ["--size", f"{options.pop('width')}x{options.pop('height')}"]
    own = plugin.options
    for name, value in options.items():
        flag = CALLED.get(name, FLAGS.get(name, f"--{name.replace('_', '-')}"))
        if value is None:
            continue
        if name not in own and name not in (*CALLED, "seed", "guidance_scale", "frame_rate"):
            words += list(_inputs({name: value}, None))
        elif isinstance(value, bool):
            words += (
                [flag]
                if value
                else [f"--no-{flag.removeprefix('--')}"]
                if own[name].default
                else []
            )
        else:
            several = value if isinstance(value, list) else [value]
            words += [f"{flag}={_argument(entry)}" for entry in several]
    return words


def _argument(value: Any) -> str:
    return value if isinstance(value, str) else written_value(value)


def _recipe(layer: Layer) -> Iterator[str]:
    for key, value in layer.items():
        if key in ("width", "height", "extent"):
            continue
        if key in STAGES and [*value] == ["name"]:
            yield from (
                (NAMED.get(key, f"--set={key}"), str(value["name"]))
                if key in NAMED
                else (f"--set={key}={value['name']}",)
            )
        elif key in ("scheduler", "spacing", "guidance") and "name" in value:
            yield from (NAMED[key], str(value["name"]))
            for option, of in value.items():
                if option != "name" and of is not None:  # as a recipe leaves it out
                    yield f"--set={key}.{option}={written_value(of)}"
        elif key in NAMED and isinstance(value, str | int):
            yield from (NAMED[key], str(value))
        else:
            yield f"--set={key}={written_value(value)}"


def shortened(layer: Layer, registry: Registry, folder: Path | None) -> Layer:
    """A recipe without what it would be anyway, on the model that it names; as it is where that
    cannot be seen without asking."""
    reach = Reach(registry)
    try:
        reach.recipe(layer)
        if reach.hub or reach.missing or folder is None or reach.outside(folder):
            return _with_short_names(layer, registry)
        if reach.own_recipes():
            return _with_short_names(layer, registry)
        whole = recipe_in_full(compose(layer, registry))
        for key in [*LISTS, "loras", "attention", "encoder", "decoder", "guidance", "spacing",
                    "scheduler", "num_inference_steps"]:  # fmt: skip
            for less in _less(layer, key):
                if _means(less, whole, registry):
                    layer = less
                    break
    except (LdmError, PluginError, OSError):
        pass
    return _with_short_names(layer, registry)


def _less(layer: Layer, key: str) -> Iterator[Layer]:
    """The recipe with less under a key: the least first."""
    if key not in layer:
        return
    yield {name: value for name, value in layer.items() if name != key}
    choice = layer[key]
    if isinstance(choice, Mapping) and len(choice) > 1:
        yield {**layer, key: {"name": choice["name"]}}
        for option in choice:
            if option != "name":
                yield {**layer, key: {"name": choice["name"], option: choice[option]}}


def _means(layer: Layer, whole: Layer, registry: Registry) -> bool:
    try:
        return recipe_in_full(compose(layer, registry)) == whole
    except LdmError:
        return False


def _with_short_names(layer: Layer, registry: Registry) -> Layer:
    """Plugins and models by their short names, where those are clear."""
    short = dict(layer)
    for key in STAGES:
        name = layer.get(key, {}).get("name")
        if isinstance(name, str):
            label = name.rpartition(":")[2]
            same = registry.named(label, key)
            if [plugin.id for plugin in same] == [name]:
                short[key] = {**layer[key], "name": label}
    model = layer.get("model")
    if isinstance(model, str):
        label = model.rpartition(":")[2]
        if [m.id for m in registry.models if m.name == label] == [model]:
            short["model"] = label
        elif Path(model).exists():
            short["model"] = in_full(model)
    return short
