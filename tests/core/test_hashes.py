"""What a manifest's hashes are over: all that is read, and nothing else of the weights."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from ldm_core.composition.compose import compose
from ldm_core.media.manifest_files import beside_hashes
from ldm_core.model import kept_hashes
from ldm_core.model.files import model_hash
from ldm_core.model.kept_hashes import kept_hash
from ldm_core.plugins.registry import installed


def touched(file: Path) -> None:
    """As long as before, so that its header still fits; another number at its end."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_precision_that_is_not_read_is_left_out(copied: Path) -> None:
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    before = model_hash(copied)
    other = weights.with_name("diffusion_pytorch_model.fp16.safetensors")
    other.write_bytes(weights.read_bytes())
    assert model_hash(copied) == before
    weights.unlink()  # which makes the other the one that is read
    only = model_hash(copied)
    assert only != before
    touched(other)
    assert model_hash(copied) != only


BESIDE: dict[str, tuple[Callable[[Path, Path], Any], dict[str, Any], list[str]]] = {
    "control": (
        tiny.write_controlnet,
        {"conditioning": ["text", {"name": "control", "models": ["{}"]}]},
        ["config.json", "diffusion_pytorch_model.safetensors"],
    ),
    "image_prompt": (
        lambda place, folder: tiny.write_image_encoder(place),
        {
            "conditioning": [
                "text",
                {"name": "image_prompt", "path": "{}.safetensors", "image_encoder": "{}"},
            ]
        },
        ["model.safetensors", "../other.safetensors"],
    ),
    "autoguidance": (
        lambda place, folder: tiny.write_stable_diffusion(place),
        {"guidance": {"name": "autoguidance", "model": "{}"}},
        ["unet/diffusion_pytorch_model.safetensors"],
    ),
}


def named(value: Any, place: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{}", str(place))
    if isinstance(value, list):
        return [named(entry, place) for entry in value]
    return {key: named(entry, place) for key, entry in value.items()}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_is_read_beside_the_model_is_in_the_manifest(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    write, layer, files = BESIDE[kind]
    place = tmp_path / "other"
    write(place, folder)
    tiny.write_ip_adapter(tmp_path / "other.safetensors", folder)
    recipe = {"model": str(folder), **named(layer, place)}
    seen = [beside_hashes(compose(recipe, installed()))]
    for name in files:
        file = place / name
        if file.suffix == ".json":
            file.write_text(file.read_text() + "\n")
        else:
            touched(file)
        seen.append(beside_hashes(compose(recipe, installed())))
    assert all(seen)
    assert len({tuple(hashes.values()) for hashes in seen}) == len(seen)


def test_a_model_alone_says_nothing_of_it(folder: Path) -> None:
    assert beside_hashes(compose({"model": str(folder)}, installed())) == {}


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has not been changed for a while, of which the hash is kept."""
    monkeypatch.setattr(kept_hashes, "LARGE", 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"weights")
    monkeypatch.setattr(kept_hashes, "SETTLED", -1.0)
    return file


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def never(file: Path) -> str:
    raise AssertionError("it is hashed again")


def test_a_large_file_is_hashed_once(large: Path) -> None:
    whole = kept_hash(large, sha256)
    assert whole == kept_hash(large, never) == hashlib.sha256(b"weights").hexdigest()


def test_a_change_is_seen_although_size_and_time_are_as_before(large: Path) -> None:
    kept_hash(large, sha256)
    about = large.stat()
    large.write_bytes(b"WEIGHTS")
    os.utime(large, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert kept_hash(large, sha256) == hashlib.sha256(b"WEIGHTS").hexdigest()
    other = large.with_name("other.safetensors")
    other.write_bytes(b"another")
    other.replace(large)
    assert kept_hash(large, sha256) == hashlib.sha256(b"another").hexdigest()


def test_nothing_is_kept_of_a_file_that_may_still_be_written(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_hashes, "SETTLED", 60.0)
    kept_hash(large, sha256)
    assert not (large.parent / "cache").exists()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b'{"sha256": "' + b"0" * 64 + b'"}']
)
def test_what_is_kept_and_is_damaged_is_not_believed(large: Path, content: bytes) -> None:
    whole = kept_hash(large, sha256)
    [kept] = (large.parent / "cache" / "ldm" / "hashes").iterdir()
    right = json.loads(kept.read_text())
    kept.write_bytes(content)
    assert kept_hash(large, sha256) == whole
    assert kept_hash(large, never) == whole
    kept.write_text(json.dumps({**right, "sha256": "0"}))
    assert kept_hash(large, sha256) == whole


def test_files_of_one_name_are_kept_apart_and_small_ones_not_at_all(large: Path) -> None:
    other, small = large.parent / "b" / large.name, large.with_name("small")
    other.parent.mkdir()
    other.write_bytes(b"others'")
    small.write_bytes(b"abc")
    for file in (large, other, small, large, other):
        assert kept_hash(file, sha256) == sha256(file)
    assert kept_hash(large, never) != kept_hash(other, never)
    assert len(list((large.parent / "cache" / "ldm" / "hashes").iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_done_without(large: Path) -> None:
    (large.parent / "cache").write_text("no folder")
    assert kept_hash(large, sha256) == kept_hash(large, sha256)
    assert not list(large.parent.glob("cache*/*"))
