"""A job makes the picture of each line as a call of its own does, once, and can be gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ldm_core import Pipeline
from ldm_core.errors import LdmError
from ldm_core.jobs.events import Begun, Event, Failed, Made
from ldm_core.jobs.folder import JobFolder
from ldm_core.jobs.job import Job
from ldm_core.media.png import read_png

LINES: list[dict[str, Any]] = [
    {"prompt": "a star", "seed": 3},
    {"prompt": "a moon", "seed": 4, "width": 24, "guidance_scale": 2.0},
    {"prompt": "a sun", "scheduler": {"name": "dpmpp_2m"}, "steps": 3},
    {"prompt": "a star", "negative_prompt": "ugly", "seed": 3},
    {"prompt": "a cat", "conditioning": ["text", "image"], "image": "noise.png", "seed": 5},
    {"prompt": "a dog", "file_name": "dog.png"},
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return tmp_path


def write(place: Path, *lines: dict[str, Any], name: str = "a.jsonl") -> Path:
    path = place / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def ledger(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.png")}


def opened(place: Path, folder: Path, *lines: dict[str, Any], **arguments: Any) -> Job:
    choices = {"model": str(folder), "num_inference_steps": 2}
    usual = {"choices": choices, "seed": 10}
    return Job.open(write(place, *lines), place / "out", **{**usual, **arguments})


def kinds(events: Sequence[Event]) -> list[tuple[str, int]]:
    return [(type(e).__name__, e.index) for e in events if isinstance(e, Made | Failed)]


def test_each_picture_is_what_a_call_of_its_own_makes(
    folder: Path, place: Path, pipe: Pipeline
) -> None:
    made = {e.index: e for e in opened(place, folder, *LINES).run() if isinstance(e, Made)}
    assert [made[i].path.name for i in range(6)] == [
        "00000-3.png", "00001-4.png", "00002-12.png", "00003-3.png", "00004-5.png", "dog.png",
    ]  # fmt: skip
    base = pipe.replace(num_inference_steps=2)
    for index, line in enumerate(LINES):
        own = base.replace(**{n: line[n] for n in ("scheduler", "conditioning") if n in line})
        call = {
            n: v for n, v in line.items() if n in ("negative_prompt", "width", "guidance_scale")
        }
        if "image" in line:
            call["image"] = place / "noise.png"
        seed = line.get("seed", 10 + index)
        alone = own(line["prompt"], seed=seed, num_inference_steps=line.get("steps"), **call)
        image, manifest = read_png(made[index].path)
        difference = np.asarray(image, int) - np.asarray(alone.images[0], int)
        assert np.abs(difference).max() <= 1
        assert manifest["seed"] == seed
        assert manifest["inputs"] == json.loads(
            json.dumps(alone.manifests[0]["inputs"], default=str)
        )
    assert made[4].manifest["inputs"]["image"] == str(place / "noise.png")


def test_it_is_done_once_and_what_is_gone_is_made_again(
    ldm: Any, folder: Path, place: Path
) -> None:
    command = ["generate", "--prompts", write(place, *LINES), "--model", folder, "--steps", "2"]
    code, out, _ = ldm(*command, "--out", "o", "--seed", "10")
    assert (code, len(out.split())) == (0, 6)
    before = files(place / "o")
    lines = ledger(place / "o")
    assert sorted(line["index"] for line in lines) == list(range(6))
    assert {line["file"] for line in lines} == set(before)
    code, out, error = ldm(*command, "--out", "o")
    assert (code, out) == (0, "")
    assert "goes on with the job in 'o': 6 of 6 pictures are there" in error
    (place / "o" / "dog.png").unlink()
    code, out, error = ldm(*command, "--out", "o", "--resume", "--seed", "10")
    assert (code, out) == (0, "o/dog.png\n")
    assert "1 picture is no longer where the ledger says" in error
    image = np.asarray(Image.open(place / "o" / "dog.png"), int)
    (place / "dog.png").write_bytes(before["dog.png"])
    assert np.abs(image - np.asarray(Image.open(place / "dog.png"), int)).max() <= 1


def test_a_random_seed_stays_with_the_job(ldm: Any, folder: Path, place: Path) -> None:
    path = write(place, {"prompt": "a"}, {"prompt": "b"})
    command = ["generate", "--prompts", path, "--model", folder, "--steps", "1", "--out", "o"]
    assert ldm(*command)[0] == 0
    before = files(place / "o")
    next(iter((place / "o").glob("00001*"))).unlink()
    assert ldm(*command)[0] == 0
    assert files(place / "o").keys() == before.keys()
    (line,) = [read_png(place / "o" / name)[1] for name in before if name.startswith("00001")]
    assert line["seed"] == json.loads((place / "o" / "job.json").read_text())["seed"] + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--seed", "11"], "differs in seed"),
        (["--steps", "2"], "differs in recipe"),
        (["--negative-prompt", "ugly"], "differs in inputs"),
        (["--name", "{seed}-{index}"], "differs in name"),
        (["--num-images", "2"], "differs in num_images"),
        (["--prompts", "b.jsonl"], "differs in the lines"),
    ],
)
def test_a_folder_of_another_job_is_refused(
    change: list[str], words: str, ldm: Any, folder: Path, place: Path
) -> None:
    write(place, {"prompt": "b"}, name="b.jsonl")
    options = {"--prompts": str(write(place, {"prompt": "a"})), "--steps": "1", "--seed": "10"}
    command = ["generate", "--model", folder, "--out", "o"]
    assert ldm(*command, *[word for pair in options.items() for word in pair])[0] == 0
    before = files(place / "o")
    options |= dict([change])
    code, _, error = ldm(*command, *[word for pair in options.items() for word in pair])
    assert code == 2
    assert words in error
    assert files(place / "o") == before


@pytest.mark.parametrize(
    "record",
    ["", "[]", "{}", "no", '{"format": 1, "seed": "7"}', '{"format": 1, "seed": -1}',
     '{"format": 2, "seed": 7}', '{"format": 1}'],
)  # fmt: skip
def test_a_record_of_no_job_is_refused(record: str, ldm: Any, folder: Path, place: Path) -> None:
    path = write(place, {"prompt": "a"})
    (place / "o").mkdir()
    (place / "o" / "job.json").write_text(record)
    code, _, error = ldm("generate", "--prompts", path, "--model", folder, "--out", "o")
    assert code == 2
    assert "is no record of a job" in error
    assert [file.name for file in (place / "o").iterdir()] == ["job.json"]


def test_a_folder_that_is_removed_as_a_job_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process had written the record, and then somebody removed it with its folder."""

    def taken(*_: Any) -> None:
        raise FileExistsError

    monkeypatch.setattr("ldm_core.jobs.folder.write_named", taken)
    with pytest.raises(FileNotFoundError, match=r"job\.json"):
        JobFolder(tmp_path).create({})


def test_bad_lines_stop_it_before_anything_is_made_or_are_left_out(
    ldm: Any, folder: Path, place: Path
) -> None:
    path = write(place, {"prompt": "a"}, {"prompt": "b", "steps": 0}, {"prompt": "c"})
    command = ["generate", "--prompts", path, "--model", folder, "--steps", "1", "--out", "o"]
    code, out, error = ldm(*command)
    assert (code, out) == (2, "")
    assert "1 line is bad in 'a.jsonl':\n  line 2: its 'steps'" in error
    assert "--skip-bad leaves them out" in error
    assert not (place / "o").exists()
    code, out, error = ldm(*command, "--skip-bad", "--seed", "1")
    assert (code, out.split()) == (1, ["o/00000-1.png", "o/00002-3.png"])
    assert "line 2: its 'steps'" in error


def test_what_died_between_the_file_and_the_ledger_is_taken_over(folder: Path, place: Path) -> None:
    list(opened(place, folder, *LINES).run())
    path = place / "out" / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]) + lines[-2][:30])
    before = {p.name: p.stat().st_mtime_ns for p in (place / "out").glob("*.png")}
    events = list(opened(place, folder, *LINES).run())
    assert [e.adopted for e in events if isinstance(e, Made)] == [True, True]
    assert events[0] == Begun(6, 4, 0)
    assert {p.name: p.stat().st_mtime_ns for p in (place / "out").glob("*.png")} == before
    assert sorted(json.loads(line)["sha256"] for line in lines) == sorted(
        line["sha256"] for line in ledger(place / "out")
    )


@pytest.mark.parametrize("kind", ["other", "torn", "folder", "link"])
def test_a_name_that_is_anothers_is_refused_before_weights(
    kind: str, folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(opened(place, folder, LINES[0]).run())
    path, whole = place / "out" / "00000-3.png", (place / "out" / "00000-3.png").read_bytes()
    (place / "out" / "results.jsonl").unlink()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(place / "nowhere")
    else:
        path.write_bytes(whole[:-100] if kind == "torn" else (place / "noise.png").read_bytes())
    monkeypatch.setattr("ldm_core.run.pipeline.load_model", lambda _: pytest.fail("weights"))
    with pytest.raises(LdmError, match="is there already, and is no picture of this job's line"):
        list(opened(place, folder, LINES[0]).run())
    assert os.path.lexists(path)


def test_hashes_are_checked_on_request(ldm: Any, folder: Path, place: Path) -> None:
    path = write(place, {"prompt": "a"}, {"prompt": "b"})
    command = ["generate", "--prompts", path, "--model", folder, "--steps", "1", "--out", "o"]
    ldm(*command, "--seed", "1")
    assert ldm(*command, "--check-hashes")[0] == 0
    changed = place / "o" / "00001-2.png"
    changed.write_bytes(changed.read_bytes() + b"\0")
    assert ldm(*command)[0] == 0
    code, _, error = ldm(*command, "--check-hashes")
    assert code == 2
    assert "1 of 2 files are not what the ledger says: 00001-2.png" in error
    assert "remove them, or move them" in error
    assert error.rstrip().endswith("2 pictures are in o")
    changed.unlink()
    assert ldm(*command, "--check-hashes")[:2] == (0, "o/00001-2.png\n")


def test_what_is_not_finite_is_in_the_ledger_and_the_rest_is_made(
    ldm: Any, folder: Path, place: Path
) -> None:
    path = write(place, {"prompt": "a"}, {"prompt": "b", "guidance_scale": 1e38}, {"prompt": "c"})
    command = ["generate", "--prompts", path, "--model", folder, "--steps", "2", "--out", "o"]
    for _ in range(2):  # another start tries it again
        code, _, error = ldm(*command, "--seed", "1")
        assert code == 1
        assert "error: line 2: the image of seed 2 came out not finite" in error
    lines = ledger(place / "o")
    assert sorted(line["index"] for line in lines) == [0, 1, 1, 2]
    assert all(("error" in line) == (line["index"] == 1) for line in lines)
    assert sorted(files(place / "o")) == ["00000-1.png", "00002-3.png"]


def test_an_input_that_is_gone_when_its_turn_comes_takes_no_other_with_it(
    folder: Path, place: Path
) -> None:
    Image.open(place / "noise.png").save(place / "gone.png")
    of_image = {"conditioning": ["text", "image"], "prompt": "a"}
    names = ["noise.png", "gone.png", "noise.png"]
    job = opened(place, folder, *[{**of_image, "image": n} for n in names])
    assert len(job.asked.batches) == 1
    (place / "gone.png").unlink()
    events = list(job.run())
    assert sorted(kinds(events)) == [("Failed", 1), ("Made", 0), ("Made", 2)]
    failed = next(e for e in events if isinstance(e, Failed))
    assert "gone.png" in failed.error
    assert isinstance(failed.cause, LdmError)  # with its traceback, for who asks for that
    assert failed.cause.__traceback__ is not None


def test_a_fault_of_a_program_ends_it_where_nothing_else_comes_of_it(
    folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    job = opened(place, folder, *[{"prompt": f"{i}"} for i in range(9)], batch_size=2)
    monkeypatch.setattr(type(job.making), "batches", broken)
    events: list[Event] = []
    with pytest.raises(RuntimeError, match="broken"):
        events += job.run()
    assert [line["index"] for line in ledger(place / "out")] == [0, 1, 2]


def test_one_models_weights_are_held_at_a_time(
    folder: Path, copied: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gc
    import weakref

    from ldm_core.run import pipeline as module

    held: list[weakref.ref[Any]] = []
    load = module.load_model

    def counted(composition: Any) -> Any:
        gc.collect()
        assert not any(reference() is not None for reference in held)
        model = load(composition)
        held.append(weakref.ref(model))
        return model

    monkeypatch.setattr(module, "load_model", counted)
    lines = [{"prompt": "a", "model": [str(folder), str(copied)][i % 2]} for i in range(4)]
    events = list(opened(place, folder, *lines, batch_size=1).run())
    assert kinds(events) == [("Made", 0), ("Made", 2), ("Made", 1), ("Made", 3)]
    assert len(held) == 2


def test_pictures_are_as_any_and_can_be_replayed(ldm: Any, folder: Path, place: Path) -> None:
    path = write(place, LINES[1], LINES[4])
    ldm(
        "generate",
        "--prompts",
        path,
        "--model",
        folder,
        "--steps",
        "2",
        "--out",
        "o",
        "--seed",
        "1",
    )
    for name in files(place / "o"):
        code, out, _ = ldm("replay", f"o/{name}", "--allow-files")
        assert code == 0
        assert "equal" in out or "identical" in out or "same" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--skip-bad"], "--skip-bad is for a job"),
        (["--workers", "2"], "--workers is for a job"),
        (["--prompts", "a.jsonl", "a star"], "the prompts are given twice"),
        (["--prompts", "a.jsonl", "--sheet", "s.png"], "writes no contact sheet"),
        (["--prompts", "a.jsonl", "--resume"], "there is no job in 'o' to go on with"),
        (["--prompts", "a.jsonl", "--input", "class_label=3"], "'class_label' is no input"),
        (["--prompts", "a.jsonl", "--name", "x"], "its file would be 'x'"),
        (["--prompts", "none.csv"], "there is no file of prompts"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], words: str, ldm: Any, folder: Path, place: Path
) -> None:
    write(place, {"prompt": "a"}, {"prompt": "b"})
    more = ["a star"] if "--prompts" not in options else []
    code, _, error = ldm("generate", *more, *options, "--model", folder, "--out", "o")
    assert code == 2
    assert words in error
    assert not (place / "o").exists()


def test_two_jobs_of_one_process_share_the_work(folder: Path, place: Path) -> None:
    """Locks of the system say nothing between threads."""
    from threading import Thread

    lines = [{"prompt": f"a {i}"} for i in range(12)]
    jobs = [opened(place, folder, *lines, batch_size=2) for _ in range(2)]
    made: list[list[Event]] = [[], []]
    threads = [Thread(target=lambda i=i: made[i].extend(jobs[i].run())) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kinds(made[0] + made[1])) == [("Made", i) for i in range(12)]
    assert sorted(line["index"] for line in ledger(place / "out")) == list(range(12))


def test_a_warning_is_said_once(
    ldm: Any, folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    from ldm_core.errors import LdmWarning
    from ldm_core.jobs.making import Making

    batches = Making.batches

    def warned(self: Making, pipe: Any, call: Any) -> Any:
        warnings.warn("mind this", LdmWarning, stacklevel=2)
        return batches(self, pipe, call)

    monkeypatch.setattr(Making, "batches", warned)
    path = write(place, *[{"prompt": f"a {i}"} for i in range(4)])
    command = ["generate", "--prompts", path, "--model", folder, "--steps", "1", "--out", "o"]
    code, _, error = ldm(*command, "--batch-size", "1")
    assert code == 0
    assert error.count("warning: mind this") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--engine", "foo"], "there is no engine 'foo'"),
        (["--device", "cuda:7"], "cuda"),
        (["--memory", "100KiB"], "100 KiB"),
    ],
)
def test_what_is_refused_claims_no_folder(
    options: list[str], words: str, ldm: Any, folder: Path, place: Path
) -> None:
    path = write(place, {"prompt": "a"}, {"prompt": "b"})
    command = ["generate", "--prompts", path, "--model", folder, "--steps", "1", "--out", "o"]
    code, _, error = ldm(*command, *options)
    assert code == 2
    assert words in error
    assert not (place / "o").exists()


def test_where_it_is_computed_is_no_part_of_a_job(ldm: Any, folder: Path, place: Path) -> None:
    """Begun with a budget, gone on with an offload, and ended without; a picture that was made
    with the one and has no entry in the ledger is taken over by the next."""
    path = write(place, *[{"prompt": f"{i}"} for i in range(3)])
    command = ["generate", "--prompts", path, "--model", folder, "--steps", "1", "--out", "o"]
    command += ["--seed", "1"]
    assert ldm(*command, "--memory", "2GiB")[0] == 0
    for options in (["--set", "converters=['group_offload']"], ["--device", "cpu"]):
        before = files(place / "o")
        (place / "o" / "00001-2.png").unlink()
        lines = (place / "o" / "results.jsonl").read_text().splitlines(keepends=True)
        left = [line for line in lines if json.loads(line)["index"] == 0]
        (place / "o" / "results.jsonl").write_text("".join(left))
        code, out, error = ldm(*command, *options)
        assert code == 0, error
        assert sorted(out.split()) == ["o/00001-2.png", "o/00002-3.png"]
        for name in before.keys() - {"00001-2.png"}:
            assert (place / "o" / name).read_bytes() == before[name]
    assert ldm(*command, "--scheduler", "ddim")[0] == 2


def test_a_job_that_made_nothing_gives_way_to_another(
    ldm: Any, folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldm_core.jobs.claims import Claims

    path = write(place, {"prompt": "a"})
    command = ["generate", "--prompts", path, "--model", folder, "--out", "out", "--steps"]

    def broken(*_: Any) -> Any:
        raise LdmError("no such weights")

    with monkeypatch.context() as patch:
        patch.setattr("ldm_core.run.pipeline.load_model", broken)
        assert ldm(*command, "1")[0] == 2
    seed = json.loads((place / "out" / "job.json").read_text())["seed"]
    with monkeypatch.context() as patch:
        patch.setattr("ldm_core.run.pipeline.load_model", broken)
        assert ldm(*command, "1")[0] == 2
    assert json.loads((place / "out" / "job.json").read_text())["seed"] == seed
    job = opened(place, folder, {"prompt": "b"})  # which has not begun to make anything
    claims = Claims(job.folder.claims)
    assert claims.take([0])  # and now does
    assert "holds another job" in ldm(*command, "1", "--seed", "5")[2]
    claims.release([0])
    write(place, {"prompt": "a"})
    assert ldm(*command, "1", "--seed", "5")[0] == 0
    claims.close()
    with pytest.raises(LdmError, match="another job was begun in"):
        list(job.run())
    assert sorted(files(place / "out")) == ["00000-5.png"]
    code, _, error = ldm(*command, "2")
    assert code == 2
    assert "it differs in recipe" in error


def test_pictures_without_an_entry_count_as_there(
    ldm: Any, folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full when the ledger is to be written."""
    import errno

    from ldm_core.jobs.ledger import Ledger

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = write(place, {"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"})
    command = ["generate", "--prompts", path, "--model", folder, "--steps", "1", "--out", "o"]
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", full)
        code, _, error = ldm(*command, "--batch-size", "2")
    assert code == 3
    assert len(files(place / "o")) == 2
    assert "2 pictures are in o; the same command goes on with the rest" in error


@pytest.mark.parametrize(
    ("lines", "count", "sizes"), [(5, 2, [3, 2]), (5, 1, [5]), (20, 2, [8, 8, 4]), (2, 4, [1, 1])]
)
def test_no_batch_is_larger_than_a_process_share(
    lines: int, count: int, sizes: list[int], folder: Path, place: Path
) -> None:
    several = [{"prompt": f"{i}"} for i in range(lines)]
    job = opened(place, folder, *several, processes=count)
    assert [len(batch.pictures) for batch in job.asked.batches] == sizes


def test_pictures_in_rows_are_written_once_all_is_checked(folder: Path, place: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    from datasets.features import Image as Column

    features = datasets.Features({"prompt": datasets.Value("string"), "image": Column()})
    data = (place / "noise.png").read_bytes()
    rows = {"prompt": ["a", "b"], "image": [{"bytes": data, "path": None}] * 2}
    (place / "rows").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(place / "rows/a.parquet"))
    choices = {"model": str(folder), "num_inference_steps": 2, "conditioning": ["text", "image"]}

    def job(out: str, **more: Any) -> Job:
        return Job.open(place / "rows", place / out, choices=choices, seed=1, **more)

    with pytest.raises(LdmError, match="its file would be 'x'"):
        job("out", name="x")
    assert not (place / "out").exists()
    made = [event for event in job("out").run() if isinstance(event, Made)]
    (extracted,) = (place / "out" / "inputs").iterdir()
    assert extracted.read_bytes() == data
    assert [event.manifest["inputs"]["image"] for event in made] == [str(extracted)] * 2
    assert job("out").goes_on
    (place / "out").rename(place / "elsewhere")
    assert job("elsewhere").goes_on
