"""Paths of inputs and outputs: links, pipes, devices, folders, names that are too long."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fuzz.case import HERE, MODELS, Case
from fuzz.kinds.values import argument_of, arguments
from fuzz.shelf import SD

INPUTS = [
    "a.png",
    f"{HERE}/a.png",
    "no.png",
    "folder",
    "link.png",
    "loop.png",
    "dangling.png",
    "pipe.png",
    "empty.png",
    "../here/a.png",
    "a.png/",
    "a.png/b.png",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
    "/proc/self/mem",
    "/proc/self/environ",
    ".",
    "",
    "~/no.png",
    "~no-such-person/a.png",
    "n" * 300 + ".png",
    "d/" * 2500 + "a.png",
    "caf\u00e9.png",
    "\udcff.png",
    "a b.png",
    "-a.png",
    "locked.png",
    "owner/name",
    "owner/name@main",
    "recipe.toml",
]
OUTPUTS = [
    "out",
    f"{HERE}/out",
    "a.png",
    "a.png/out",
    "folder",
    "loop.png",
    "dangling.png",
    "d/e/f",
    "n" * 300,
    "d/" * 2500,
    "\udcff",
    "pipe.png",
    ".",
    "",
    "link.png",
    "kept.png",
    "kept.gif",
    "out.png",
    "out.gif",
    "out.svg",
    "out.csv",
    "out.safetensors",
    "link out.png",
]
STEPS: list[list[Any]] = [
    ["picture", "a.png", {}],
    ["picture", "m.png", {"mode": "L"}],
    ["picture", "kept.png", {}],
    ["picture", "kept.gif", {"format": "GIF"}],
    ["picture", "caf\u00e9.png", {}],
    ["picture", "a b.png", {}],
    ["folder", "folder"],
    ["link", "link.png", "a.png"],
    ["link", "link out.png", "kept.png"],
    ["link", "loop.png", "loop.png"],
    ["link", "dangling.png", "nowhere/b.png"],
    ["pipe", "pipe.png"],
    ["text", "empty.png", ""],
    ["text", "recipe.toml", f'model = "{MODELS}/{SD}"\n'],
]
MODEL = ["--model", f"{MODELS}/{SD}", "--steps", "1", "--seed", "1"]


@st.composite
def paths(draw: st.DrawFn) -> Case:
    """A command with one or two odd paths."""
    source = draw(st.sampled_from(INPUTS) | arguments)
    target = draw(st.sampled_from(OUTPUTS) | arguments.map(lambda a: a.lstrip("/~.") or "out"))
    form = draw(st.sampled_from(sorted(FORMS)))
    if form in ("data", "features") and source in ("/", "..", "../../etc/passwd"):
        source = "."  # a whole machine's pictures can be asked for, and take long to look at
    argv = [argument_of(argument) for argument in FORMS[form](source, target)]
    return Case("path", STEPS, argv, codes=(0, 2, 3))


FORMS: dict[str, Any] = {
    "replay": lambda s, t: ["replay", s],
    "replay out": lambda s, t: [
        "replay",
        f"{MODELS}/made/{SD}.png",
        "--allow-files",
        "--out",
        t,
    ],
    "check": lambda s, t: ["recipe", "check", s],
    "recipe": lambda s, t: ["explain", "--recipe", s],
    "model": lambda s, t: ["explain", "--model", s],
    "config": lambda s, t: [
        "explain",
        "--model",
        f"{MODELS}/single/single.safetensors",
        "--model-config",
        s,
    ],
    "lora": lambda s, t: ["generate", "a", "--lora", s, *MODEL],
    "plot": lambda s, t: ["explain", *MODEL[:2], "--plot", t],
    "out": lambda s, t: ["generate", "a red star", *MODEL, "--out", t],
    "sheet": lambda s, t: ["generate", "a red star", *MODEL, "--sheet", t],
    "image": lambda s, t: ["image-to-image", s, "a red star", *MODEL],
    "mask": lambda s, t: ["inpaint", "a.png", "a red star", "--mask", s, *MODEL],
    "film": lambda s, t: [
        "interpolate",
        "a",
        "b",
        "--num-images",
        "2",
        "--film",
        t,
        *MODEL,
    ],
    "features": lambda s, t: ["features", s, *MODEL[:2], "--out", t],
    "features out": lambda s, t: ["features", f"{MODELS}/data", *MODEL[:2], "--out", t],
    "table": lambda s, t: ["augment", "--table", s, *MODEL[:4], "--out", "set"],
    "augment": lambda s, t: [
        "augment",
        "--classes",
        "3",
        "--model",
        f"{MODELS}/dit",
        "--steps",
        "1",
        "--out",
        t,
    ],
    "control": lambda s, t: [
        "generate",
        "a",
        *MODEL,
        "--set",
        f'conditioning=["text", {{name="control", models=["{s}"]}}]',
        "--control-image",
        "a.png",
    ],
    "data": lambda s, t: [
        "train",
        "autoencoder",
        "--data",
        s,
        "--out",
        "run",
        "--steps",
        "1",
        "--batch-size",
        "1",
    ],
    "autoencoder": lambda s, t: [
        "train",
        "denoiser",
        "--data",
        f"{MODELS}/data",
        "--autoencoder",
        s,
        "--out",
        "run",
        "--steps",
        "1",
    ],
}
