"""Pictures with manifests that were changed, replayed."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fuzz.case import HERE, MODELS, Case
from fuzz.kinds.names import KIND_OF, LISTS, STAGES, choices, plugins
from fuzz.kinds.values import numbers, seldom, values, words
from fuzz.shelf import FAMILIES

MADE = (*(f"{family}.png" for family in FAMILIES), "lora.png", "frame.png", "inpainted.png")
TOP = (
    "format",
    "seed",
    "inputs",
    "width",
    "height",
    "extent",
    "num_inference_steps",
    "recipe",
    "model_revision",
    "model_sha256",
    "loras",
    "lossless",
    "converter_files",
    "plugins",
    "versions",
    "pixels_sha256",
    "command",
    "finish",
    "title",
    "chain",
)
COMMAND = ("name", "arguments", "options", "image")
OPTIONS = (
    "animation",
    "film",
    "out",
    "images",
    "mask",
    "seeds",
    "num_images",
    "batch_size",
    "prompt",
    "seed",
)


@st.composite
def edits(draw: st.DrawFn, called: bool) -> list[Any]:
    """One change: keys and a value, or keys alone.

    Args:
        called: whether the manifest has a command.
    """
    own = ["command", "options", "options"] if called or draw(seldom(10)) else []
    form = draw(st.sampled_from(["top", "recipe", "recipe", "inputs", *own]))
    form = "whole" if draw(seldom(12)) else form
    if form == "whole":
        return [
            [],
            draw(values | st.sampled_from(["{", "[]", "{}", "\x00", "9" * 5000, "[" * 100_000])),
        ]
    if form == "top":
        keys = [draw(st.sampled_from(TOP))]
    elif form == "recipe":
        stage = draw(st.sampled_from((*STAGES, *LISTS, "model", "loras", "num_inference_steps")))
        if stage in (*STAGES, *LISTS):
            return [["recipe", stage], draw(choices(KIND_OF.get(stage, stage)))]
        keys = ["recipe", stage]
    elif form == "inputs":
        keys = [
            "inputs",
            draw(st.sampled_from(["prompt", "class_label", "image", "on_batch"]) | words),
        ]
    elif form == "command":
        keys = ["command", draw(st.sampled_from(COMMAND))]
        if keys[1] == "name":
            names = sorted(plugins("command"))
            return [keys, draw(st.sampled_from(names).map("ldm-core:{}".format) | values)]
    else:
        name = draw(st.sampled_from(OPTIONS) | words)
        return [
            ["command", "options", name],
            draw(values | st.sampled_from([f"{HERE}/kept.gif", f"{HERE}/a.png", f"{HERE}/set"])),
        ]
    if draw(seldom(6)):
        return [keys]
    return [keys, draw(numbers if keys == ["num_inference_steps"] else values)]


@st.composite
def manifests(draw: st.DrawFn) -> Case:
    """A replay of a picture whose manifest says something else than it did."""
    name = draw(st.sampled_from((*MADE, "frame.png", "inpainted.png", "frame.png")))
    changes = draw(st.lists(edits(name in ("frame.png", "inpainted.png")), max_size=2))
    steps = [
        ["picture", "a.png", {}],
        ["picture", "m.png", {"mode": "L"}],
        ["picture", "kept.gif", {"format": "GIF"}],
        ["manifest", "p.png", name, changes],
    ]
    if draw(seldom(8)):
        spots = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)).map(list), max_size=3)
        keep = draw(st.sampled_from([1.0, 1.0, 0.99, 0.5, 0.1, 0.0]))
        steps.append(["damage", "p.png", draw(spots), keep])
    argv = ["replay", "p.png"]
    if not draw(seldom(6)):  # the model lies outside of the picture's folder
        argv.append("--allow-files")
    if draw(st.booleans()):
        argv += ["--out", "again"]
    if draw(seldom(6)):
        argv += ["--model", draw(st.sampled_from(FAMILIES).map(f"{MODELS}/{{}}".format))]
    if draw(seldom(6)):
        argv.append("--json")
    return Case("manifest", steps, argv)
