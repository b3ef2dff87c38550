"""Coverage-guided fuzzing of what reads bytes: PNG manifests, recipes and safetensors headers.

``python -m fuzz.readers png -runs=20000`` in ``tests``. Any exception that is no `LdmError` ends it
with the bytes that did it, which then go into ``corpus``. Needs the package atheris.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ldm_core", "tomllib"]):
    from ldm_core.composition.recipe import read_recipe
    from ldm_core.errors import LdmError
    from ldm_core.media.foreign_texts import recorded_in
    from ldm_core.media.picture_manifests import read_picture
    from ldm_core.media.png import read_png
    from ldm_core.model.safetensors_header import read_header
    from ldm_core.model.weight_files import check_weights

LONGEST = 65536
"""Bytes of an input."""


def _seed_png() -> list[bytes]:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    seeds = []
    for compressed in (False, True):
        info, stream = PngInfo(), io.BytesIO()
        info.add_itxt("ldm", '{"format": 1, "seed": 1}', zip=compressed)
        info.add_text("Title", "a", zip=compressed)
        Image.new("RGB", (2, 2)).save(stream, "PNG", pnginfo=info)
        seeds.append(stream.getvalue())
    return seeds


def _seed_notes() -> list[bytes]:
    from PIL import Image

    from ldm_core.media.encoded import write_jpeg, write_webp

    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for write in (write_jpeg, write_webp):
            write(Image.new("RGB", (2, 2)), {"format": 1, "seed": 1}, Path(folder, "a"))
            seeds.append(Path(folder, "a").read_bytes())
    return seeds


def _seed_others() -> list[bytes]:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    text = 'a\nNegative prompt: b\nSteps: 2, Sampler: "Euler, a", Seed: 1, Size: 8x8'
    graph = '{"3": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["6", 0]}}}'
    seeds = []
    for keyword, words in (("parameters", text), ("prompt", graph)):
        info, stream = PngInfo(), io.BytesIO()
        info.add_text(keyword, words)
        Image.new("RGB", (2, 2)).save(stream, "PNG", pnginfo=info)
        seeds.append(stream.getvalue())
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x8769] = {0x9286: b"UNICODE\0" + text.encode("utf-16-be")}
    Image.new("RGB", (2, 2)).save(stream, "JPEG", exif=exif.tobytes())
    return [*seeds, stream.getvalue()]


def _seed_toml() -> list[bytes]:
    return [
        b'model = "shapes"\nnum_inference_steps = 12\nscheduler = "dpmpp_2m"\n'
        b'guidance = { name = "classifier_free", scale = 3.0 }\n[spacing]\nname = "karras"\n',
        b'loras = ["a.safetensors:0.5", {path = "b", scale = 1.0}]\nextent = {frames = 3}\n',
        b'conditioning = ["text", {name = "control", models = ["c"]}]\n',
    ]


def _seed_safetensors() -> list[bytes]:
    from fuzz.hostile.blobs import tensors

    one = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    two = {"dtype": "F16", "shape": [4], "data_offsets": [16, 24]}
    return [
        tensors({"a": one}, bytes(16)),
        tensors({"__metadata__": {"format": "pt"}, "a.weight": one, "b": two}, bytes(24)),
    ]


def _read_weights(file: Path) -> None:
    read_header(file)
    part = file.parent / "part"
    part.mkdir(exist_ok=True)
    named = part / "model.safetensors"
    named.unlink(missing_ok=True)
    named.hardlink_to(file)
    check_weights(file.parent, ["part"])


READERS: dict[str, tuple[str, Callable[[Path], object], Callable[[], list[bytes]]]] = {
    "png": ("a.png", read_png, _seed_png),
    "notes": ("a.jpg", read_picture, _seed_notes),
    "others": ("a.png", recorded_in, _seed_others),
    "toml": ("a.toml", read_recipe, _seed_toml),
    "safetensors": ("a.safetensors", _read_weights, _seed_safetensors),
}
"""Of each reader the name of a file for it, what reads that, and bytes that are right."""


def main() -> None:
    name, *options = sys.argv[1:]
    file_name, read, seeds = READERS[name]
    folder = Path(tempfile.mkdtemp(prefix="reader-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds()):
        (corpus / str(number)).write_bytes(seed)
    file = folder / file_name

    def one(data: bytes) -> None:
        file.unlink(missing_ok=True)
        file.write_bytes(data)
        try:
            read(file)
        except LdmError:
            return

    limits = [
        f"-max_len={LONGEST}",
        "-timeout=20",
        "-rss_limit_mb=4096",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    artifacts = f"-artifact_prefix={folder}/"
    atheris.Setup([sys.argv[0], *limits, artifacts, *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
