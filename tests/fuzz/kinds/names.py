"""The names that a recipe can say, read from what is installed so that a new plugin is fuzzed too."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from fuzz.kinds.values import numbers, values, words

STAGES = ("scheduler", "spacing", "guidance", "attention", "encoder", "decoder")
LISTS = ("conditioning", "denoisers", "observers", "converters")
KIND_OF = {"denoisers": "denoiser", "observers": "observer", "converters": "converter"}
PLACES = ("device", "dtype", "compute_dtype")
SIZES = ("num_inference_steps", "width", "height")


@functools.cache
def plugins(kind: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each plugin of a kind with the names of its options, as the command line lists them."""
    from ldm_core.plugins.registry import installed

    return tuple(
        (plugin.name, tuple(plugin.options)) for plugin in installed().of_kind(kind)
    )


@st.composite
def choices(draw: st.DrawFn, kind: str) -> Any:
    """The value of a hook point: right, nearly right, or anything."""
    form = draw(st.sampled_from(["name", "table", "table", "odd"]))
    if form == "odd":
        return draw(values)
    name, options = draw(st.sampled_from(plugins(kind)))
    if form == "name":
        return draw(st.sampled_from([name, name, f"ldm-core:{name}", name[:-1], name.upper()]))
    table: dict[str, Any] = {"name": name} if draw(st.integers(0, 9)) else {}
    for option in draw(st.lists(st.sampled_from(options), max_size=2, unique=True)) if options else []:
        table[option] = draw(option_values(option))
    if not draw(st.integers(0, 9)):
        table[draw(words)] = draw(values)
    return table


def option_values(name: str) -> st.SearchStrategy[Any]:
    """Of an option: numbers mostly, names of plugins where it takes one, or anything."""
    if name in ("first", "second", "inner", "scheduler", "then", "around"):
        return st.sampled_from([n for n, _ in plugins("scheduler")]) | values
    return numbers | values


def inputs() -> Sequence[str]:
    """Names of inputs that conditionings declare, and of the run's own arguments."""
    return (
        "prompt",
        "negative_prompt",
        "class_label",
        "image",
        "mask",
        "strength",
        "control_image",
        "control_scale",
        "regions",
        "batch_size",
        "on_batch",
        "on_step",
        "output_type",
        "seed",
        "width",
        "height",
        "num_inference_steps",
        "guidance_scale",
        "num_images_per_prompt",
        "self",
        "pipe",
        "call",
        "__class__",
    )
