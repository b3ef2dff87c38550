"""Video and sound from the command line: made, written, read by other programs, made again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import media_toys as toys
from ldm_core import LdmError, Pipeline
from ldm_core.errors import LdmWarning
from ldm_core.media.picture_manifests import manifest_in, read_manifest

av = pytest.importorskip("av")
soundfile = pytest.importorskip("soundfile")


@pytest.fixture(scope="module")
def registry() -> Any:
    return toys.registry()


@pytest.fixture(autouse=True)
def with_toys(registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    toys.be_listed(monkeypatch, registry)


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    return toys.write_model(tmp_path / "moving", "Moving")


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    return toys.write_model(tmp_path / "noises", "Noises")


def frames_in(path: Path) -> Any:
    """(frames, height, width, 3), by PyAV."""
    with av.open(str(path)) as file:
        return np.stack([f.to_ndarray(format="rgb24") for f in file.decode(video=0)])


def drawn(model: Path, **call: Any) -> Any:
    """The same in Python: (frames, height, width, 3) in 8 bits."""
    return (Pipeline.from_pretrained(model)(**call, output_type="np").images[0] * 255).round()


def test_a_video_has_the_frames_rate_and_sound_that_were_asked_for(ldm: Any, moving: Path) -> None:
    code, out, err = ldm(
        "text-to-video", "a star", "--model", moving, "--seed", 7, "--frames", 17,
        "--frame-rate", 12, "--size", "32x16", "--out", "made",
    )  # fmt: skip
    assert code == 0, err
    path = Path(out.strip())
    assert path.name == "a-star-seed7.mp4"
    with av.open(str(path)) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        assert (video.width, video.height, float(video.average_rate)) == (32, 16, 12.0)
        assert (audio.rate, audio.codec_context.name) == (16_000, "aac")
        assert len(list(file.decode(video))) == 17
    manifest = manifest_in(path)
    assert manifest is not None
    assert (manifest["frame_rate"], manifest["rate"]) == (12.0, 12.0)
    assert manifest["extent"] == {"frames": 17, "height": 16, "width": 32}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("form", ["mp4", "mkv", "webp_animation", "gif"])
def test_each_format_is_made_again_to_the_same_frames_and_samples(
    ldm: Any, moving: Path, form: str
) -> None:
    code, out, err = ldm("generate", "--model", moving, "--seed", 3, "--format", form, "--out", "o")
    assert code == 0, err
    path = Path(out.strip())
    expected = drawn(moving, seed=3)
    if form == "mkv":
        assert np.array_equal(frames_in(path), expected)
    code, out, err = ldm("replay", "--allow-files", path)
    assert code == 0, err
    again, verdict = out.splitlines()
    assert verdict == "the same video, frame for frame and sample for sample"
    assert Path(again).name == f"{path.stem}-replay{path.suffix}"
    new, old = manifest_in(Path(again)), manifest_in(path)
    assert new is not None
    assert old is not None
    for key in ("seed", "extent", "rate", "pixels_sha256", "samples_sha256"):
        assert new[key] == old[key]
    if form in ("webp_animation", "gif"):  # which hold no sound
        beside = path.with_suffix(".flac")
        samples, rate = soundfile.read(beside, dtype="int32")
        heard = Pipeline.from_pretrained(moving)(seed=3).beside[0].images[0, 0]
        assert rate == 16_000
        assert np.array_equal(samples >> 8, np.rint(heard.astype(float) * 2**23))
        assert ldm("replay", "--allow-files", beside)[0] != 0  # whose manifest is of the video


@pytest.mark.parametrize("form", ["flac", "wav"])
def test_a_sound_is_made_again_to_the_same_samples(ldm: Any, noises: Path, form: str) -> None:
    code, out, err = ldm(
        "text-to-audio", "rain", "--model", noises, "--seed", 7, "--seconds", 0.52,
        "--format", form, "--out", "o",
    )  # fmt: skip
    assert code == 0, err
    path = Path(out.strip())
    about = soundfile.info(path)
    assert (about.frames, about.samplerate, about.channels) == (8_320, 16_000, 2)  # 26·320
    code, out, err = ldm("replay", "--allow-files", path, "--json")
    record = json.loads(out)
    assert record["verdict"] == "the same sound, sample for sample"
    samples = [soundfile.read(p, dtype="int32")[0] for p in (path, record["path"])]
    assert np.array_equal(*samples)


def test_what_was_changed_is_told_from_what_was_made(ldm: Any, moving: Path) -> None:
    out = ldm("generate", "--model", moving, "--seed", 3, "--format", "webp_animation")[1]
    path = Path(out.strip())
    with Image.open(path) as file:
        exif, several, times = file.getexif(), [], []
        for index in range(file.n_frames):
            file.seek(index)
            several.append(file.convert("RGB").point(lambda v: 255 - v))
            times.append(file.info["duration"])
    several[0].save(
        path, save_all=True, append_images=several[1:], duration=times, lossless=True, exif=exif
    )
    code, out, err = ldm("replay", "--allow-files", path)
    assert code == 0
    assert "differs: the picture was changed after it was made" in err
    assert "another video: up to" in out


def test_the_record_says_kind_and_rate(ldm: Any, moving: Path) -> None:
    code, out, _ = ldm("generate", "--model", moving, "--seed", 3, "--num-images", 2, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(r["kind"], r["rate"], r["frames"], r["made"]) for r in records] == [
        ("video", 8.0, 9, True)
    ] * 2
    code, out, err = ldm("generate", "--model", moving, "--seed", 3, "--num-images", 2, "--json")
    assert [json.loads(line)["made"] for line in out.splitlines()] == [False, False]
    assert "note: 2 videos were there already, and not made again" in err


def test_sheets_show_strips_and_waves_and_frames_become_files(
    ldm: Any, moving: Path, noises: Path
) -> None:
    code, out, err = ldm(
        "generate", "--model", moving, "--seed", 3, "--num-images", 2, "--sheet", "strips.png",
        "--frames-to", "frames",
    )  # fmt: skip
    assert code == 0, err
    with Image.open("strips.png") as sheet:
        assert sheet.width > 3 * sheet.height / 2  # two strips of eight frames
        assert len(sheet.getcolors(1 << 20)) > 50
    names = sorted(p.name for p in Path("frames").iterdir())
    stem = Path(out.splitlines()[0]).stem
    assert len(names) == 18
    assert names[0] == f"{stem}-0000.png"
    first = np.stack([np.asarray(Image.open(f"frames/{stem}-{i:04}.png")) for i in range(9)])
    assert np.array_equal(first, drawn(moving, seed=3))
    code, out, err = ldm("generate", "--model", noises, "--seed", 3, "--sheet", "waves.png")
    assert code == 0, err
    with Image.open("waves.png") as sheet:
        assert len(sheet.getcolors(1 << 20)) > 50
    code, _, err = ldm("generate", "--model", noises, "--frames-to", "frames")
    assert code != 0
    assert "--frames-to is for the frames of videos, and this model makes audio" in err


def test_a_spectrogram_shows_where_a_tone_lies() -> None:
    from ldm_core.media.strips import GAP, SPECTRUM, WAVE, WIDTH, sound_picture

    at = np.arange(16_000) / 16_000
    picture = sound_picture(0.5 * np.sin(2 * np.pi * 2_000 * at)[None])
    pixels = np.asarray(picture.convert("L"), dtype=float)
    assert picture.size == (WIDTH, WAVE + GAP + SPECTRUM)
    row = pixels[WAVE + GAP :].mean(axis=1).argmax()
    assert row == pytest.approx(SPECTRUM * (1 - 2_000 / 8_000), abs=2)
    dark = (pixels[:WAVE] < 200).any(axis=1).nonzero()[0]  # half of the height each way
    assert (dark.min(), dark.max()) == pytest.approx((WAVE / 4, WAVE * 3 / 4), abs=2)


@pytest.mark.parametrize("kind", ["moving", "noises"])
def test_a_rate_is_refused_where_there_is_none(ldm: Any, request: Any, kind: str) -> None:
    model = request.getfixturevalue(kind)
    if kind == "moving":
        assert Pipeline.from_pretrained(model)(seed=1, frame_rate=30).rate == 30
        assert Pipeline.from_pretrained(model)(seed=1).rate == toys.RATE
        for wrong in (0, -1, float("nan"), 1e-9, 1e9):
            with pytest.raises(LdmError, match="frame_rate"):
                Pipeline.from_pretrained(model)(seed=1, frame_rate=wrong)
        return
    with pytest.raises(LdmError, match=r"makes audio at the 16000 samples a second .* frame_rate"):
        Pipeline.from_pretrained(model)(seed=1, frame_rate=30)
    code, _, err = ldm("generate", "--model", model, "--frame-rate", 30)
    assert code != 0
    assert "frame_rate" in err


def test_a_job_makes_videos_each_of_its_own_rate(ldm: Any, moving: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.csv"
    lines.write_text("prompt,frames,frame_rate\nfirst,5,\nsecond,9,16\n")
    code, out, err = ldm(
        "generate", "--model", moving, "--prompts", lines, "--frame-rate", 4, "--seed", 1,
        "--out", "job",
    )  # fmt: skip
    assert code == 0, err
    several = [Path(line) for line in out.splitlines()]
    assert [p.suffix for p in several] == [".mp4", ".mp4"]
    found = []
    for path in several:
        with av.open(str(path)) as file:
            video = file.streams.video[0]
            found.append((len(list(file.decode(video))), float(video.average_rate)))
            assert len(file.streams.audio) == 1
    assert sorted(found) == [(5, 4.0), (9, 16.0)]
    code, out, err = ldm(
        "text-to-video", "--model", moving, "--prompts", lines, "--frame-rate", 4, "--seed", 1,
        "--out", "other",
    )  # fmt: skip
    assert code == 0, err
    assert len(out.splitlines()) == 2
    code, _, err = ldm(
        "generate", "--model", moving, "--prompts", lines, "--frame-rate", 5, "--seed", 1,
        "--out", "job",
    )  # fmt: skip
    assert code != 0  # it is another job


@pytest.mark.parametrize("form", ["mkv", "webp_animation"])
def test_a_video_starts_from_a_video(ldm: Any, moving: Path, form: str) -> None:
    path = Path(ldm("generate", "--model", moving, "--seed", 3, "--format", form)[1].strip())
    start = drawn(moving, seed=3)
    code, out, err = ldm(
        "video-to-video", path, "--model", moving, "--seed", 5, "--strength", 0, "--format", "mkv",
    )  # fmt: skip
    assert code == 0, err
    kept = frames_in(Path(out.strip()))
    assert np.abs(kept - start).max() <= 1  # the toy's encoder undoes its decoder
    code, out, err = ldm(
        "video-to-video", path, "--model", moving, "--seed", 5, "--strength", 0.4, "--format",
        "mkv",
    )  # fmt: skip
    assert code == 0, err
    near = frames_in(Path(out.strip()))
    other = drawn(moving, seed=5)
    assert 1 < np.abs(near - start).mean() < np.abs(other - start).mean()
    code, out, err = ldm("replay", "--allow-files", out.strip())
    assert "the same video, frame for frame" in out


def test_a_part_of_a_videos_time_is_made_anew(ldm: Any, moving: Path) -> None:
    path = Path(ldm("generate", "--model", moving, "--seed", 3, "--format", "mkv")[1].strip())
    code, out, err = ldm(
        "video-to-video", path, "--model", moving, "--seed", 5, "--repaint", "0.625-2", "--format",
        "mkv",
    )  # fmt: skip
    assert code == 0, err
    new, start = frames_in(Path(out.strip())), drawn(moving, seed=3)
    assert np.abs(new[:5] - start[:5]).max() <= 1  # latents of frame 0, and of 1 to 4
    assert np.abs(new[5:] - start[5:]).mean() > 10
    for text in ("2-1", "x", "5-6"):
        code, _, err = ldm("video-to-video", path, "--model", moving, "--repaint", text)
        assert code != 0
        assert "'repaint' says" in err


def test_a_video_is_scaled_and_cut_to_what_is_made(ldm: Any, moving: Path) -> None:
    path = Path(ldm("generate", "--model", moving, "--seed", 3, "--format", "mkv")[1].strip())
    code, out, err = ldm(
        "video-to-video", path, "--model", moving, "--seed", 5, "--size", "48x32", "--frames", 5,
        "--format", "mkv",
    )  # fmt: skip
    assert code == 0, err
    made = Path(out.strip())
    assert frames_in(made).shape == (5, 32, 48, 3)
    assert "the same video" in ldm("replay", "--allow-files", made)[1]
    code, _, err = ldm("video-to-video", path, "--model", moving, "--frames", 13)
    assert code != 0
    assert "has 9 frames at the rate that is made, and 13 are to be made" in err
    code, _, err = ldm("video-to-video", "model_index.json", "--model", moving)
    assert code != 0
    code, _, err = ldm("image-to-video", path, "--model", moving)
    assert code != 0
    assert "is shown no picture with which a video begins" in err.replace("\n", " ")


def test_a_sound_starts_from_a_sound_and_goes_on(ldm: Any, noises: Path) -> None:
    path = Path(ldm("generate", "--model", noises, "--seed", 3)[1].strip())
    start, _ = soundfile.read(path)
    code, out, err = ldm(
        "audio-to-audio", path, "--model", noises, "--seed", 5, "--seconds", 0.8, "--repaint",
        "0.4-1",
    )  # fmt: skip
    assert code == 0, err
    assert "silence follows it" in err
    longer, _ = soundfile.read(out.strip())
    assert longer.shape == (12_800, 2)
    assert np.abs(longer[:6_400] - start).max() < 1e-5
    assert np.abs(longer[6_400:]).mean() > 0.1
    code, out, err = ldm("replay", "--allow-files", out.strip())
    assert "the same sound, sample for sample" in out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["interpolate", "a", "b"], "interpolate makes pictures, and the model .* makes videos"),
        (["text-to-image", "a"], "text-to-image makes pictures"),
        (["text-to-audio", "a"], "text-to-audio makes sounds"),
        (["text-to-video"], "no prompt is given"),
        (["generate", "--format", "png"], "'png' is for image, and this model draws video"),
        (["text-to-video", "a", "--seconds", "2", "--frames", "9"], "given twice"),
        (["text-to-video", "a", "--seconds", "-1"], "should be a length in time"),
    ],
)
def test_what_makes_no_sense_of_a_video_is_refused(
    ldm: Any, moving: Path, command: list[str], message: str
) -> None:
    import re

    code, _, err = ldm(*command, "--model", moving)
    assert code != 0
    assert re.search(message, err.replace("\n", " ")), err


def test_without_pyav_that_is_said_before_any_weight_is_read(
    ldm: Any, moving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ldm_core.contracts.installed_modules.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr("media_toys.Toy.load", lambda *a: pytest.fail("weights are read"))
    code, _, err = ldm("generate", "--model", moving, "--format", "mp4")
    assert code != 0
    assert "pip install 'ldm-core[video]'" in err
    code, _, err = ldm("video-to-video", "a.mp4", "--model", moving)
    assert code != 0


def test_python_takes_arrays_and_tensors_alike(moving: Path, noises: Path) -> None:
    pipe = Pipeline.from_pretrained(moving).replace(
        conditioning=[{"name": "words"}, {"name": "video"}]
    )
    array = drawn(moving, seed=3).astype(np.uint8)
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
    first = pipe(video=array, seed=5, strength=0.5, output_type="np").images
    assert np.array_equal(first, pipe(video=tensor, seed=5, strength=0.5, output_type="np").images)
    with pytest.raises(LdmError, match="should be a file, an array"):
        pipe(video=3, seed=5)
    sound = Pipeline.from_pretrained(noises).replace(
        conditioning=[{"name": "words"}, {"name": "audio"}]
    )
    samples = np.zeros((2, 6_400), np.float32)
    assert sound(audio=samples, seed=5, strength=0).images.any() == np.False_
    with pytest.warns(LdmWarning, match="one channel"):
        sound(audio=samples[:1], seed=5, strength=0)
    with pytest.raises(LdmError, match="has 3 channels, and this model makes 2"):
        sound(audio=np.zeros((3, 6_400), np.float32), seed=5)
    with pytest.raises(LdmError, match="not finite"):
        sound(audio=samples * np.nan, seed=5)


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_sound_is_shown_made_like_and_made_a_data_set(ldm: Any, noises: Path, name: str) -> None:
    code, out, err = ldm(
        "text-to-audio", "rain", "--model", noises, "--seed", 7, "--seconds", 0.52, "--steps", 1,
        "--format", name,
    )  # fmt: skip
    assert code == 0, err
    path = Path(out.strip())
    code, out, err = ldm("show", path)
    assert code == 0, err
    assert {"prompt\train", "seed\t7"} <= {*out.splitlines()}
    code, out, err = ldm(
        "text-to-audio", "--like", path, "--allow-files", "--format", name, "-o", "like"
    )
    assert code == 0, err
    heard = [read_manifest(one)["samples_sha256"] for one in (Path(out.strip()), path)]
    assert heard[0] == heard[1]
    Path("t.csv").write_text("prompt\nrain\nwind\n")
    code, out, err = ldm(
        "augment",
        "--table",
        "t.csv",
        "--model",
        noises,
        "--steps",
        1,
        "--format",
        name,
        "-o",
        "set",
    )
    assert code == 0, err
    lines = [json.loads(line) for line in Path("set/metadata.jsonl").read_text().splitlines()]
    assert [line["file_name"] for line in lines] == [f"000000.{name}", f"000001.{name}"]
    assert [line["text"] for line in lines] == ["rain", "wind"]
    assert "prompt\twind" in ldm("show", f"set/000001.{name}")[1].splitlines()


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_sounds_of_classes_are_a_data_set(name: str, ldm: Any, tmp_path: Path) -> None:
    """A folder for each class, whose sounds are of it; a run that was stopped goes on."""
    barks = toys.write_model(tmp_path / "barks", "Barks")
    run = ["augment", "--classes", "puppy", "--classes", "1", "--model", barks, "-n", 2]
    run += ["--format", name, "-o", "set"]
    code, _, err = ldm(*run)
    assert code == 0, err
    files = sorted(path.relative_to("set") for path in Path("set").rglob(f"*.{name}"))
    assert [str(file) for file in files] == [
        f"{folder}/{number:06d}.{name}" for folder in ("1", "puppy") for number in (0, 1)
    ]
    for file, level in zip(files, (0.5, 0.5, -0.5, -0.5), strict=True):
        samples, rate = soundfile.read(Path("set") / file)
        assert (samples.shape, rate) == ((6400, 2), 16_000)
        assert abs(samples.mean() - level) < 0.01
    manifests = [read_manifest(Path("set") / file) for file in files]
    assert [m["inputs"]["class_label"] for m in manifests] == [1, 1, "puppy", "puppy"]
    assert [m["seed"] for m in manifests] == [2, 3, 0, 1]
    before = {file: (Path("set") / file).read_bytes() for file in files}
    (Path("set") / files[1]).unlink()
    code, _, err = ldm(*run)
    assert code == 0, err
    assert before == {file: (Path("set") / file).read_bytes() for file in files}
    code, _, err = ldm(*run[:1], "--classes", "cat", *run[5:-1], "other")
    assert code == 2
    assert "cat" in err
