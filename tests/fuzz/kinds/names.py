"""The names that a recipe can say, read from what is installed: a new plugin is fuzzed too."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from hypothesis import strategies as st

from fuzz.kinds.values import numbers, seldom, values, words

STAGES = ("scheduler", "spacing", "guidance", "attention", "encoder", "decoder")
LISTS = ("conditioning", "denoisers", "observers", "converters")
KIND_OF = {"denoisers": "denoiser", "observers": "observer", "converters": "converter"}
PLACES = ("device", "dtype", "compute_dtype")
SIZES = ("num_inference_steps", "width", "height")
INPUTS = (
    "prompt",
    "negative_prompt",
    "class_label",
    "image",
    "mask",
    "strength",
    "control_image",
    "control_scale",
    "regions",
    "upsampled_prompt",
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
"""Names of inputs that conditionings declare, and of the run's own arguments."""


COMPILING = {"compile", "cuda_graph", "flex", "whole_loop"}
"""Plugins that write a program and start a compiler, which is what they are asked for, and takes
longer than a case may."""


@functools.cache
def plugins(kind: str) -> Mapping[str, Mapping[str, Any]]:
    """Each plugin of a kind with its options, as the command line lists them."""
    from ldm_core.plugins.registry import installed

    offered = [plugin for plugin in installed().of_kind(kind) if plugin.name not in COMPILING]
    return {plugin.name: plugin.options for plugin in offered}


def option_values(option: Any) -> st.SearchStrategy[Any]:
    """Right values of an option by its type and default."""
    kinds = [k for k in get_args(option.annotation) if k is not NoneType] or [option.annotation]
    if get_origin(option.annotation) is Literal or get_origin(kinds[0]) is Literal:
        return st.sampled_from(get_args(kinds[0]) or get_args(option.annotation))
    if bool in kinds:
        return st.booleans()
    default = option.default
    near = [0, 1, 2, 0.5, 1.0]
    if isinstance(default, int | float) and not isinstance(default, bool):
        near += [default, default, default * 2, default / 2, default + 1, -default]
    if option.name in ("first", "second", "inner", "scheduler", "then", "around"):
        return st.sampled_from(sorted(plugins("scheduler")))
    return st.sampled_from(near)


@st.composite
def tables(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """A plugin with some of its options, one of which may be anything."""
    name = draw(st.sampled_from(sorted(plugins(kind))))
    options = plugins(kind)[name]
    table: dict[str, Any] = {"name": name}
    if options:
        for option in draw(st.lists(st.sampled_from(sorted(options)), max_size=2, unique=True)):
            table[option] = draw(option_values(options[option]))
            if draw(seldom(4)):
                table[option] = draw(numbers | values)
    return table


@st.composite
def choices(draw: st.DrawFn, kind: str) -> Any:
    """The value of a hook point: right mostly, nearly right, or anything."""
    if draw(seldom(8)):
        return draw(values)
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(plugins(kind))))
        if draw(seldom(6)):
            return draw(st.sampled_from([f"ldm-core:{name}", name[:-1], name.upper(), f"{name}:x"]))
        return name
    table = draw(tables(kind))
    if draw(seldom(8)):
        table[draw(words)] = draw(values)
    if draw(seldom(12)):
        del table["name"]
    return table
