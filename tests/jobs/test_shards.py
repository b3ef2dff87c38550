"""Files of a job in folders of so many, or in WebDataset archives of them."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from audited import audited
from ldm_core.errors import LdmError
from ldm_core.jobs.job import Job
from ldm_core.media.picture_manifests import read_picture

LINES = 7
PROMPTS = [f"a star, number {i}" for i in range(LINES)]


class Killed(BaseException):
    """Nothing hears of it, as of a kill."""


@pytest.fixture
def run(ldm: Any, folder: Path) -> Any:
    """Run a job of seven lines."""
    Path("lines.txt").write_text("".join(f"{prompt}\n" for prompt in PROMPTS))
    options = ("--model", folder, "--steps", 1, "--seed", 7, "--batch-size", 2)

    def job(out: str, *more: Any) -> tuple[int, str, str]:
        result: tuple[int, str, str] = ldm(
            "generate", "--prompts", "lines.txt", *options, "--out", out, *more
        )
        return result

    return job


ARCHIVES = ("--shards", "webdataset", "--shard-size", 3)


def files_in(out: str) -> dict[str, bytes]:
    """The files of a job's folder that a person sees, but what the job keeps of itself."""
    own = ("job.json", "results.jsonl")
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(Path(out).rglob("*"))
        if path.is_file() and path.name not in own and not path.name.startswith(".ldm")
    }


def ledger(out: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in Path(out, "results.jsonl").read_text().splitlines()]
    return sorted(lines, key=lambda line: line["index"])


def test_folders_hold_so_many_each(run: Any) -> None:
    assert run("plain")[0] == 0
    plain = files_in("plain")
    code, out, err = run("out", "--shards", "folders", "--shard-size", 3)
    assert code == 0, err
    names = [f"0000{i // 3}/0000{i}-{7 + i}.png" for i in range(LINES)]
    assert sorted(out.split()) == [f"out/{name}" for name in names]
    there = files_in("out")
    assert there == {name: plain[Path(name).name] for name in names}
    assert [line["file"] for line in ledger("out")] == names
    (Path("out") / names[3]).write_bytes(b"")
    code, _, err = run("out", "--shards", "folders", "--shard-size", 3, "--check-hashes")
    assert code == 2
    assert names[3] in err
    (Path("out") / names[3]).write_bytes(there[names[3]])
    code, out, err = run("out", "--shards", "folders", "--shard-size", 3, "--check-hashes")
    assert (code, out) == (0, ""), err


def test_an_archive_holds_each_sample_in_the_order_of_the_lines(run: Any) -> None:
    assert run("plain")[0] == 0
    plain = files_in("plain")
    code, out, err = run("out", *ARCHIVES)
    assert code == 0, err
    assert sorted(files_in("out")) == ["00000.tar", "00001.tar", "00002.tar"]
    assert out.split() == ["out/00000.tar", "out/00001.tar", "out/00002.tar"]
    names, contents = [], {}
    for number in range(3):
        with tarfile.open(f"out/0000{number}.tar") as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
                names.append((number, member.name))
                file = tar.extractfile(member)
                assert file is not None
                contents[member.name] = file.read()
    keys = [f"0000{i}-{7 + i}" for i in range(LINES)]
    assert names == [
        (i // 3, f"{keys[i]}.{s}") for i in range(LINES) for s in ("png", "json", "txt")
    ]
    for key, prompt in zip(keys, PROMPTS, strict=True):
        assert contents[f"{key}.png"] == plain[f"{key}.png"]
        assert contents[f"{key}.txt"] == prompt.encode()
        assert json.loads(contents[f"{key}.json"]) == read_picture(Path("plain", f"{key}.png"))[1]
    for i, line in enumerate(ledger("out")):
        assert (line["tar"], line["member"]) == (f"0000{i // 3}.tar", f"{keys[i]}.png")
        assert line["sha256"] == hashlib.sha256(contents[line["member"]]).hexdigest()


def test_archives_are_events_of_their_own(run: Any) -> None:
    code, out, _ = run("out", *ARCHIVES, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    packed = [event["path"] for event in events if event["event"] == "packed"]
    assert packed == [f"out/0000{i}.tar" for i in range(3)]
    made = {event["index"]: event["archive"] for event in events if event["event"] == "made"}
    assert made == {i: packed[i // 3] for i in range(LINES)}


def test_archives_are_the_same_whoever_made_them(run: Any) -> None:
    assert run("one", *ARCHIVES)[0] == 0
    assert run("two", *ARCHIVES, "--batch-size", 5)[0] == 0
    assert files_in("one") == files_in("two")


def test_another_program_reads_the_archives(run: Any) -> None:
    webdataset = pytest.importorskip("webdataset", reason="the package webdataset is not installed")
    assert run("out", *ARCHIVES)[0] == 0
    assert run("plain")[0] == 0
    data = webdataset.WebDataset("out/{00000..00002}.tar", shardshuffle=False).decode("rgb8")
    samples = list(data)
    assert [sample["txt"] for sample in samples] == PROMPTS
    for sample in samples:
        image, manifest = read_picture(Path("plain", f"{sample['__key__']}.png"))
        assert sample["json"] == manifest
        assert sample["png"].tobytes() == image.tobytes()


def test_hashes_are_checked_inside_archives(run: Any) -> None:
    assert run("out", *ARCHIVES)[0] == 0
    code, out, err = run("out", *ARCHIVES, "--check-hashes")
    assert (code, out) == (0, ""), err
    path = Path("out/00001.tar")
    data = bytearray(path.read_bytes())
    data[512 + 100] ^= 1  # within the first picture
    path.write_bytes(data)
    code, _, err = run("out", *ARCHIVES, "--check-hashes")
    assert code == 2
    assert "1 of 7 files are not what the ledger says: 00001.tar: 00003-10.png" in err


def test_what_is_gone_is_made_again(run: Any) -> None:
    assert run("out", *ARCHIVES)[0] == 0
    whole = files_in("out")
    Path("out/00001.tar").unlink()
    code, out, err = run("out", *ARCHIVES, "--check-hashes")
    assert code == 0, err
    assert out.split() == ["out/00001.tar"]
    assert files_in("out") == whole


@pytest.mark.parametrize(
    "event", [pytest.param("open", marks=pytest.mark.slow), "os.link", "os.remove", "os.rmdir"]
)
def test_a_kill_while_an_archive_is_packed_loses_nothing(run: Any, event: str) -> None:
    """Every such step of the way is the last one once."""
    assert run("whole", *ARCHIVES)[0] == 0
    whole = files_in("whole")
    assert run("out", *ARCHIVES)[0] == 0
    for count in range(1, 100):
        for tar in Path("out").glob("*.tar"):
            unpack(tar)
        left, packing = count, False

        def kill(heard: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left, packing
            packing |= heard == "open" and ".part" in str(arguments[0])
            if heard == event and packing and "/out/" in f"/{arguments[0]}":
                left -= 1
                if left == 0:
                    raise Killed

        job = open_job()
        try:
            with audited(kill):
                list(job.run())
        except Killed:
            pass
        else:
            break
        code, out, err = run("out", *ARCHIVES, "--check-hashes")
        assert code == 0, err
        assert {*out.split()} <= {f"out/0000{i}.tar" for i in range(3)}  # no picture is made anew
        assert files_in("out") == whole
    assert left > 0
    assert count > 1
    assert files_in("out") == whole


def open_job() -> Job:
    made = json.loads(Path("out/job.json").read_text())
    return Job.open(
        "lines.txt",
        "out",
        choices=made["recipe"],
        inputs=made["inputs"],
        seed=7,
        batch_size=2,
        shards="webdataset",
        shard_size=3,
    )


def unpack(path: Path) -> None:
    """Have the pictures of an archive be in the folder of its shard again."""
    folder = path.with_suffix("")
    folder.mkdir()
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith(".png"):
                tar.extract(member, folder, filter="data")
    path.unlink()


def test_without_its_ledger_a_job_knows_what_is_in_archives(run: Any) -> None:
    assert run("out", *ARCHIVES)[0] == 0
    whole, lines = files_in("out"), ledger("out")
    Path("out/results.jsonl").unlink()
    code, _, err = run("out", *ARCHIVES)
    assert code == 0, err
    assert files_in("out") == whole
    sums = [(line["file"], line["tar"], line["member"], line["sha256"]) for line in lines]
    again = ledger("out")
    assert [(li["file"], li["tar"], li["member"], li["sha256"]) for li in again] == sums
    assert {line["seconds"] for line in again} == {0.0}  # none was made again


def test_another_file_under_the_name_of_an_archive_stays(run: Any) -> None:
    Path("out").mkdir()
    Path("out/00001.tar").write_text("mine")
    code, _, err = run("out", *ARCHIVES)
    assert code == 2
    assert "00001.tar' is there already" in err
    assert Path("out/00001.tar").read_text() == "mine"
    assert sorted(path.name for path in Path("out/00001").iterdir()) == [
        f"0000{i}-{7 + i}.png" for i in (3, 4, 5)
    ]


def test_a_shard_with_a_picture_that_failed_stays_a_folder(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldm_core.jobs.making import Making

    batches = Making.batches

    def failing(self: Making, pipe: Any, call: Any) -> Any:
        if 11 in call["seed"]:
            raise LdmError("no picture of this seed")
        return batches(self, pipe, call)

    with monkeypatch.context() as patch:
        patch.setattr(Making, "batches", failing)
        code, _, err = run("out", *ARCHIVES)
    assert code == 1
    assert "line 5: no picture of this seed" in err
    assert sorted(files_in("out")) == [
        "00000.tar", "00001/00003-10.png", "00001/00005-12.png", "00002.tar"
    ]  # fmt: skip
    assert run("out", *ARCHIVES)[0] == 0
    assert run("whole", *ARCHIVES)[0] == 0
    assert files_in("out") == files_in("whole")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--shards", "tar"), "no shards of the kind 'tar'"),
        (("--shards", "folder"), "Did you mean 'folders'"),
        (("--shard-size", 3), "--shard-size is for shards"),
        (("--shards", "folders", "--shard-size", 0), "shard_size"),
        ((*ARCHIVES, "--name", "v1.{index}"), "line 1: the name 'v1.0' has a dot"),
    ],
)
def test_what_makes_no_shards_is_refused_before_anything(
    run: Any, more: tuple[Any, ...], message: str
) -> None:
    code, _, err = run("out", *more)
    assert code == 2
    assert message in err
    assert not Path("out").exists()


def test_other_shards_are_another_job(run: Any) -> None:
    assert run("out", *ARCHIVES)[0] == 0
    for more in ((), ("--shards", "folders"), ("--shards", "webdataset", "--shard-size", 4)):
        code, _, err = run("out", *more)
        assert code == 2
        assert "holds another job: it differs in shards" in err
