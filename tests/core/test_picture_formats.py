"""JPEG and WebP with their manifest inside: what they hold, and how it is read from anybody."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Shown, Writer
from ldm_core.media.encoded import LONGEST_IN_JPEG
from ldm_core.media.exif import any_comment
from ldm_core.media.picture_manifests import read_picture
from ldm_core.media.present import state
from ldm_core.plugins.registry import installed

MANIFEST = {"seed": 7, "inputs": {"prompt": "ein Stern – 星"}}


def writer(name: str) -> Writer:
    plugin = installed().find("writer", name).loaded
    assert isinstance(plugin, Writer)
    return plugin


def noise(channels: int = 3) -> Image.Image:
    """A picture that compresses badly, so that a loss is seen."""
    array = np.random.default_rng(0).integers(0, 256, (24, 40, channels), dtype=np.uint8)
    return Image.fromarray(array.squeeze())


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of all that is sampled."""
    seeds: list[int] = []
    sample = Pipeline.sample

    def watched(self: Pipeline, plan: Any, on_step: Any = None) -> Any:
        seeds.extend(plan.request.seeds)
        return sample(self, plan, on_step)

    monkeypatch.setattr(Pipeline, "sample", watched)
    return seeds


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_webp_loses_nothing(tmp_path: Path, channels: int) -> None:
    image, path = noise(channels), tmp_path / "a.webp"
    writer("webp")(Shown(image), MANIFEST, path)
    with Image.open(path) as there:
        assert there.format == "WEBP"
        mode = "RGBA" if channels == 4 else "RGB"
        assert there.tobytes() == image.convert(mode).tobytes()  # beneath transparency too
    assert read_picture(path)[1] == MANIFEST


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_says_the_hash_of_itself(tmp_path: Path, channels: int) -> None:
    """Pillow writes the same file without a manifest; its bytes are what is hashed."""
    image, path = noise(channels), tmp_path / "a.jpg"
    writer("jpg")(Shown(image), MANIFEST, path)
    plain = io.BytesIO()
    image.save(plain, "JPEG", quality=95, subsampling=0)
    digest = hashlib.sha256(plain.getvalue()).hexdigest()
    decoded, manifest = read_picture(path)
    assert manifest == {**MANIFEST, "encoded_sha256": digest}
    assert decoded.tobytes() == Image.open(plain).tobytes()
    assert decoded.mode == image.mode


@pytest.mark.parametrize("name", ["jpg", "webp"])
def test_any_program_finds_the_manifest_in_exif(tmp_path: Path, name: str) -> None:
    writer(name)(Shown(noise()), MANIFEST, tmp_path / "a")
    described = Image.open(tmp_path / "a").getexif()[ExifTags.Base.ImageDescription]
    assert described[:4] == "ldm:"
    assert json.loads(described[4:]).items() >= MANIFEST.items()


@pytest.mark.parametrize("name", ["jpg", "webp"])
def test_a_file_of_earlier_is_read_shown_and_made_again(ldm: Any, folder: Path, name: str) -> None:
    """Its manifest was the user's comment; what A1111 reads now stands there, as it writes it."""
    run = ("generate", "ein Stern – 星", "--steps", 1, "--seed", 7, "--model", folder)
    code, out, err = ldm(*run, "--format", name)
    assert code == 0, err
    new, old = Path(out.strip()), Path(f"old.{name}")
    manifest = read_picture(new)[1]
    written = Image.open(new).getexif().get_ifd(ExifTags.IFD.Exif)[0x9286]
    assert written[:8] == b"UNICODE\0"
    assert written[8:].decode("utf-16-be").startswith("ein Stern – 星\nSteps: 1, ")
    assert "Seed: 7, " in any_comment(new)
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {0x9286: b"ASCII\0\0\0ldm:" + json.dumps(manifest).encode()}
    if name == "webp":
        Image.open(new).save(old, exif=exif.tobytes(), lossless=True, exact=True)
    else:
        data, note = new.read_bytes(), exif.tobytes()
        at = data.index(b"\xff\xe1")
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        part = b"\xff\xe1" + (len(note) + 2).to_bytes(2, "big") + note
        old.write_bytes(data[:at] + part + data[end:])
    assert read_picture(old)[1] == manifest
    told = [ldm("show", path)[1].splitlines()[1:] for path in (new, old)]
    assert told[0] == told[1]
    assert any("ein Stern" in line for line in told[0])
    for path in (new, old):
        code, out, err = ldm("replay", path, "--json", "--allow-files")
        assert (code, json.loads(out)["max_difference"]) == (0, 0), err
        code, out, err = ldm("generate", "--like", path, "--allow-files", "-o", f"like-{path.stem}")
        assert code == 0, err
        again = read_picture(Path(out.strip()))[0]
        assert hashlib.sha256(again.tobytes()).hexdigest() == manifest["pixels_sha256"]


def test_a_jpeg_without_room_for_both_holds_the_manifest(tmp_path: Path) -> None:
    recipe = {"inputs": {"prompt": "a" * 30_000}, "recipe": {}}
    writer("jpg")(Shown(noise()), recipe, tmp_path / "a.jpg")
    assert read_picture(tmp_path / "a.jpg")[1].items() >= recipe.items()
    assert any_comment(tmp_path / "a.jpg") is None
    writer("webp")(Shown(noise()), recipe, tmp_path / "a.webp")
    assert str(any_comment(tmp_path / "a.webp")).startswith("a" * 30_000)


@pytest.mark.parametrize("name", ["jpg", "webp"])
def test_the_same_command_makes_nothing_twice_and_replay_makes_it_again(
    ldm: Any, folder: Path, sampled: list[int], name: str
) -> None:
    run = ("generate", "a red star", "--steps", 1, "--num-images", 3, "--seed", 7)
    run = (*run, "--model", folder, "--format", name)
    code, out, err = ldm(*run)
    assert (code, sampled) == (0, [7, 8, 9]), err
    whole = {path: Path(path).read_bytes() for path in out.split()}
    assert [Path(path).suffix for path in whole] == [f".{name}"] * 3
    sampled.clear()
    assert ldm(*run)[1] == out
    assert sampled == []
    one, two, three = (Path(path) for path in whole)
    one.unlink()
    two.write_bytes(whole[str(two)][:-90])
    image, manifest = read_picture(three)
    image.putpixel((0, 0), (1, 2, 3))
    writer(name)(Shown(image), manifest, three)
    if name == "jpg":  # a hash that is that of before
        data = three.read_bytes()
        now = read_picture(three)[1]["encoded_sha256"]
        three.write_bytes(data.replace(now.encode(), manifest["encoded_sha256"].encode()))
    assert [state(two), state(three)] == ["torn", "changed"]
    code, out, err = ldm("replay", three, "--json", "--allow-files")
    assert code == 0, err
    assert json.loads(out)["differs"] == ["the picture was changed after it was made"]
    sampled.clear()
    ldm(*run)
    assert sampled == [7, 8, 9]
    assert one.read_bytes() == whole[str(one)]

    code, out, err = ldm("replay", one, "--json", "--allow-files")
    verdict = json.loads(out)
    assert (code, verdict["max_difference"], verdict["differs"]) == (0, 0, []), err
    again, manifest = read_picture(Path(verdict["path"]))
    assert manifest["pixels_sha256"] == hashlib.sha256(again.tobytes()).hexdigest()
    assert manifest["pixels_sha256"] == read_picture(one)[1]["pixels_sha256"]


def test_a_manifest_that_is_too_long_for_a_jpeg_lies_beside_it(ldm: Any, folder: Path) -> None:
    prompt = "a star, " * (LONGEST_IN_JPEG // 8)
    run = ("generate", prompt, "--model", folder, "--steps", 1, "--seed", 7, "--format", "jpg")
    code, out, err = ldm(*run)
    assert code == 0, err
    path = Path(out.strip())
    assert sorted(p.name for p in Path("pictures").iterdir()) == [path.name, f"{path.name}.json"]
    assert read_picture(path)[1]["inputs"]["prompt"].strip() == prompt.strip()
    data = path.read_bytes()
    assert ldm(*run)[1] == out
    assert path.read_bytes() == data
    code, out, err = ldm("replay", path, "--json", "--allow-files")
    assert (code, json.loads(out)["max_difference"]) == (0, 0), err


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("jpg", noise(4), "mode RGBA cannot be written as JPEG"),
        ("jpg", noise(2), "mode LA cannot be written as JPEG"),
        ("webp", Image.new("F", (4, 4)), "mode F cannot be written as WEBP"),
        ("webp", Image.new("RGB", (16384, 1)), "16384x1 pixels cannot be written as WEBP"),
        ("jpg", Image.new("L", (1, 65536)), "1x65536 pixels cannot be written as JPEG"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, name: str, image: Image.Image, message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        writer(name)(Shown(image), MANIFEST, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def with_comment(path: Path, *comments: bytes) -> Path:
    """A JPEG with user's comments, one in each of several parts of EXIF."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "JPEG")
    parts = []
    for comment in comments:
        exif = Image.Exif()
        exif[ExifTags.IFD.Exif] = {0x9286: comment}
        body = exif.tobytes()
        parts.append(b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body)
    data = stream.getvalue()
    path.write_bytes(data[:2] + b"".join(parts) + data[2:])
    return path


START = b"ASCII\0\0\0ldm:"


@pytest.mark.parametrize(
    ("comments", "message"),
    [
        ((), "has no manifest inside"),
        ((b"ASCII\0\0\0a day at the sea",), "has no manifest inside"),
        ((b"UNICODE\0ldm:{}",), "has no manifest inside"),
        ((START + b"{}", START + b'{"a": 1}'), "damaged: there are 2 of them"),
        ((START + "{ü}".encode(),), "damaged: its text is no ASCII"),
        ((START + b"[1]",), "damaged: it is no table"),
        ((START + b"{",), "damaged: it is no JSON"),
        ((START + b'{"a": NaN}',), "damaged: it is no JSON: it has no NaN"),
        ((START + b"[" * 9000,), "damaged: it is deeper than 50"),
    ],
)
def test_a_comment_of_anybody_is_read_with_care(
    tmp_path: Path, comments: tuple[bytes, ...], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        read_picture(with_comment(tmp_path / "a.jpg", *comments))


def test_the_same_manifest_twice_is_one(tmp_path: Path) -> None:
    path = with_comment(tmp_path / "a.jpg", START + b'{"a": 1}', START + b'{"a": 1}', b"mine")
    assert read_picture(path)[1] == {"a": 1}


def test_a_webp_says_more_than_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    writer("webp")(Shown(noise()), {"prompt": "a" * (4 << 20)}, path)
    with pytest.raises(LdmError, match=r"damaged: it has 41.* bytes, and at most 4194304 are read"):
        read_picture(path)


def test_a_manifest_beside_is_no_pipe_and_not_endless(tmp_path: Path) -> None:
    import os

    path = tmp_path / "a.png"
    noise().save(path)
    os.mkfifo(tmp_path / "a.png.json")
    with pytest.raises(LdmError, match="has no manifest inside"):
        read_picture(path)
    (tmp_path / "a.png.json").unlink()
    (tmp_path / "a.png.json").write_bytes(b" " * (5 << 20))
    with pytest.raises(LdmError, match="damaged: it has more than 4194304 bytes"):
        read_picture(path)
