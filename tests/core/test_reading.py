"""JSON and the headers of safetensors files that say what is not so."""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ldm_core import LdmError
from ldm_core.model.reading import read_json, strict_json
from ldm_core.model.safetensors_header import read_header

BROKEN_JSON: dict[str, bytes] = {
    "nothing": b"",
    "no object": b"[1]",
    "null": b"null",
    "cut off": b'{"a": 1',
    "twice": b'{"a": 1, "a": 2}',
    "twice within": b'{"a": {"b": 1, "b": 2}}',
    "no number": b'{"a": NaN}',
    "beyond floats": b'{"a": 1e999}',
    "too many digits": b'{"a": 1' + b"0" * 5000 + b"}",
    "too deep for Python": b"[" * 100_000,
    "too deep for a config": b'{"a":' * 70 + b"1" + b"}" * 70,
    "half a character": b'{"a": "\\ud800"}',
    "half a character as key": b'{"\\uDfff": 1}',
    "another encoding": '{"a": 1}'.encode("utf-16"),
    "bytes": bytes(range(256)),
    "more behind": b'{"a": 1}}',
}


@pytest.mark.parametrize("content", BROKEN_JSON.values(), ids=list(BROKEN_JSON))
def test_json_that_says_nothing_or_two_things(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(
        LdmError, match=r"config\.json (cannot be read as JSON|should hold)"
    ) as what:
        read_json(file)
    str(what.value).encode()  # it can be shown


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    os.mkfifo(file)
    for read in (read_json, read_header):
        with pytest.raises(LdmError, match="no plain file"):
            read(file)
    file.unlink()
    file.symlink_to("/dev/zero")
    for read in (read_json, read_header):
        with pytest.raises(LdmError, match="no plain file"):
            read(file)
    file.unlink()
    file.mkdir()
    for read in (read_json, read_header):
        with pytest.raises(LdmError, match="no plain file"):
            read(file)


def test_what_is_written_by_others_is_taken(tmp_path: Path) -> None:
    """A byte order mark, as editors on Windows write it; -Infinity, as Diffusers' schedulers do."""
    file = tmp_path / "config.json"
    file.write_bytes(b'\xef\xbb\xbf{"lambda_min_clipped": -Infinity, "a": "\\ud83d\\ude00"}')
    assert read_json(file) == {"lambda_min_clipped": -math.inf, "a": "\U0001f600"}
    with pytest.raises(ValueError, match="no finite number"):
        strict_json('{"a": Infinity}')


def written(file: Path, header: Any, body: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + body)
    return file


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    plain = [list(v) if isinstance(v, tuple) else v for v in (shape, offsets)]
    return {"dtype": dtype, "shape": plain[0], "data_offsets": plain[1]}


LIES: dict[str, Any] = {
    "overlapping": {"a": entry(), "b": entry(offsets=(4, 12))},
    "a hole": {"a": entry(), "b": entry(offsets=(12, 20))},
    "a hole at first": {"a": entry(offsets=(4, 12))},
    "the same bytes": {"a": entry(), "b": entry()},
    "backwards": {"a": entry(offsets=(8, 0))},
    "before the start": {"a": entry(offsets=(-8, 0))},
    "beyond the end": {"a": entry(shape=(10**12,), offsets=(0, 4 * 10**12))},
    "fewer bytes than the shape": {"a": entry(shape=(3,))},
    "more bytes than the shape": {"a": entry(shape=(1,))},
    "a negative side": {"a": entry(shape=(-2,))},
    "two negative sides": {"a": entry(shape=(-1, -2))},
    "sides beyond 64 bits": {"a": entry(shape=(2**63, 2))},
    "sides that overflow": {"a": entry(shape=(2**32, 2**32, 2**32), offsets=(0, 0))},
    "overflow beside a zero": {"a": entry(shape=(2**62, 2**62, 0), offsets=(0, 0))},
    "a side that is no number": {"a": entry(shape=("2",))},
    "a side that is true": {"a": entry(shape=(True, 2))},
    "half a side": {"a": entry(shape=(2.0,))},
    "a shape that is none": {"a": entry(shape=2)},
    "a hundred sides": {"a": entry(shape=(1,) * 100, offsets=(0, 4))},
    "no type": {"a": {"shape": [2], "data_offsets": [0, 8]}},
    "an unknown type": {"a": entry(dtype="F31")},
    "a type that is no word": {"a": entry(dtype=["F32"])},
    "one offset": {"a": entry(offsets=(0,))},
    "offsets that are no numbers": {"a": entry(offsets=("0", "8"))},
    "half a byte": {"a": entry(dtype="F4", shape=(3,), offsets=(0, 1))},
    "an entry that is a list": {"a": [1]},
    "metadata that is no table": {"__metadata__": [1], "a": entry()},
    "metadata that is no text": {"__metadata__": {"a": 1}, "a": entry()},
    "a name twice": b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
    b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    "no table": [1],
    "deep": b"[" * 100_000,
    "no text": b"\xff\xfe\x00",
    "empty, and bytes behind": {},
}


@pytest.mark.parametrize("header", LIES.values(), ids=list(LIES))
def test_a_header_that_lies(header: Any, tmp_path: Path) -> None:
    file = written(tmp_path / "w.safetensors", header, b"\0" * 8)
    with pytest.raises(LdmError, match=r"w\.safetensors has"):
        read_header(file)


@pytest.mark.parametrize("length", [0, 1, 10**9, 2**40, 2**63, 2**64 - 1])
def test_a_length_that_lies_costs_no_memory(length: int, tmp_path: Path) -> None:
    file = written(tmp_path / "w.safetensors", {"a": entry()}, b"\0" * 8, length)
    with pytest.raises(LdmError, match="no safetensors file, or was cut off"):
        read_header(file)


def test_a_header_of_a_hundred_million_bytes_costs_no_time(tmp_path: Path) -> None:
    file = written(tmp_path / "w.safetensors", b"{", length=99_000_000)
    os.truncate(file, 200_000_000)
    start = time.process_time()
    with pytest.raises(LdmError, match="the most that is read"):
        read_header(file)
    assert time.process_time() - start < 1


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    names = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8"]
    names += ["uint8", "bool", "float8_e4m3fn", "float8_e5m2", "complex64", "uint16", "uint32"]
    tensors = {name: torch.zeros(2, 3).to(getattr(torch, name)) for name in names}
    tensors |= {"scalar": torch.zeros(()), "none": torch.zeros(0, 5), "flat": torch.zeros(4, 1)}
    save_file(tensors, tmp_path / "w.safetensors", metadata={"format": "pt"})
    header = read_header(tmp_path / "w.safetensors")
    assert header.shapes == {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert header.metadata == {"format": "pt"}
    assert {**header.dtypes}["bfloat16"] == "BF16"


def test_nothing_that_the_library_refuses_is_taken(tmp_path: Path) -> None:
    """Two thousand changes of a header, judged by the library's own reader too."""
    rng = random.Random(1)
    tensors = {name: torch.zeros(n, 2) for n, name in enumerate("abcde")}
    save_file(tensors, tmp_path / "whole.safetensors", metadata={"format": "pt"})
    whole = (tmp_path / "whole.safetensors").read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    file, taken = tmp_path / "w.safetensors", 0
    for _ in range(2000):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(end)] = rng.choice(b'0123456789,:[]{}"abcF -.e\x00\xff')
        file.write_bytes(content)
        try:
            header = read_header(file)
        except LdmError:
            continue
        taken += 1
        try:
            with safe_open(file, "pt") as theirs:
                shapes = {name: tuple(theirs.get_tensor(name).shape) for name in header.shapes}
                names = theirs.offset_keys()
        except (SafetensorError, AttributeError, RuntimeError) as error:
            pytest.fail(f"{bytes(content[8:end])!r} is refused by the library: {error}")
        assert shapes == header.shapes
        assert sorted(names) == sorted(shapes)
    assert 0 < taken < 1000
