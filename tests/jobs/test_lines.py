"""Files of lines: what each kind says, and one clear message for what no line can be made of."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ldm_core.errors import LdmError
from ldm_core.jobs.lines import Lines, read_lines


def read(folder: Path, name: str, data: str | bytes) -> Lines:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_lines(path)


def told(lines: Lines) -> list[tuple[int, int, dict[str, Any]]]:
    return [(line.index, line.number, dict(line.values)) for line in lines.lines]


@pytest.mark.parametrize(
    ("name", "data", "rows"),
    [
        (
            "a.txt",
            "a cat\n\n  a dog \r\na,b",
            [(1, {"prompt": "a cat"}), (3, {"prompt": "a dog"}), (4, {"prompt": "a,b"})],
        ),
        ("a.txt", "one\rtwo\r", [(1, {"prompt": "one"}), (2, {"prompt": "two"})]),
        ("a.txt", "a\u2028b\n", [(1, {"prompt": "a\u2028b"})]),
        ("a.txt", "\ufeffa cat", [(1, {"prompt": "a cat"})]),
        ("A.CSV", "\ufeffprompt,seed\r\na cat,7\r\n", [(2, {"prompt": "a cat", "seed": "7"})]),
        (
            "a.csv",
            'prompt,seed\n"a ""big""\ncat, red",7\n\nx,\n',
            [(2, {"prompt": 'a "big"\ncat, red', "seed": "7"}), (5, {"prompt": "x", "seed": None})],
        ),
        ("a.tsv", "prompt\tseed\na, b\t1\n", [(2, {"prompt": "a, b", "seed": "1"})]),
        (
            "a.jsonl",
            '{"prompt": "a\\u00e9"}\n\n{"scheduler": {"name": "ddim", "eta": 1}, "seed": null}\n',
            [(1, {"prompt": "aé"}), (3, {"scheduler": {"name": "ddim", "eta": 1}, "seed": None})],
        ),
    ],
)
def test_what_a_file_says(
    name: str, data: str, rows: list[tuple[int, dict[str, Any]]], tmp_path: Path
) -> None:
    lines = read(tmp_path, name, data)
    assert told(lines) == [(index, number, values) for index, (number, values) in enumerate(rows)]
    assert not lines.bad


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", "", "is empty"),
        ("a.txt", " \n\n", "is empty"),
        ("a.csv", "prompt,seed\n", "is empty"),
        ("a.csv", "", "is empty"),
        ("a.txt", b"a\nb\xff\n", "line 2 of 'a.txt' is not UTF-8 text (byte 0xff)"),
        ("a.txt", "a".encode("utf-16"), "UTF-16"),
        ("a.txt", b"a\nb\x00c", "line 2 of 'a.txt' has a zero byte"),
        ("a.csv", "prompt,seed,prompt\na,1,b\n", "2 columns 'prompt'"),
        ("a.csv", "prompt,,seed\na,1,b\n", "column 2 has no name"),
        ("a.csv", 'prompt\n"a\nb\n', "line 2 cannot be read"),
        ("a.csv", 'prompt\n"a"b\n', "line 2 cannot be read"),
        ("a.csv", "prompt\n" + "a" * 200_000, "line 2 cannot be read"),
        ("a.docx", "a", "should end in one of .txt, .csv"),
        ("prompts", "a", "should end in one of .txt, .csv"),
    ],
)
def test_a_file_of_which_nothing_can_be_made(
    name: str, data: str | bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(LdmError) as error:
        read(tmp_path, name, data)
    assert words in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="there is no file of prompts"):
        read_lines(tmp_path / "a.txt")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(LdmError, match="no plain file"):
        read_lines(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("a.csv", "a,1,2", "it has 3 values, and there are 2 columns"),
        ("a.csv", "a", "it has 1 values, and there are 2 columns"),
        ("a.jsonl", "[1, 2]", "should be a table"),
        ("a.jsonl", "7", "should be a table"),
        ("a.jsonl", '{"seed": NaN}', "it has no NaN"),
        ("a.jsonl", '{"seed": -Infinity}', "it has no -Infinity"),
        ("a.jsonl", '{"seed": 1e999}', "a number too large"),
        ("a.jsonl", '{"seed": 99999999999999999999}', "more than 64 bits"),
        ("a.jsonl", '{"prompt": "\\ud800"}', "half a letter"),
        ("a.jsonl", '{"prompt": "a", "prompt": "b"}', "it says 'prompt' 2 times"),
        ("a.jsonl", '{"scheduler": {"eta": 1, "eta": 2}}', "it says 'eta' 2 times"),
        ("a.jsonl", "{'prompt': 'a'}", "it is no JSON"),
        ("a.jsonl", "[" * 100_000, "too deep"),
    ],
)
def test_a_bad_line_has_its_number_and_the_others_stay(
    name: str, line: str, words: str, tmp_path: Path
) -> None:
    good = {"a.csv": ("prompt,seed", "x,1"), "a.jsonl": ('{"prompt": "y"}', '{"prompt": "x"}')}
    first, last = good[name]
    lines = read(tmp_path, name, f"{first}\n{line}\n{last}\n")
    (bad,) = lines.bad
    assert words in bad.reason
    assert bad.number == 2
    assert lines.lines[-1].number == 3
    assert lines.lines[-1].index == bad.index + 1


def test_a_data_set_is_read_from_its_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra 'datasets' is not installed")
    from PIL import Image

    asked: list[Any] = []

    def nowhere() -> Any:
        asked.append("the network")
        raise OSError("no network here")

    monkeypatch.setattr("datasets.load.get_session", nowhere)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    pictures = [Image.new("RGB", (8, 8), (40 * i, 0, 0)) for i in range(3)]
    rows = datasets.Dataset.from_dict(
        {"prompt": ["a", "b", "c"], "seed": [1, None, 3], "image": pictures}
    )
    for name in ("parquet", "disk"):
        (tmp_path / name).mkdir()
    rows.to_parquet(str(tmp_path / "parquet" / "train.parquet"))
    rows.save_to_disk(str(tmp_path / "disk"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i}.png")
    (folder / "metadata.jsonl").write_text(
        "".join(json.dumps({"file_name": f"{i}.png", "prompt": "abc"[i]}) + "\n" for i in range(3))
    )
    for name in ("parquet", "disk", "pictures", "parquet/train.parquet"):
        lines = read_lines(tmp_path / name, tmp_path / "held")
        assert [line.values["prompt"] for line in lines.lines] == ["a", "b", "c"]
        for line, picture in zip(lines.lines, pictures, strict=True):
            with Image.open(line.values["image"]) as there:
                assert there.tobytes() == picture.tobytes()
    assert asked == []
    assert not (tmp_path / "cache").exists()
    assert datasets.config.HF_UPDATE_DOWNLOAD_COUNTS  # as it was
    assert len(list((tmp_path / "held").iterdir())) == 3
    splits = datasets.DatasetDict({"train": rows, "test": rows})
    splits.save_to_disk(str(tmp_path / "splits"))
    with pytest.raises(LdmError, match="2 splits: train, test"):
        read_lines(tmp_path / "splits")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LdmError, match="holds no data set"):
        read_lines(tmp_path / "empty")
    (tmp_path / "parquet" / "train.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(LdmError, match="cannot be read"):
        read_lines(tmp_path / "parquet")
