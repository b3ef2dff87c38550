"""Every line is seen to be such that it can be made, before any weight is read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.jobs.checking import Asked, Terms, bad_lines, check_lines
from ldm_core.jobs.compositions import Compositions
from ldm_core.jobs.lines import read_lines
from ldm_core.jobs.making import Making
from ldm_core.plugins.registry import installed

NAME = "{index:03d}-{seed}"


def asked(path: Path, folder: Path, **terms: Any) -> Asked:
    choices = {"model": str(folder), "num_inference_steps": 2}
    compositions = Compositions(compose(choices, installed()), choices)
    usual = {"inputs": {}, "num_images": 1, "batch_size": 4, "name": NAME, "suffix": ".png"}
    return check_lines(read_lines(path), compositions, Making(), Terms(**{**usual, **terms}), 100)


def write(place: Path, name: str, *lines: str | dict[str, Any]) -> Path:
    path = place / name
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return path


GOOD = {"prompt": "a star"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({}, "needs 'prompt'"),
        ({**GOOD, "seed": -1}, "its 'seed' should be int, not -1"),
        ({**GOOD, "seed": 2**63 - 1, "width": 17}, "17"),
        ({**GOOD, "seed": "seven"}, "its 'seed' should be int, not 'seven'"),
        ({**GOOD, "steps": 0}, "its 'steps' should be int of at least 1, not 0"),
        ({**GOOD, "steps": "x", "seed": -1}, "as an integer; its 'seed' should be int, not -1"),
        ({**GOOD, "num_inference_steps": 0}, "its 'num_inference_steps' should be int of at least"),
        ({**GOOD, "memory": "100KiB", "width": 64}, "64x16"),
        ({**GOOD, "steps": 2, "num_inference_steps": 2}, "says 'num_inference_steps' twice"),
        ({**GOOD, "guidance_scale": "strong"}, "its 'guidance_scale' should be float"),
        ({**GOOD, "guidance_scale": 3, "guidance": {"scale": 2}}, "'guidance_scale' twice"),
        ({**GOOD, "scheduler": "dimm"}, "Did you mean 'ddim'?"),
        ({**GOOD, "scheduler": {"name": "ddim", "eta": "x"}}, "eta"),
        ({**GOOD, "scheduler": 3}, "'scheduler' should be a plugin's name"),
        ({**GOOD, "propmt": "a"}, "Did you mean 'prompt'?"),
        ({**GOOD, "model": "no-such-model"}, "no-such-model"),
        ({**GOOD, "conditioning": ["text", "image"], "image": "none.png"}, "none.png"),
        ({**GOOD, "conditioning": ["text", "image"], "image": "torn.png"}, "torn.png"),
        ({**GOOD, "conditioning": ["text", "image"], "image": "wide.png"}, "24x16"),
        ({**GOOD, "width": 16.5}, "its 'width' should be int of at least 1, not 16.5"),
        ({**GOOD, "file_name": "../a"}, "leads into another folder"),
        ({**GOOD, "file_name": "/tmp/a"}, "leads into another folder"),
        ({**GOOD, "file_name": "a\\b"}, "leads into another folder"),
        ({**GOOD, "file_name": ".."}, "leads into another folder"),
        ({**GOOD, "file_name": ".a"}, "would be hidden"),
        ({**GOOD, "file_name": " "}, "is empty"),
        ({**GOOD, "file_name": "a\nb"}, "cannot be shown"),
        ({**GOOD, "file_name": "a.jpg"}, "ends in .jpg, and the files are .png"),
        ({**GOOD, "file_name": "a" * 201}, "has 201 bytes"),
        ({**GOOD, "file_name": "nul.png"}, "is a device's on Windows"),
        ({**GOOD, "file_name": "a: b"}, "has :, which Windows takes in no name"),
        ({**GOOD, "file_name": "FIRST.png"}, "its file would be 'FIRST', as that of line 1"),
        ({**GOOD, "file_name": "ﬁrst"}, "as that of line 1"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_its_reason(
    line: dict[str, Any], words: str, folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (24, 16)).save(tmp_path / "wide.png")
    Image.effect_noise((16, 16), 90).convert("RGB").save(tmp_path / "torn.png")
    whole = (tmp_path / "torn.png").read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[:-200])
    first = {**GOOD, "file_name": "first"}
    path = write(tmp_path, "a.jsonl", first, line, GOOD)
    result = asked(path, folder)
    (bad,) = result.bad
    assert (bad.number, bad.index) == (2, 1)
    assert words in bad.reason
    made = [picture for batch in result.batches for picture in batch.pictures]
    assert [(p.index, p.line, p.seed) for p in made] == [(0, 1, 100), (2, 3, 102)]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("prompt,sede", "Did you mean 'seed'?"),
        ("prompt,class_label", "'class_label' is no column"),
        ("prompt;seed,negative_prompt", "'prompt;seed'"),
    ],
)
def test_a_column_that_means_nothing_is_refused_once(
    header: str, words: str, folder: Path, tmp_path: Path
) -> None:
    for cells in ("a,1", "a,"):
        with pytest.raises(LdmError) as error:
            asked(write(tmp_path, "a.csv", header, cells, cells), folder)
        assert words in error.value.message


def test_values_in_text_mean_what_they_do_in_json(folder: Path, tmp_path: Path) -> None:
    csv = write(
        tmp_path, "a.csv", "prompt,seed,steps,guidance_scale,scheduler,width,negative_prompt",
        "42, 7 ,3,2.5,ddim,24,", '"a, b",7.0,,,"{name = ""ddim"", eta = 0.5}",,ugly',
    )  # fmt: skip
    jsonl = write(
        tmp_path,
        "a.jsonl",
        {
            "prompt": "42",
            "seed": 7,
            "steps": 3,
            "guidance_scale": 2.5,
            "scheduler": "ddim",
            "width": 24,
        },
        {
            "prompt": "a, b",
            "seed": 7,
            "scheduler": {"name": "ddim", "eta": 0.5},
            "negative_prompt": "ugly",
        },
    )
    one, other = asked(csv, folder), asked(jsonl, folder)
    assert not one.bad
    plain = [[(p.seed, p.name, dict(p.inputs)) for p in b.pictures] for b in one.batches]
    assert plain == [[(p.seed, p.name, dict(p.inputs)) for p in b.pictures] for b in other.batches]
    assert [b.group for b in one.batches] == [b.group for b in other.batches]


@pytest.mark.parametrize("name", ["1.5", "true", "a, b.png"])
def test_the_name_of_a_file_is_never_a_number(name: str, folder: Path, tmp_path: Path) -> None:
    """It is looked for beside the file of lines, wherever the command runs."""
    Image.new("RGB", (16, 16)).save(tmp_path / name, format="png")
    line = f'a,"{name}","[{{name=""text""}}, {{name=""image""}}]"'
    result = asked(write(tmp_path, "a.csv", "prompt,image,conditioning", line), folder)
    assert not result.bad
    assert result.batches[0].pictures[0].inputs["image"] == str(tmp_path / name)


def test_lines_that_can_share_a_batch_do(folder: Path, tmp_path: Path) -> None:
    """In the order in which groups first appear, cut by the size of a batch."""
    steps = [2, 3, 2, 2, 3, 2, 2, 3]
    lines = [{"prompt": f"a {i}", "steps": s, "seed": i} for i, s in enumerate(steps)]
    batches = asked(write(tmp_path, "a.jsonl", *lines), folder).batches
    assert [[p.index for p in b.pictures] for b in batches] == [[0, 2, 3, 5], [6], [1, 4, 7]]


def test_lines_of_one_model_come_together(folder: Path, copied: Path, tmp_path: Path) -> None:
    models = [None, str(copied), None, str(copied)]
    lines = [{**GOOD, "model": m, "seed": i} for i, m in enumerate(models)]
    batches = asked(write(tmp_path, "a.jsonl", *lines), folder, batch_size=1).batches
    assert [b.pictures[0].index for b in batches] == [0, 2, 1, 3]


def test_each_line_has_as_many_pictures_as_are_asked_for(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", GOOD, {**GOOD, "seed": 7}, {**GOOD, "file_name": "x"})
    result = asked(path, folder, num_images=2)
    made = [(p.index, p.seed, p.name) for b in result.batches for p in b.pictures]
    assert made == [
        (0, 100, "000-100"), (1, 101, "001-101"), (2, 7, "002-7"), (3, 8, "003-8"),
    ]  # fmt: skip
    assert "file_name is one" in result.bad[0].reason


def test_twenty_bad_lines_are_named_and_the_others_counted(folder: Path, tmp_path: Path) -> None:
    lines = ["prompt,seed"] + ["a,x"] * 23
    message = bad_lines(asked(write(tmp_path, "a.csv", *lines), folder).bad, "a.csv")
    assert message.startswith("23 lines are bad in 'a.csv':\n  line 2: its 'seed'")
    assert message.endswith("\n  and 3 more")
    assert message.count("\n") == 21


def test_ten_thousand_lines_are_checked_in_seconds_without_torch(
    folder: Path, tmp_path: Path
) -> None:
    """With 80 different choices; the processor's time, whatever else the machine does."""
    lines = [
        {"prompt": f"a {i}", "scheduler": ["ddim", "euler"][i % 2], "guidance_scale": i % 40}
        for i in range(10_000)
    ]
    path = write(tmp_path, "a.jsonl", *lines)
    code = (
        "import sys, time\n"
        "from ldm_core.jobs.job import Job\n"
        "since = time.process_time()\n"
        f"job = Job.open({str(path)!r}, {str(tmp_path / 'out')!r}, "
        f"choices={{'model': {str(folder)!r}}})\n"
        "assert sum(1 for _ in job.pictures) == 10_000\n"
        "print(time.process_time() - since, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    seconds, torch = run.stdout.split()
    assert float(seconds) < 5
    assert torch == "False"


@pytest.mark.parametrize(
    ("line", "plugin", "of_folders"),
    [
        ({**GOOD, "guidance": "perturbed_attention"}, "ldm-core:perturbed_attention", True),
        ({**GOOD, "memory": "1GiB"}, "ldm-core:classifier_free", False),
    ],
)
def test_what_all_lines_choose_is_known(
    line: dict[str, Any], plugin: str, of_folders: bool, folder: Path, tmp_path: Path
) -> None:
    job = asked(write(tmp_path, "a.jsonl", GOOD, line), folder)
    assert {"ldm-core:classifier_free", plugin} <= {one.id for one in job.plugins}
    assert job.of_folders == of_folders
