"""Calls of the Python API with values that are nearly or not at all right."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fuzz.case import MODELS, Case
from fuzz.kinds.names import choices
from fuzz.kinds.values import numbers, values
from fuzz.shelf import SD

DTYPES = ["float32", "float64", "float16", "uint8", "int64", "bool", "complex64"]
FILLS = [0.5, 0.0, 1.0, 2.0, -1.0, 255, float("nan"), float("inf")]
ARRAYS = [[3, 16, 16], [1, 3, 16, 16], [16, 16, 3], [16, 16], [1, 4, 8, 8], [0], [], [2, 3, 15, 17]]
arrays = st.fixed_dictionaries(
    {
        "$": st.sampled_from(["array", "tensor"]),
        "shape": st.sampled_from(ARRAYS),
        "dtype": st.sampled_from(DTYPES),
        "fill": st.sampled_from(FILLS),
    }
)
typed_numbers = st.fixed_dictionaries(
    {
        "$": st.just("number"),
        "dtype": st.sampled_from(["int64", "int32", "uint8", "float32", "float64", "bool"]),
        "value": st.integers(0, 3),
    }
)
plain = st.sampled_from(
    [
        {"$": name}
        for name in (
            "function",
            "function of two",
            "object",
            "type",
            "bytes",
            "set",
            "complex",
            "decimal",
            "fraction",
            "range",
            "generator",
        )
    ]
    + [
        {"$": "picture", "size": [16, 16]},
        {"$": "picture", "size": [15, 1], "mode": "F"},
        {"$": "path", "of": "a.png"},
        {"$": "tuple", "of": ["a red star", "a blue star"]},
        {"$": "dtype", "of": "float16"},
        {"$": "device", "of": "cpu"},
        {"$": "device", "of": "meta"},
    ]
)
things = arrays | typed_numbers | plain | values | numbers | st.none()
small = (
    st.sampled_from([1, 2, 0, -1]) | plain | typed_numbers | values.filter(lambda v: not _large(v))
)
RUN = {
    "seed": things,
    "num_inference_steps": small,
    "guidance_scale": things,
    "num_images_per_prompt": small,
    "batch_size": small,
    "output_type": st.sampled_from(["pil", "np", "pt", "latent", "PIL"]) | things,
    "width": st.sampled_from([16, 32, 15, 0, -16]) | small,
    "height": st.sampled_from([16, 32, 15, 0, -16]) | small,
    "on_step": things,
    "on_batch": things,
    "negative_prompt": things,
    "strength": things,
    "image": things,
    "class_label": things,
}
"""Keyword arguments of a call; of counts no number is drawn that is right and takes long."""
REPLACED = ("scheduler", "spacing", "guidance", "attention", "encoder", "decoder")
MORE = ("conditioning", "denoisers", "observers", "converters", "loras", "device", "dtype", "x")


def _large(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 70 < value < 10**6


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    model = draw(st.sampled_from([SD, SD, "dit"]))
    names = draw(st.lists(st.sampled_from(sorted(RUN)), max_size=2, unique=True))
    options = {name: draw(RUN[name]) for name in names}
    options.setdefault("num_inference_steps", 1)
    options.setdefault("seed", 1)
    arguments = (
        [draw(things) if not draw(st.integers(0, 3)) else "a red star"] if model == SD else []
    )
    if model == "dit":
        options.setdefault("class_label", 3)
    name = draw(st.sampled_from(["call", "call", "batches", "stream"]))
    return {"name": name, "model": model, "arguments": arguments, "options": options}


@st.composite
def replaced(draw: st.DrawFn) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from((*REPLACED, *MORE)), min_size=1, max_size=2)):
        kind = key if key in REPLACED else "scheduler"
        options[key] = draw(choices(kind) | things)
    return {"name": "replace", "model": SD, "options": options}


@st.composite
def others(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(
        st.sampled_from(["encode", "decode", "medium", "noise", "from_pretrained", "chain"])
    )
    if name == "from_pretrained":
        key = draw(
            st.sampled_from(["model", "recipe", "device", "dtype", "scheduler", "width", "x"])
        )
        options = {key: draw(things)}
        if key != "model":
            options["model"] = f"{MODELS}/{SD}"
        return {"name": name, "options": options}
    count = 1 if name in ("decode", "medium") else draw(st.integers(1, 2))
    return {"name": name, "model": SD, "arguments": [draw(things) for _ in range(count)]}


@st.composite
def functions(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(
        st.sampled_from(
            ["image_to_image", "inpaint", "outpaint", "blend", "invert", "restore", "upscale",
             "interpolate", "text_to_image", "features", "unconditional"]
        )
    )  # fmt: skip
    taken = {
        "inpaint": ("mask", "mask_box", "strength", "paste"),
        "outpaint": ("left", "right", "strength", "paste"),
        "blend": ("weight", "mask", "strength"),
        "invert": ("edit", "strength", "iterations"),
        "restore": ("noise", "strength"),
        "upscale": ("factor", "by", "strength"),
        "interpolate": ("seeds", "images", "num_images"),
        "image_to_image": ("strength",),
        "features": ("out", "batch_size", "seed"),
    }.get(name, ("seed",))
    picture = {"$": "picture", "size": [16, 16]}
    first = draw(things) if not draw(st.integers(0, 2)) else picture
    arguments: list[Any] = [first]
    if name == "blend":
        arguments.append(draw(things) if not draw(st.integers(0, 2)) else picture)
    options = {key: draw(small) for key in draw(st.lists(st.sampled_from(taken), max_size=2))}
    if name != "features":
        options["num_inference_steps"] = 1
    return {"name": name, "model": SD, "arguments": arguments, "options": options}


def strategy() -> st.SearchStrategy[Case]:
    return st.one_of(runs(), runs(), replaced(), replaced(), others(), functions()).map(
        lambda table: Case("python", [["picture", "a.png", {}]], call=table)
    )
