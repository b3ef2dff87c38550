"""Manifests of the wrong type, size or encoding: one message that names the field."""

from __future__ import annotations

import copy
import io
import json
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ldm_core import LdmError, Pipeline
from ldm_core.media.json_text import DEEPEST, read_json_text
from ldm_core.media.manifest_record import Manifest
from ldm_core.media.png import read_png, save_png
from ldm_core.media.png_chunks import LONGEST, MOST, text_under


@pytest.fixture(scope="module")
def honest(pipe: Pipeline) -> dict[str, Any]:
    out = pipe("a red star", seed=7)
    return dict(json.loads(json.dumps(out.manifests[0])))


FAULTS: list[tuple[str, Any, str]] = [
    ("format", 2, "format 2; this version reads 1"),
    ("format", True, "format True; this version reads 1"),
    ("format", "1", "format '1'; this version"),
    ("seed", "7", "seed is wrong: "),
    ("seed", True, "seed is wrong: "),
    ("seed", 7.0, "seed is wrong: "),
    ("seed", -1, "seed is wrong: "),
    ("seed", None, "seed is wrong: "),
    ("width", True, "width is wrong: "),
    ("width", 0, "width is wrong: "),
    ("height", "16", "height is wrong: "),
    ("extent", {"frames": 1.5}, "extent.frames is wrong: "),
    ("extent", [16], "extent is wrong: "),
    ("num_inference_steps", -1, "num_inference_steps is wrong: "),
    ("num_inference_steps", [4], "num_inference_steps is wrong: "),
    ("inputs", [], "inputs is wrong: "),
    ("inputs", None, "inputs is wrong: "),
    ("recipe", "shapes", "recipe is wrong: "),
    ("recipe", None, "recipe is wrong: "),
    ("model_revision", "../..", "model_revision is wrong: "),
    ("model_revision", "", "model_revision is wrong: "),
    ("model_revision", 5, "model_revision is wrong: "),
    ("model_sha256", ["a"], "model_sha256 is wrong: "),
    ("loras", {}, "loras is wrong: "),
    ("loras", [None], "loras.0 is wrong: "),
    ("loras", [{"path": "a", "scale": "1", "sha256": "b"}], "loras.0.scale is wrong: "),
    ("loras", [{"path": 5, "scale": 1.0, "sha256": "b"}], "loras.0.path is wrong: "),
    ("converter_files", ["a"], "converter_files is wrong: "),
    ("converter_files", {"a": None}, "converter_files.a is wrong: "),
    ("versions", {"torch": 2}, "versions.torch is wrong: "),
    ("versions", [], "versions is wrong: "),
    ("plugins", "euler", "plugins is wrong: "),
    ("plugins", [1], "plugins.0 is wrong: "),
    ("pixels_sha256", 5, "pixels_sha256 is wrong: "),
    ("finish", 5, "finish is wrong: "),
    ("command", "ldm", "command is wrong: "),
    ("command", {"name": "a", "arguments": [], "options": {}}, "command.image is missing"),
    ("command", {"name": 1, "arguments": [], "options": {}, "image": 0}, "command.name is wrong: "),
    ("command", {"name": "a", "arguments": {}, "options": {}, "image": 0}, "arguments is wrong: "),
    ("command", {"name": "a", "arguments": [], "options": [], "image": 0}, "options is wrong: "),
    ("chain", None, "made by a chain"),
]


@pytest.mark.parametrize(("key", "value", "message"), FAULTS, ids=lambda v: str(v)[:40])
def test_a_field_of_another_type_is_named(
    honest: dict[str, Any], key: str, value: Any, message: str
) -> None:
    assert Manifest.of(honest).seed == 7
    with pytest.raises(LdmError) as caught:
        Manifest.of({**honest, key: value})
    assert message in caught.value.message


@pytest.mark.parametrize("key", ["seed", "inputs", "num_inference_steps", "recipe", "versions"])
def test_a_field_that_is_missing_is_named(honest: dict[str, Any], key: str) -> None:
    with pytest.raises(LdmError, match=f"the manifest is damaged: {key} is missing"):
        Manifest.of({k: v for k, v in honest.items() if k != key})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "it has no NaN"),
        ('{"a": -Infinity}', "it has no -Infinity"),
        ('{"a": {"b": 1e999}}', "a.b is a number too large"),
        ('{"a": 9223372036854775808}', "a is a number of more than 64 bits"),
        ('{"a": -9223372036854775809}', "a is a number of more than 64 bits"),
        ('{"a": %s}' % ("1" * 5000), "it is no JSON"),
        ('{"a": ["b", "\\ud800"]}', "a.1 holds half a letter"),
        ('{"\\ud800": 1}', "a name in it holds half a letter"),
        ('{"a": "b\\u0000c"}', "a holds control characters"),
        ('{"a": "\\u001b[2J"}', "a holds control characters"),
        ('{"\\u001b[2J": "\\u0000"}', "holds control characters"),
        ("[" * 10_000 + "]" * 10_000, "deeper than"),
        ('{"a": ' * 10_000 + "1" + "}" * 10_000, "deeper than"),
        ('{"a": ' * (DEEPEST + 2) + "1" + "}" * (DEEPEST + 2), "a.a.a is deeper than"),
        ('{"a": 1', "it is no JSON"),
        ("", "it is no JSON"),
    ],
    ids=lambda text: text[:30],
)
def test_json_that_is_not_plain_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        read_json_text(text)


def test_plain_json_is_read_as_it_is() -> None:
    value = {"a": [1, -(2**63), 2**63 - 1, 0.5, None, True, "é\n\t猫", "caf\udce9"], "b": {"": {}}}
    assert read_json_text(json.dumps(value)) == value


def chunk(body: bytes, kind: bytes = b"iTXt", crc: bytes | None = None) -> bytes:
    check = zlib.crc32(kind + body).to_bytes(4, "big") if crc is None else crc
    return len(body).to_bytes(4, "big") + kind + body + check


def text_of(text: bytes, packed: bool = False) -> bytes:
    return b"ldm\0" + bytes([packed]) + b"\0\0\0" + (zlib.compress(text) if packed else text)


def with_chunks(path: Path, *chunks: bytes) -> Path:
    data = io.BytesIO()
    Image.new("RGB", (4, 4)).save(data, "PNG")
    raw = data.getvalue()
    path.write_bytes(raw[:-12] + b"".join(chunks) + raw[-12:])
    return path


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([text_of(b"[]")], "it is no table"),
        ([text_of(b"\xff\xfe{}")], "its text is no UTF-8"),
        ([text_of(b"{}"), text_of(b'{"a": 1}')], "2 of them, which say different things"),
        ([b"ldm\0\1\0\0\0broken"], "cannot be unpacked"),
        ([b"ldm\0\1"], "its text is no UTF-8"),
        ([text_of(b"{}", packed=True)[:-3]], "cannot be unpacked"),
        ([text_of(b" " * (LONGEST + 1))], "at most"),
        ([text_of(b" " * (LONGEST + 1), packed=True)], "too long"),
    ],
    ids=range(8),
)
def test_a_text_chunk_that_is_damaged_is_one_message(
    tmp_path: Path, chunks: list[bytes], message: str
) -> None:
    path = with_chunks(tmp_path / "a.png", *map(chunk, chunks))
    with pytest.raises(LdmError, match=f"the manifest in .*a.png. is damaged: .*{message}"):
        read_png(path)


def test_the_same_text_twice_is_one_manifest(tmp_path: Path) -> None:
    twice = [chunk(text_of(b'{"a": 1}')), chunk(text_of(b'{"a": 1}', packed=True))]
    assert read_png(with_chunks(tmp_path / "a.png", *twice))[1] == {"a": 1}


@pytest.mark.parametrize("kind", [b"zTXt", b"tEXt"])
def test_other_text_is_no_manifest(tmp_path: Path, kind: bytes) -> None:
    path = with_chunks(tmp_path / "a.png", chunk(b"ldm\0\0" + zlib.compress(b"{}"), kind))
    with pytest.raises(LdmError, match="has no manifest inside"):
        read_png(path)


def test_a_wrong_check_sum_and_a_text_cut_off_are_refused(tmp_path: Path) -> None:
    for extra in (chunk(text_of(b"{}"), crc=b"\0\0\0\0"), chunk(text_of(b"{}"))[:-6]):
        with pytest.raises(LdmError):
            read_png(with_chunks(tmp_path / "a.png", extra))


def test_text_that_unpacks_to_hundreds_of_megabytes_takes_little_memory(tmp_path: Path) -> None:
    squeeze = zlib.compressobj(9)
    packed = b"".join(squeeze.compress(bytes(2**24)) for _ in range(16)) + squeeze.flush()
    path = with_chunks(tmp_path / "a.png", chunk(b"ldm\0\1\0\0\0" + packed))
    assert path.stat().st_size < 2**21
    tracemalloc.start()
    try:
        with pytest.raises(LdmError, match="damaged"):
            read_png(path)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


def test_chunks_without_end_are_not_looked_through(tmp_path: Path) -> None:
    path = with_chunks(tmp_path / "a.png", chunk(b"", b"tEXt") * (MOST + 1))
    with pytest.raises(ValueError, match="more than"):
        text_under(path, "ldm")


def test_a_picture_that_moves_has_its_manifest(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    raw = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(raw[:-12] + chunk(text_of(b'{"a": 1}')) + raw[-12:])
    image, manifest = read_png(tmp_path / "a.png")
    assert (manifest, image.getpixel((0, 0))) == ({"a": 1}, (255, 0, 0))


HOSTILE: list[Any] = [
    None, True, 0, -1, 2**31, 2**63 - 1, 1.5, 1e308, "", "\t", "x" * 5000, "../../etc/passwd", "/",
    "~", ".", "o/m", "o/m@../..", "😀", "NaN", "shapes", "euler", "ldm-core:augment", "diffusers:",
    [], {}, [[]], [None], {"": None}, {"name": None}, {"name": "euler"}, {"path": None},
    {"python": None}, [{"path": "x", "scale": 1}], {"name": ["x"]}, ["a", "b"], [1, 2, 3],
]  # fmt: skip


def places(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if keys:
        yield keys
    entries = value.items() if isinstance(value, dict) else ()
    for key, entry in enumerate(value) if isinstance(value, list) else entries:
        yield from places(entry, (*keys, key))


def mutated(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 2])):
        *path, last = rng.choice(list(places(value)))
        parent: Any = value
        for key in path:
            parent = parent[key]
        if rng.random() < 0.15:
            del parent[last]
        elif isinstance(parent, dict) and rng.random() < 0.2:
            parent[rng.choice(["path", "name", "on_step", "model", "x", "scale"])] = "/etc/passwd"
        else:
            parent[last] = rng.choice(HOSTILE)
    return value


@pytest.mark.parametrize("seed", range(4))
def test_mutated_manifests_are_replayed_or_refused(
    ldm: Any, folder: Path, honest: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    """Each is a picture, or one message; `ldm` lets no traceback pass."""
    rng, image, codes = random.Random(seed), Image.new("RGB", (16, 16)), []
    command = {"name": "ldm-core:interpolate", "arguments": ["a", "b"], "image": 1}
    command["options"] = {"num_images": 2, "seed": 7, "animation": "x.gif"}
    for manifest in (honest, {**honest, "command": command}):
        for _ in range(12):
            save_png(image, mutated(manifest, rng), tmp_path / "a.png", overwrite=True)
            code, _, err = ldm("replay", "a.png", "--out", "out", "--json")
            codes.append(code)
            assert code in (0, 2)
            assert err.count("error: ") == (code == 2), err
    assert 2 in codes
    assert not Path("x.gif").exists()
