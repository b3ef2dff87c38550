"""Pictures of every format, mode and size as the inputs of commands, whole and damaged."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fuzz.case import MODELS, Case
from fuzz.kinds.values import numbers
from fuzz.shelf import SD

MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
    "GIF": ["L", "P", "RGB"],
    "TIFF": ["1", "L", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LAB", "YCbCr"],
    "BMP": ["1", "L", "RGB", "RGBA"],
    "PPM": ["1", "L", "RGB", "I;16"],
    "TGA": ["L", "RGB", "RGBA"],
    "ICO": ["RGB", "RGBA"],
    "EPS": ["L", "RGB"],
    "PDF": ["RGB"],
    "PCX": ["L", "RGB"],
    "SGI": ["L", "RGB"],
    "DDS": ["RGB", "RGBA"],
    "ICNS": ["RGBA"],
    "JPEG2000": ["L", "RGB"],
}
SUFFIXES = [
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".gif",
    ".tif",
    ".tiff",
    ".bmp",
    ".eps",
    ".pdf",
    "",
    ".PNG",
]
SIZES = [(16, 16), (16, 16), (8, 8), (1, 1), (17, 15), (32, 24), (1, 60), (200, 1)]
MODEL = ["--model", f"{MODELS}/{SD}", "--steps", "1", "--seed", "1"]


@st.composite
def drawn(draw: st.DrawFn) -> dict[str, Any]:
    """A picture."""
    form = draw(st.sampled_from(sorted(MODES)))
    table: dict[str, Any] = {
        "format": form,
        "mode": draw(st.sampled_from(MODES[form])),
        "size": list(draw(st.sampled_from(SIZES))),
    }
    if form in ("ICNS", "ICO"):
        table["size"] = [16, 16]
    if form == "JPEG" and draw(st.booleans()):
        table["orientation"] = draw(st.integers(0, 9))
    if form in ("GIF", "TIFF") and not draw(st.integers(0, 3)):
        table["frames"] = 3
    return table


@st.composite
def pictures(draw: st.DrawFn) -> Case:
    """A command that reads one or two pictures."""
    table = draw(drawn())
    own = {"JPEG": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2"}
    suffix = own.get(table["format"], f".{table['format'].lower()}")
    name = "p" + draw(st.sampled_from([suffix, suffix, suffix, *SUFFIXES]))
    steps: list[list[Any]] = [
        ["picture", name, table],
        ["picture", "a.png", {}],
        ["picture", "m.png", {"mode": "L"}],
    ]
    if not draw(st.integers(0, 2)):
        spots = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)).map(list), max_size=4)
        keep = draw(st.sampled_from([1.0, 1.0, 0.95, 0.5, 0.1, 0.0]))
        steps.append(["damage", name, draw(spots), keep])
    form = draw(st.sampled_from(sorted(FORMS)))
    argv = FORMS[form](name)
    if form == "features":
        steps.insert(0, ["folder", "d"])
        steps = [[s[0], f"d/{name}", *s[2:]] if s[1] == name else s for s in steps]
    if not draw(st.integers(0, 2)) and form not in ("features", "replay"):
        argv += (
            ["--strength", str(draw(numbers))]
            if form != "blend"
            else ["--weight", str(draw(numbers))]
        )
    if not draw(st.integers(0, 3)) and form != "replay":
        argv += ["--size", "16x16"]
    return Case("picture", steps, argv)


FORMS: dict[str, Any] = {
    "image-to-image": lambda p: ["image-to-image", p, "a red star", *MODEL],
    "inpaint": lambda p: ["inpaint", p, "a red star", "--mask", "m.png", *MODEL],
    "mask": lambda p: ["inpaint", "a.png", "a red star", "--mask", p, *MODEL],
    "outpaint": lambda p: ["outpaint", p, "a red star", "--left", "8", *MODEL],
    "blend": lambda p: ["blend", "a.png", p, *MODEL],
    "invert": lambda p: ["invert", p, "a red star", *MODEL],
    "restore": lambda p: ["restore", p, "a red star", *MODEL],
    "upscale": lambda p: ["upscale", p, "a red star", *MODEL],
    "interpolate": lambda p: [
        "interpolate",
        "--images",
        "a.png",
        "--images",
        p,
        "--num-images",
        "2",
        *MODEL,
    ],
    "control": lambda p: [
        "generate",
        "a",
        *MODEL,
        "--set",
        f'conditioning=["text", {{name="control", models=["{MODELS}/controlnet"]}}]',
        "--control-image",
        p,
    ],
    "features": lambda p: ["features", "d", *MODEL[:2], "--out", "f.safetensors"],
    "replay": lambda p: ["replay", p],
}
