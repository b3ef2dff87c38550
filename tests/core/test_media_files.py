"""Files of video and sound, as other programs read them, and as they are read back."""

from __future__ import annotations

import warnings
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from ldm_core.contracts import Shown, Writer
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.media import writers
from ldm_core.media.clips import read_clip, read_samples
from ldm_core.media.integers import to_integers, to_samples
from ldm_core.media.made_files import kind_of_file
from ldm_core.media.picture_manifests import manifest_in
from ldm_core.media.present import state
from ldm_core.media.sound_files import read_sound
from ldm_core.media.timed import Timed
from ldm_core.media.video_files import read_track, read_video
from ldm_core.media.writers import writer_of
from ldm_core.plugins.registry import installed

av = pytest.importorskip("av")
soundfile = pytest.importorskip("soundfile")

MANIFEST = {"seed": 7, "inputs": {"prompt": "ein Stern – 星"}, "long": "x" * 70_000}
RATES = [8.0, 24.0, 25.0, 30000 / 1001, 12.5]


def frames(count: int = 9, width: int = 64, height: int = 48) -> list[Image.Image]:
    """Smooth colours that move."""
    y, x = np.mgrid[0:height, 0:width]
    several = [
        np.stack([x * 3 + i, y * 4, np.full_like(x, 20 * i)], axis=-1) % 256 for i in range(count)
    ]
    return [Image.fromarray(one.astype(np.uint8)) for one in several]


def tone(seconds: float = 9 / 8, rate: int = 16_000, channels: int = 1) -> Any:
    at = np.arange(round(seconds * rate)) / rate
    several = [0.4 * np.sin(2 * np.pi * 440 * (i + 1) * at) for i in range(channels)]
    return np.stack(several).astype(np.float32)


def writer(name: str) -> Writer:
    return installed().find("writer", name).loaded  # type: ignore[no-any-return]


def arrays(several: Any) -> list[Any]:
    return [np.asarray(one.convert("RGB"), dtype=int) for one in several]


def write(name: str, shown: Shown, path: Path) -> Path:
    one = writer(name)
    path = path / f"made{one.suffix}"
    one.write(shown, MANIFEST, path)
    return path


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", ["mp4", "mkv"])
def test_another_reader_finds_each_frame_in_time(name: str, rate: float, tmp_path: Path) -> None:
    path = write(name, Shown(frames(7), rate), tmp_path)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        read = list(file.decode(stream))
        assert len(read) == 7
        assert float(stream.average_rate) == pytest.approx(rate, rel=1e-5)
        assert [frame.time for frame in read] == pytest.approx(
            [i / rate for i in range(7)], abs=6e-4
        )
        assert file.metadata.get("comment", file.metadata.get("COMMENT")).startswith("ldm:{")


def test_mp4_is_h264_of_nearly_the_same_colours(tmp_path: Path) -> None:
    path = write("mp4", Shown(frames(), 8.0), tmp_path)
    with av.open(str(path)) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited
        read = [f.to_ndarray(format="rgb24").astype(int) for f in file.decode(video=0)]
    apart = np.abs(np.stack(read) - np.stack(arrays(frames())))
    assert apart.mean() < 3
    for colour in ("red", "lime", "blue", "white", "black", "olive"):
        plain = write("mp4", Shown([Image.new("RGB", (32, 32), colour)] * 2, 8.0), tmp_path)
        with av.open(str(plain)) as file:
            one = next(file.decode(video=0)).to_ndarray(format="rgb24")
        assert np.abs(one.astype(int) - ImageColor.getrgb(colour)).max() <= 3


@pytest.mark.parametrize("name", ["mkv", "webp_animation"])
def test_without_loss_each_number_is_read(name: str, tmp_path: Path) -> None:
    path = write(name, Shown(frames(), 24.0), tmp_path)
    if name == "mkv":
        with av.open(str(path)) as file:
            assert file.streams.video[0].codec_context.name == "ffv1"
            read = [f.to_ndarray(format="rgb24").astype(int) for f in file.decode(video=0)]
    else:
        with Image.open(path) as file:
            read = []
            for index in range(file.n_frames):
                file.seek(index)
                read += arrays([file])
    assert np.array_equal(np.stack(read), np.stack(arrays(frames())))


def test_gif_shows_each_frame_in_few_colours(tmp_path: Path) -> None:
    path = write("gif", Shown(frames(), 24.0), tmp_path)
    with Image.open(path) as file:
        assert file.n_frames == 9
        shown = 0
        for index in range(9):
            file.seek(index)
            shown += file.info["duration"]
            apart = np.abs(arrays([file])[0] - arrays(frames())[index])
            assert apart.mean() < 12
        assert shown == pytest.approx(9 * 1000 / 24, abs=5)  # hundredths, that do not add up
    assert manifest_in(path) is None  # it lies beside


@pytest.mark.parametrize("name", ["mp4", "mkv"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_videos_sound_goes_into_its_file(name: str, channels: int, tmp_path: Path) -> None:
    heard = tone(18_007 / 16_000, channels=channels)  # which is no whole number of milliseconds
    path = write(name, Shown(frames(), 8.0, {"audio": Shown(heard, 16_000.0)}), tmp_path)
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        if name == "mp4":
            assert stream.duration * stream.time_base * 16_000 == 18_007
            assert sum(p.duration or 0 for p in file.demux(stream) if (p.pts or 0) >= 0) == 18_007
        assert stream.codec_context.name == {"mp4": "aac", "mkv": "pcm_f32le"}[name]
        assert (stream.rate, stream.channels) == (16_000, channels)
        assert float(file.duration / av.time_base) == pytest.approx(9 / 8, abs=0.07)
    track = read_track(path)
    assert track is not None
    assert track.samples.shape == heard.shape
    apart = np.abs(track.samples - heard)[:, 2048:-1024].max()  # AAC begins and ends softly
    assert apart < (0.01 if name == "mp4" else 1e-9)


@pytest.mark.parametrize("name", ["flac", "wav"])
def test_another_reader_finds_each_sample(name: str, tmp_path: Path) -> None:
    heard = np.concatenate([tone(), np.random.default_rng(0).uniform(-1, 1, (1, 18_000))])
    path = write(name, Shown(heard, 44_100.0), tmp_path)
    about = soundfile.info(path)
    assert (about.frames, about.samplerate, about.channels) == (18_000, 44_100, 2)
    assert about.subtype == "PCM_24"
    read, _ = soundfile.read(path, dtype="int32")
    assert np.array_equal(read >> 8, np.rint(heard.T * 2**23))
    if name == "wav":
        with wave.open(str(path)) as file:
            assert (file.getnframes(), file.getsampwidth()) == (18_000, 3)


def test_samples_round_and_their_loudest_is_said(tmp_path: Path) -> None:
    values = np.array([[0.5 / 2**23, 1.5 / 2**23, -1.0, 1.0, 1.5, -2.0]])
    whole, beyond = to_integers(values)
    assert whole[:, 0].tolist() == [0, 2, -(2**23), 2**23 - 1, 2**23 - 1, -(2**23)]
    assert beyond == pytest.approx(2 / 6)
    back, _ = to_integers(to_samples(whole))
    assert np.array_equal(back, whole)
    with pytest.warns(LdmWarning, match="33.33% of the sound's samples lie beyond"):
        write("flac", Shown(values.astype(np.float32), 8_000.0), tmp_path)


@pytest.mark.parametrize("name", ["mp4", "mkv", "webp_animation", "flac", "wav"])
def test_the_manifest_is_inside_and_the_file_repeats(name: str, tmp_path: Path) -> None:
    one = writer(name)
    shown = Shown(tone(), 16_000.0) if one.kind == "audio" else Shown(frames(), 8.0)
    path = write(name, shown, tmp_path)
    assert manifest_in(path) == MANIFEST
    assert kind_of_file(path) == one.kind
    before = path.read_bytes()
    assert write(name, shown, tmp_path).read_bytes() == before


def test_odd_sides_are_said_where_a_format_has_even_ones(tmp_path: Path) -> None:
    with pytest.warns(LdmWarning, match="33x17 pixels are written as 34x18"):
        path = write("mp4", Shown(frames(3, 33, 17), 8.0), tmp_path)
    assert read_video(path).frames[0].size == (34, 18)
    kept = write("mkv", Shown(frames(3, 33, 17), 8.0), tmp_path)
    assert np.array_equal(arrays(read_video(kept).frames), arrays(frames(3, 33, 17)))


def test_a_rate_that_aac_has_not_is_said(tmp_path: Path) -> None:
    sound = Shown(tone(rate=10_000), 10_000.0)
    with pytest.warns(LdmWarning, match="10,000 samples a second, and the video's sound .* 11,025"):
        path = write("mp4", Shown(frames(), 8.0, {"audio": sound}), tmp_path)
    with av.open(str(path)) as file:
        assert file.streams.audio[0].rate == 11_025


def test_which_writer_is_taken_hangs_on_what_is_installed_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = installed()

    def taken(kind: str) -> str | None:
        one = writer_of(kind, registry)
        return None if one is None else one.suffix

    assert [taken(kind) for kind in ("image", "video", "audio")] == [".png", ".mp4", ".flac"]
    registry.plugins.reverse()
    assert [taken(kind) for kind in ("image", "video", "audio")] == [".png", ".mp4", ".flac"]
    registry.plugins.reverse()
    monkeypatch.setattr("ldm_core.contracts.installed_modules.find_spec", lambda name: None)
    assert [taken(kind) for kind in ("image", "video", "audio")] == [".png", ".webp", None]
    with pytest.raises(LdmError, match="the format 'mp4' needs the package av") as error:
        writers._installed(writer("mp4"), "mp4")
    assert "pip install 'ldm-core[video]'" in error.value.hint


MOVING = (0.0, 0.1, 0.2, 0.5, 0.6)


@pytest.mark.parametrize(
    ("times", "rate", "asked", "count", "places"),
    [
        ((0, 0.125, 0.25), 8.0, 8.0, 3, [0, 1, 2]),
        ((0, 0.042, 0.083, 0.125), 24.0, 24.0, 4, [0, 1, 2, 3]),  # rounded to milliseconds
        ((0, 0.042, 0.083, 0.125), 24.0, 12.0, 9, [0, 2]),
        ((0, 0.125), 8.0, 24.0, 9, [0, 0, 0, 1, 1, 1]),
        (MOVING, 10.0, 10.0, 9, [0, 1, 2, 2, 2, 3, 4]),  # one is shown for long
        ((3.0, 3.125), 8.0, 8.0, 1, [0]),
    ],
)
def test_of_each_moment_the_frame_then_shown_is_taken(
    times: tuple[float, ...], rate: float, asked: float, count: int, places: list[int]
) -> None:
    several = [Image.new("L", (1, 1), i) for i in range(len(times))]
    timed = Timed(tuple(several), tuple(times), times[-1] + 1 / rate, rate)
    assert [f.getpixel((0, 0)) for f in timed.at_rate(asked, count)] == places


def test_frames_that_a_format_joins_are_told_apart_again(tmp_path: Path) -> None:
    still, other = frames(2)
    path = write("webp_animation", Shown([still, still, other, other, other], 24.0), tmp_path)
    timed = read_video(path)
    assert len(timed.frames) == 2
    whole = [still, still, other, other, other]
    assert np.array_equal(arrays(timed.at_rate(24.0, 5)), arrays(whole))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "no picture in"),
        ("a.mp4", b"ffconcat version 1.0\nfile /etc/hostname\n", "no picture in"),
        ("a.mp4", b"\0\0\0\x20ftypisom" + b"\0" * 40, "it is damaged|has no track"),
        ("a.mkv", b"\x1a\x45\xdf\xa3" + b"\xff" * 60, "it is damaged|has no track"),
        ("a.webm", b"", "the file is empty"),
        ("a.png", None, "it is a picture, and no video"),
    ],
)
def test_what_is_no_video_is_refused(
    name: str, data: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if data is None:
        Image.new("RGB", (8, 8)).save(path)
    else:
        path.write_bytes(data)
    with pytest.raises(LdmError, match=message):
        read_video(path)
    for odd in (tmp_path, tmp_path / "none.mp4"):
        with pytest.raises(LdmError, match="cannot be read"):
            read_video(odd)


@pytest.mark.parametrize("name", ["mp4", "mkv", "webp_animation", "flac", "wav"])
def test_cut_off_at_any_place_a_file_is_refused(name: str, tmp_path: Path) -> None:
    one = writer(name)
    shown = Shown(tone(0.2), 16_000.0) if one.kind == "audio" else Shown(frames(4, 32, 32), 8.0)
    path = tmp_path / f"made{one.suffix}"
    one.write(shown, {"seed": 1}, path)
    whole = path.read_bytes()
    read: Callable[[Path], object] = read_sound if one.kind == "audio" else read_video
    for end in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:end])
        with pytest.raises(LdmError):
            read(path)


def test_a_file_that_fills_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(name, Shown(frames(), 8.0), tmp_path) for name in ("mkv", "webp_animation")]
    sound = write("flac", Shown(tone(), 16_000.0), tmp_path)
    for module in ("video_files", "animations", "sound_files"):
        monkeypatch.setattr(f"ldm_core.media.{module}.available_bytes", lambda: 100_000)
    for path in paths:
        with pytest.raises(LdmError, match=r"more than the 97\.7 KiB of memory"):
            read_video(path)
    with pytest.raises(LdmError, match=r"more than the 97\.7 KiB of memory"):
        read_sound(sound)


def test_a_video_is_what_its_manifest_says_or_changed_or_torn(tmp_path: Path) -> None:
    from ldm_core.media.hashes import frames_hash, samples_hash

    one = writer("mkv")
    manifest = {
        "extent": {"frames": 9},
        "rate": 8.0,
        "pixels_sha256": frames_hash(frames()),
        "samples_sha256": samples_hash(tone()),
    }
    path, other = tmp_path / "a.mkv", tmp_path / "b.mkv"
    one.write(Shown(frames(), 8.0, {"audio": Shown(tone(), 16_000.0)}), manifest, path)
    assert state(path) == "whole"
    one.write(Shown(frames()[::-1], 8.0), manifest, other)
    assert state(other) == "changed"
    other.write_bytes(path.read_bytes()[:-2000])
    assert state(other) in ("changed", "torn")


def extent(count: int) -> dict[str, int]:
    return {"frames": count, "height": 48, "width": 64}


def test_a_clip_is_as_long_and_as_fast_as_what_is_made(tmp_path: Path) -> None:
    path = write("mkv", Shown(frames(9), 8.0), tmp_path)
    same = read_clip(path, extent(9), 8.0, 3)
    assert same.shape == (3, 9, 48, 64)
    expected = np.stack(arrays(frames(9))).transpose(3, 0, 1, 2) / 255
    assert np.abs(same.numpy() - expected).max() < 1e-6
    with pytest.warns(LdmWarning, match="has 9 frames at that rate, and the first 5"):
        assert np.array_equal(read_clip(path, extent(5), 8.0, 3), same[:, :5])
    with pytest.warns(LdmWarning, match="8 frames a second, and 4 are made"):
        assert np.array_equal(read_clip(path, extent(5), 4.0, 3), same[:, ::2])
    with pytest.raises(LdmError, match="has 9 frames at the rate that is made, and 13"):
        read_clip(path, extent(13), 8.0, 3)
    with pytest.raises(LdmError, match="is 64x48 pixels and 32x48"):
        read_clip(path, {**extent(9), "width": 32}, 8.0, 3)


def test_a_sound_is_brought_to_the_models_rate_channels_and_length(tmp_path: Path) -> None:
    path = write("wav", Shown(tone(1.0, 32_000), 32_000.0), tmp_path)
    with pytest.warns(LdmWarning, match="32,000 samples a second, and 16,000"):
        half = read_samples(path, 16_000, 16_000.0, 1).numpy()
    assert np.abs(half[:, 100:-100] - tone(1.0)[:, 100:-100]).max() < 1e-3
    same = write("flac", Shown(tone(1.0), 16_000.0), tmp_path)
    with pytest.warns(LdmWarning, match="1 seconds long, and 2 are made: silence follows"):
        longer = read_samples(same, 32_000, 16_000.0, 1)
    assert not longer[:, 16_000:].any()
    with pytest.warns(LdmWarning, match="the first 0.5 count"):
        assert np.array_equal(read_samples(same, 8_000, 16_000.0, 1), longer[:, :8_000])
    with pytest.warns(LdmWarning, match="one channel, and each of the 2"):
        assert read_samples(same, 16_000, 16_000.0, 2).shape == (2, 16_000)
    with pytest.raises(LdmError, match="is no sound that can be read"):
        read_sound(write("gif", Shown(frames(), 8.0), tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.wav", "'.*nothing.wav' is empty: it holds no sample"),
        ("fast.wav", "has 2,147,483,647 samples a second by its header.* it is damaged"),
        ("nan.wav", "the audio holds numbers that are not finite"),
        ("six.wav", "(?s)has 6 channels, and this model makes 2.*mix it down"),
        (".", "the audio '.*' cannot be read: it is a folder[.]$"),
    ],
)
def test_a_sound_that_cannot_be_begun_from_is_refused(
    name: str, message: str, tmp_path: Path
) -> None:
    shapes = {"nothing.wav": (0, 1), "six.wav": (80, 6)}
    samples = np.zeros(shapes.get(name, (80, 1)), np.float32)
    if name == "nan.wav":
        samples[3] = np.nan
    if name != ".":
        soundfile.write(tmp_path / name, samples, 8000, subtype="FLOAT")
    if name == "fast.wav":
        data = bytearray((tmp_path / name).read_bytes())
        data[24:28] = (2**31 - 1).to_bytes(4, "little")
        (tmp_path / name).write_bytes(data)
    with pytest.raises(LdmError, match=message):
        read_samples(tmp_path / name, 80, 4000.0, 2)


def test_a_sound_louder_than_models_know_is_said_to_be(tmp_path: Path) -> None:
    for factor in (1.2, 100.0):
        samples = np.full((80, 1), factor, np.float32)
        soundfile.write(tmp_path / "loud.wav", samples, 8000, subtype="FLOAT")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LdmWarning)
            read_samples(tmp_path / "loud.wav", 80, 8000.0, 1)
        assert [str(w.message)[:23] for w in caught] == ["the audio reaches 100, "] * (factor > 2)


def test_a_videos_sound_is_a_sound(tmp_path: Path) -> None:
    heard = Shown(tone(), 16_000.0)
    path = write("mkv", Shown(frames(), 8.0, {"audio": heard}), tmp_path)
    assert np.array_equal(read_sound(path).samples, heard.data)
    with pytest.raises(LdmError, match="has no sound"):
        read_sound(write("mp4", Shown(frames(), 8.0), tmp_path))


def test_a_phones_video_stands_upright(tmp_path: Path) -> None:
    """A display matrix, which no writer here makes, is put into the track header of an MP4."""
    path = write("mp4", Shown(frames(3), 8.0), tmp_path)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: behind times, layer, group and volume
    one = 1 << 16
    matrix = (0, one, 0, -one & 0xFFFFFFFF, 0, 0, 0, 0, 1 << 30)  # a quarter clockwise
    data[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in matrix)
    path.write_bytes(data)
    upright = read_video(path).frames[0]
    assert upright.size == (48, 64)
    turned = frames(1)[0].transpose(Image.Transpose.ROTATE_270)  # PIL counts counter-clockwise
    apart = np.abs(np.asarray(upright, dtype=int) - np.asarray(turned, dtype=int))
    assert apart.mean() < 4


def test_rates_are_stored_as_fractions(tmp_path: Path) -> None:
    path = write("mp4", Shown(frames(3), 30000 / 1001), tmp_path)
    with av.open(str(path)) as file:
        assert file.streams.video[0].average_rate == Fraction(30000, 1001)


@pytest.mark.parametrize("name", ["mp4", "mkv", "webp_animation", "gif"])
def test_a_video_that_says_no_rate_is_said_to_be_shown_at_one(name: str, tmp_path: Path) -> None:
    with pytest.warns(LdmWarning, match="says no frame rate, and its file shows 8 frames"):
        path = write(name, Shown(frames(3), None), tmp_path)
    assert read_video(path).rate == pytest.approx(8, rel=0.05)


def test_a_rate_that_a_gif_cannot_show_is_said(tmp_path: Path) -> None:
    with pytest.warns(LdmWarning, match="10 ms at least: 100 frames a second, and not 200"):
        write("gif", Shown(frames(3), 200.0), tmp_path)
