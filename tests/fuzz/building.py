"""The folder of a case, made step by step from what its line says.

A step is a list: what is made, the path of it in the folder, and how.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def build(steps: Sequence[Sequence[Any]], folder: Path, shelf: Path) -> None:
    """Do the steps in their order; one that changes a file that is no longer one is left out."""
    for name, path, *rest in steps:
        to = folder / path
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            STEPS[name](to, shelf, *rest)
        except Exception:
            if name not in CHANGING:
                raise


def _replace(path: Path, data: bytes) -> None:
    """Write a file anew: it may be a hard link to one on the shelf."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def _text(path: Path, shelf: Path, text: str) -> None:
    _replace(path, text.encode("utf-8", "surrogatepass"))


def _bytes(path: Path, shelf: Path, data: str) -> None:
    _replace(path, base64.b64decode(data))


def _copy(path: Path, shelf: Path, name: str) -> None:
    """A model, a folder or a file of the shelf, by hard links."""
    source = shelf / name
    if source.is_dir():
        shutil.copytree(source, path, copy_function=os.link, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, path)


def _json(path: Path, shelf: Path, keys: Sequence[Any], *value: Any) -> None:
    """Set what lies under these keys of a JSON file, or take it out where there is no value."""
    table = json.loads(path.read_text("utf-8"))
    inner = table
    for key in keys[:-1]:
        if isinstance(inner, dict):
            inner = inner.setdefault(key, {})
        elif isinstance(inner, list) and isinstance(key, int) and key < len(inner):
            inner = inner[key]
    if not keys:
        table = value[0] if value else None
    elif isinstance(inner, dict):
        if value:
            inner[keys[-1]] = value[0]
        else:
            inner.pop(keys[-1], None)
    elif isinstance(inner, list) and isinstance(keys[-1], int) and keys[-1] < len(inner) and value:
        inner[keys[-1]] = value[0]
    _replace(path, json.dumps(table).encode())


def _damage(path: Path, shelf: Path, changes: Sequence[Sequence[float]], keep: float) -> None:
    """Change bytes at shares of a file's length, and cut it off after a share of it."""
    data = bytearray(path.read_bytes())
    for share, value in changes:
        if data:
            data[min(int(share * len(data)), len(data) - 1)] = int(value)
    _replace(path, bytes(data[: round(keep * len(data))]))


def _header(path: Path, shelf: Path, keys: Sequence[str], *value: Any) -> None:
    """Change the JSON header of a safetensors file, its tensors staying as they are."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    names = sorted(n for n in header if n != "__metadata__")
    inner = header
    for number, key in enumerate(keys[:-1]):
        if number == 0 and key.isdecimal():
            key = names[int(key) % len(names)]
        inner = inner.setdefault(key, {})
    last = keys[-1]
    if len(keys) == 1 and last.isdecimal():
        last = names[int(last) % len(names)]
    if value:
        inner[last] = value[0]
    else:
        inner.pop(last, None)
    text = json.dumps(header).encode()
    _replace(path, struct.pack("<Q", len(text)) + text + data[8 + length :])


def _tensor(path: Path, shelf: Path, number: int, change: str) -> None:
    """Change a tensor of a safetensors file by one of `CHANGES`."""
    from safetensors.numpy import load_file, save_file

    state = load_file(path)
    name = sorted(state)[number % len(state)]
    CHANGES[change](state, name)
    target = path.with_name("new.tensors")
    save_file(state, target, metadata={"format": "pt"})
    os.replace(target, path)


def _shards(path: Path, shelf: Path, edits: Sequence[Sequence[Any]]) -> None:
    """Split a safetensors file in two with an index, and change where the index says tensors lie.

    Args:
        edits: pairs of a number of a tensor and the file that is named for it.
    """
    from safetensors.numpy import load_file, save_file

    state = load_file(path)
    names = sorted(state)
    halves = names[::2], names[1::2]
    places = {}
    for number, half in enumerate(halves, 1):
        file = f"{path.stem}-{number:05d}-of-00002.safetensors"
        save_file({n: state[n] for n in half}, path.with_name(file), metadata={"format": "pt"})
        places |= dict.fromkeys(half, file)
    for number, file in edits:
        places[names[number % len(names)]] = file
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    path.with_name(f"{path.name}.index.json").write_text(json.dumps(index))
    path.unlink()


def _picture(path: Path, shelf: Path, table: dict[str, Any]) -> None:
    """A picture of a mode, size and format, which need not be those of its name."""
    size = tuple(table.get("size", (16, 16)))
    mode = table.get("mode", "RGB")
    # what Pillow no longer writes under the one name, it writes under the other
    mode = "I;16" if mode == "I" and table.get("format", "PNG") == "PNG" else mode
    image = Image.linear_gradient("L").resize(size).convert(mode)
    options: dict[str, Any] = dict(table.get("save", {}))
    if table.get("frames", 1) > 1:
        frames = [image.rotate(90 * n) for n in range(1, table["frames"])]
        options |= {"save_all": True, "append_images": frames}
    if "orientation" in table:
        exif = Image.Exif()
        exif[0x0112] = table["orientation"]
        options["exif"] = exif.tobytes()
    image.save(path, format=table.get("format", "PNG"), **options)


def _manifest(path: Path, shelf: Path, name: str, edits: Sequence[Sequence[Any]]) -> None:
    """A picture that ldm made, its manifest changed.

    Args:
        name: of the picture on the shelf.
        edits: lists of keys and a value, or of keys alone where what lies there is taken out; one
            without keys takes the place of the whole text.
    """
    with Image.open(shelf / "made" / name) as image:
        image.load()
        manifest = json.loads(image.text["ldm"])  # type: ignore[attr-defined]
    text: str | None = None
    for keys, *value in edits:
        if not keys:
            text = value[0] if isinstance(value[0], str) else json.dumps(value[0])
            continue
        inner = manifest
        for key in keys[:-1]:
            following = inner.get(key) if isinstance(inner, dict) else None
            if not isinstance(following, dict) and isinstance(inner, dict):
                following = inner[key] = {}
            inner = following if isinstance(following, dict) else {}
        if value:
            inner[keys[-1]] = value[0]
        else:
            inner.pop(keys[-1], None)
    info = PngInfo()
    info.add_itxt("ldm", json.dumps(manifest) if text is None else text)
    image.save(path, format="PNG", pnginfo=info)


def _folder(path: Path, shelf: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def _link(path: Path, shelf: Path, target: str) -> None:
    """A symbolic link to what the text says, be it there or not."""
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _pipe(path: Path, shelf: Path) -> None:
    os.mkfifo(path)


def _gone(path: Path, shelf: Path) -> None:
    path.unlink()


def _locked(path: Path, shelf: Path, mode: int) -> None:
    path.chmod(mode)


STEPS: dict[str, Callable[..., None]] = {
    "text": _text,
    "bytes": _bytes,
    "copy": _copy,
    "json": _json,
    "damage": _damage,
    "header": _header,
    "tensor": _tensor,
    "shards": _shards,
    "picture": _picture,
    "manifest": _manifest,
    "folder": _folder,
    "link": _link,
    "pipe": _pipe,
    "gone": _gone,
    "locked": _locked,
}
CHANGING = ("json", "damage", "header", "tensor", "shards")


def _with(value: float) -> Callable[[dict[str, Any], str], None]:
    def change(state: dict[str, Any], name: str) -> None:
        array = state[name].astype("float32").copy()
        array.reshape(-1)[:1] = value
        state[name] = array

    return change


def _lack(state: dict[str, Any], name: str) -> None:
    del state[name]


def _misfit(state: dict[str, Any], name: str) -> None:
    state[name] = np.zeros((3, *state[name].shape[1:]), state[name].dtype)


def _flat(state: dict[str, Any], name: str) -> None:
    state[name] = state[name].reshape(-1)


def _more(state: dict[str, Any], name: str) -> None:
    state[f"{name}.more"] = np.zeros((2, 2), "float32")


def _whole(state: dict[str, Any], name: str) -> None:
    state[name] = state[name].astype("int64")


def _empty(state: dict[str, Any], name: str) -> None:
    state[name] = np.zeros((0, *state[name].shape[1:]), state[name].dtype)


def _half(state: dict[str, Any], name: str) -> None:
    state[name] = state[name].astype("float16")


def _renamed(state: dict[str, Any], name: str) -> None:
    state["../../" + name] = state.pop(name)


CHANGES: dict[str, Callable[[dict[str, Any], str], None]] = {
    "nan": _with(float("nan")),
    "inf": _with(float("inf")),
    "huge": _with(3e38),
    "lack": _lack,
    "misfit": _misfit,
    "flat": _flat,
    "more": _more,
    "whole": _whole,
    "empty": _empty,
    "half": _half,
    "renamed": _renamed,
}
