"""Outputs where someone has laid a trap."""

from __future__ import annotations

from typing import Any

from fuzz.case import MODELS, Case
from fuzz.shelf import SD

MODEL = ["--model", f"{MODELS}/{SD}", "--steps", "1", "--seed", "1"]
VICTIM: list[list[Any]] = [
    ["picture", "kept.png", {}],
    ["picture", "kept.gif", {"format": "GIF"}],
    ["text", "kept.svg", "<svg/>"],
    ["text", "kept.txt", "kept"],
    ["copy", "kept.safetensors", "lora.safetensors"],
    ["link", "link.png", "kept.txt"],
    ["link", "link.gif", "kept.txt"],
    ["link", "link.svg", "kept.txt"],
    ["link", "link.safetensors", "kept.txt"],
    ["text", "full/kept.txt", "kept"],
    ["link", "link", "full"],
]
NAMES = ("kept", "link")


def _into(note: str, *argv: str) -> Case:
    return Case("hostile", VICTIM, list(argv), codes=(2,), note=note)


REFUSED = [
    case
    for name in NAMES
    for case in (
        _into(f"a sheet over {name}", "generate", "a red star", *MODEL, "--sheet", f"{name}.png"),
        _into(
            f"a film over {name}",
            "interpolate",
            "a",
            "b",
            "--num-images",
            "2",
            *MODEL,
            "--film",
            f"{name}.gif",
        ),
        _into(f"a plot over {name}", "explain", *MODEL[:2], "--plot", f"{name}.svg"),
        _into(
            f"features over {name}",
            "features",
            f"{MODELS}/data",
            *MODEL[:2],
            "--out",
            f"{name}.safetensors",
        ),
    )
] + [
    _into(
        "a data set into a folder that is full",
        "augment",
        "--classes",
        "3",
        "--model",
        f"{MODELS}/dit",
        "--steps",
        "1",
        "--out",
        "full",
    ),
    _into("pictures into a file", "generate", "a red star", *MODEL, "--out", "kept.txt"),
]
STEM = "a-red-star-seed1"
HARMLESS = [
    Case(
        "hostile",
        [*VICTIM, ["link", f"pictures/{name}", "../kept.txt"]],
        ["generate", "a red star", *MODEL],
        codes=(0, 2),
        note=f"a link at {name}",
    )
    for name in (f".{STEM}.png.part", f"{STEM}.png", f"{STEM}-2.png", f"{STEM}.png.json", ".part")
]
"""Names that a run might take for a while, laid out as links to what it must not touch."""
