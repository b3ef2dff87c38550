"""Pictures of a stranger, as the inputs of commands."""

from __future__ import annotations

from typing import Any

from fuzz.case import MODELS, Case
from fuzz.hostile import blobs
from fuzz.shelf import SD

MODEL = ["--model", f"{MODELS}/{SD}", "--steps", "1", "--seed", "1"]
WHOLE: list[list[Any]] = [["picture", "a.png", {}], ["picture", "m.png", {"mode": "L"}]]


def _read(note: str, *steps: list[Any], name: str = "p.png") -> Case:
    argv = ["image-to-image", name, "a red star", *MODEL]
    return Case("hostile", [*WHOLE, *steps], argv, codes=(2,), note=note)


def _blob(note: str, data: bytes, name: str = "p.png") -> Case:
    return _read(note, blobs.step(name, data), name=name)


def _elsewhere(note: str, argv: list[str], *steps: list[Any]) -> Case:
    eps = blobs.step("p.png", blobs.EPS)
    return Case("hostile", [*WHOLE, eps, *steps], argv, codes=(2,), note=note)


CONTROL = f'conditioning=["text", {{name="control", models=["{MODELS}/controlnet"]}}]'
IMAGE_PROMPT = (
    f'conditioning=["text", {{name="image_prompt", path="{MODELS}/ip-adapter.safetensors", '
    f'image_encoder="{MODELS}/image-encoder"}}]'
)
REFUSED = [
    _blob("EPS by another name", blobs.EPS),
    _blob("EPS by its name", blobs.EPS, "p.eps"),
    _blob("PDF by another name", blobs.PDF),
    _blob("SVG by another name", blobs.SVG),
    _blob("WMF by another name", blobs.WMF),
    _blob("PSD by another name", blobs.PSD),
    _blob("FITS by another name", blobs.FITS),
    _blob("HDF5 by another name", blobs.HDF5),
    _blob("FLI by another name", blobs.FLI),
    _read("PCX by another name", ["picture", "p.png", {"format": "PCX"}]),
    _read("ICO by another name", ["picture", "p.png", {"format": "ICO"}]),
    _read("TGA by another name", ["picture", "p.jpg", {"format": "TGA"}], name="p.jpg"),
    _blob("PNG of a billion pixels", blobs.png(40_000, 40_000)),
    _blob("PNG of no pixels", blobs.png(0, 0)),
    _blob("PNG whose pixels are not there", blobs.png(16, 16, pixels=b"")),
    _blob("JPEG of four billion pixels", blobs.jpeg(65_500, 65_500), "p.jpg"),
    _blob("GIF of four billion pixels", blobs.gif(65_535, 65_535), "p.gif"),
    _blob("BMP of a size past every limit", blobs.bmp(2**31 - 1, 2**31 - 1), "p.bmp"),
    _blob("TIFF of a size past every limit", blobs.tiff(2**31, 2**31), "p.tif"),
    _blob("pickle by another name", blobs.PICKLE),
    _read("pipe that nobody writes", ["pipe", "p.png"]),
    _read("link to a device without end", ["link", "p.png", "/dev/zero"]),
    _read("device without end", name="/dev/zero"),
    _read("link to itself", ["link", "p.png", "p.png"]),
    _read("folder", ["folder", "p.png"]),
    _read("process's own memory", name="/proc/self/mem"),
    _elsewhere("EPS as a mask", ["inpaint", "a.png", "a", "--mask", "p.png", *MODEL]),
    _elsewhere("EPS as the second picture", ["blend", "a.png", "p.png", *MODEL]),
    _elsewhere("EPS as a stop", ["interpolate", "--images", "a.png", "--images", "p.png", *MODEL]),
    _elsewhere(
        "EPS as a control image",
        ["generate", "a", *MODEL, "--set", CONTROL, "--control-image", "p.png"],
    ),
    _elsewhere(
        "EPS as an image prompt",
        ["generate", "a", *MODEL, "--set", IMAGE_PROMPT, "--prompt-image", "p.png"],
    ),
    _elsewhere("EPS to replay", ["replay", "p.png"]),
    _elsewhere(
        "EPS among the pictures to encode",
        ["features", "d", *MODEL[:2], "--out", "f.safetensors"],
        blobs.step("d/p.png", blobs.EPS),
    ),
    _elsewhere(
        "EPS among the pictures to train on",
        ["train", "autoencoder", "--data", "d", "--out", "run", "--steps", "1"],
        blobs.step("d/p.png", blobs.EPS),
        blobs.step("d/q.png", blobs.EPS),
    ),
]
LONG = 300 * 2**20
HARMLESS = [
    Case(
        "hostile",
        [*WHOLE, blobs.step("p.png", data)],
        ["image-to-image", "p.png", "a", *MODEL],
        note=note,
    )
    for note, data in {
        "zTXt that unfolds": blobs.png(16, 16, blobs.ztxt(b"x", blobs.zeros(LONG))),
        "iTXt that unfolds": blobs.png(16, 16, blobs.itxt(b"ldm", blobs.zeros(LONG))),
        "an ICC profile that unfolds": blobs.png(
            16, 16, blobs.chunk(b"iCCP", b"x\0\0" + blobs.zeros(LONG))
        ),
        "EXIF that unfolds": blobs.png(
            16, 16, blobs.ztxt(b"Raw profile type exif", blobs.zeros(LONG, b"0"))
        ),
        "frames without end": blobs.png(
            16, 16, blobs.chunk(b"acTL", (2**31 - 1).to_bytes(4, "big") + bytes(4))
        ),
        "very many chunks": blobs.png(16, 16, *[blobs.ztxt(b"x", blobs.zeros(9))] * 20_000),
    }.items()
]
"""What may be drawn from, or refused, as long as it costs nothing."""
