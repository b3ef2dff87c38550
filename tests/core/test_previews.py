"""Pictures of a run on its way: what they show, and that they change nothing."""

from __future__ import annotations

import base64
import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import (
    Axis,
    LatentSpace,
    Medium,
    Run,
    RunObserver,
    Step,
    as_observer,
    decodes,
    sees_run,
)
from ldm_core.media.sixel import as_sixel
from ldm_core.media.strips import sound_picture, strip
from ldm_core.media.terminal import in_terminal, protocol_of
from ldm_core.run.linear_preview import LinearPreview
from ldm_core.run.preview import preview
from third_party import Toy, gaussian_velocity, pipeline

CALL: dict[str, Any] = {"prompt": ["a", "b", "c"], "seed": 7, "batch_size": 2}
STEPS = 4


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


@pytest.fixture
def watched(pipe: Pipeline, tmp_path: Path) -> Pipeline:
    """By a scheduler whose last estimate is what it ends at."""
    seen = preview(
        file=tmp_path / "now.png",
        folder=tmp_path / "steps",
        animation=tmp_path / "way.gif",
        every=0,
    )
    return pipe.replace(scheduler="ddim", observers=[seen])


def test_pictures_are_the_same_however_they_are_watched(
    pipe: Pipeline, watched: Pipeline, tmp_path: Path
) -> None:
    plain = pipe.replace(scheduler="ddim", observers=[])(**CALL, output_type="pt")
    linear = preview(file=tmp_path / "linear.jpg", by="linear", every=0)
    for one in (watched, pipe.replace(scheduler="ddim", observers=[linear])):
        before = torch.get_rng_state()
        seen = one(**CALL, output_type="pt")
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(seen.images, plain.images)
        assert seen.manifests == plain.manifests


def test_a_batch_stands_side_by_side_and_the_last_step_is_what_is_made(
    watched: Pipeline, tmp_path: Path
) -> None:
    images = watched(**CALL).images
    names = [f"seed{seed}-step-00{n}.png" for seed in (7, 9) for n in range(1, STEPS + 1)]
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == names
    last = pixels(Image.open(tmp_path / "steps" / names[STEPS - 1]))
    side = images[0].width
    for place, image in enumerate(images[:2]):
        left = last.shape[1] - side if place else 0
        assert np.abs(last[:side, left : left + side] - pixels(image)).max() <= 1
    assert np.array_equal(pixels(Image.open(tmp_path / "now.png")), pixels(images[2]))
    whole = Image.open(tmp_path / "way.gif")
    assert whole.size == (last.shape[1], last.shape[0])
    frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(whole)]
    assert len(frames) >= 2 * STEPS
    assert not list(tmp_path.glob("**/.ldm-*"))


def test_a_run_that_is_interrupted_leaves_whole_files(watched: Pipeline, tmp_path: Path) -> None:
    def interrupt(step: Step) -> None:
        if step.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(**CALL, on_step=interrupt)
    assert Image.open(tmp_path / "now.png").load()
    assert len(list((tmp_path / "steps").iterdir())) == 3
    assert not (tmp_path / "way.gif").exists()
    assert not list(tmp_path.glob("**/.ldm-*"))
    watched(**CALL)  # its own files it may replace
    assert (tmp_path / "way.gif").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_linear_map_finds_a_decoder_that_is_linear(
    channels: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mixing = torch.randn(channels, 4, generator=torch.Generator().manual_seed(1)) / 8
    seen: list[tuple[Tensor, Tensor]] = []

    def decoded(model: Any, x0: Tensor) -> Tensor:
        mixed = torch.einsum("oc,bchw->bohw", mixing, x0) + 0.25
        return mixed.repeat_interleave(2, 2).repeat_interleave(2, 3)

    class Compares(RunObserver):
        def __init__(self, run: Run) -> None:
            self.run, self.linear = run, LinearPreview.of(run)

        def step(self, step: Step) -> None:
            seen.append((self.linear(step.x0), self.run.decode(step.x0).data.clamp(-1, 1)))

    space = LatentSpace.of_picture(4, 2)
    family = Toy(
        gaussian_velocity,
        space,
        {"height": 12, "width": 24},
        defaults={"num_inference_steps": 3},
        image_channels=channels,
    )
    place = tmp_path_factory.mktemp("linear")
    pipe = pipeline(family, place, decoders={"toy": lambda: decoded})
    pipe.replace(observers=[as_observer(sees_run(Compares))])(seed=[1, 2], output_type="latent")
    assert len(seen) == 3
    for drawn, right in seen:
        assert drawn.shape == right.shape
        assert (drawn - right).abs().max() < 0.01


VIDEO = LatentSpace(2, (Axis("frames", 1), Axis("height", 1), Axis("width", 1)))
SOUND = LatentSpace(2, (Axis("samples", 4),))


@pytest.mark.parametrize(
    ("kind", "space", "extent"),
    [
        ("video", VIDEO, {"frames": 5, "height": 8, "width": 12}),
        ("audio", SOUND, {"samples": 4096}),
    ],
)
def test_a_video_is_a_strip_and_a_sound_its_spectrogram(
    kind: str, space: LatentSpace, extent: dict[str, int], tmp_path: Path
) -> None:
    def drawn(model: Any, x0: Tensor) -> Tensor:
        if kind == "audio":
            return Medium("audio", x0.repeat_interleave(4, 2), rate=8000.0)
        return x0.mean(1, keepdim=True).expand(-1, 3, -1, -1, -1)

    family = Toy(gaussian_velocity, space, extent, defaults={"num_inference_steps": 3})
    place = tmp_path / "toy"
    place.mkdir()
    decoder = decodes(kind)(drawn)
    pipe = pipeline(family, place, decoders={"toy": lambda: decoder})
    seen = preview(file=tmp_path / "now.png", folder=tmp_path / "steps", every=0)
    watched = pipe.replace(observers=[seen])
    output = watched(seed=[1, 2])
    now = Image.open(tmp_path / "now.png")
    (one, *_), steps = output.images, sorted((tmp_path / "steps").iterdir())
    expected = strip(one) if kind == "video" else sound_picture(one)
    assert len(steps) == 3
    assert now.size == Image.open(steps[-1]).size
    side_by_side = (2 * expected.width + 4) / expected.height
    assert abs(now.width / now.height - side_by_side) < 0.05 * side_by_side
    assert len(np.unique(pixels(now))) > 50
    if kind == "audio":
        with pytest.raises(LdmError, match="decodes them"):
            pipe.replace(observers=[preview(file=tmp_path / "b.png", by="linear")])
    else:
        linear = preview(file=tmp_path / "b.png", by="linear", every=0)
        pipe.replace(observers=[linear])(seed=[1, 2])
        assert Image.open(tmp_path / "b.png").size == now.size


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({}, "needs a place"),
        ({"file": "now.tiff"}, "ends in .png or .jpg"),
        ({"file": "dear.png"}, "is there already"),
        ({"animation": "dear.png"}, "is there already"),
        ({"animation": "way.mov"}, "ends in .gif, .png, .webp or .mp4"),
        ({"animation": "a.png", "file": "a.png"}, "have one name"),
        ({"folder": "dear.png"}, "is a file"),
        ({"folder": "full"}, "are not overwritten"),
        ({"inline": True}, "the standard error stream is none"),
        ({"file": "a.png", "by": "guess"}, "by"),
        ({"file": "a.png", "every": -1.0}, "every"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_anything_is_made(
    places: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dear.png").write_text("dear")
    Path("full").mkdir()
    Path("full", "seed1-step-001.png").touch()
    given = {n: Path(v) if isinstance(v, str) and n != "by" else v for n, v in places.items()}
    with pytest.raises(LdmError, match=re.escape(words)):
        preview(**given)
    assert Path("dear.png").read_text() == "dear"


def test_an_earlier_preview_is_replaced_and_nothing_else(
    ldm: Any, folder: Path, tmp_path: Path
) -> None:
    run = ["generate", "a star", "--model", folder, "--steps", 2, "-o", "out", "-n", 2, "-q"]
    code, out, err = ldm(*run, "--preview", "now.jpg", "--steps-to", "s", "--animation", "w.webp")
    assert (code, err, len(out.splitlines())) == (0, "", 2)
    assert Image.open("w.webp").n_frames >= 2
    assert len(list(Path("s").iterdir())) == 2
    first = Path("now.jpg").read_bytes()
    assert ldm(*run, "--preview", "now.jpg")[0] == 0
    assert Path("now.jpg").read_bytes() != first  # of other seeds
    Image.new("RGB", (8, 8)).save("now.jpg")
    mine = Path("now.jpg").read_bytes()
    code, out, err = ldm(*run, "--preview", "now.jpg")
    assert (code, out, "is there already" in err) == (2, "", True)
    assert Path("now.jpg").read_bytes() == mine


def test_frames_are_a_folder_of_steps_where_they_are_no_number(
    ldm: Any, folder: Path, tmp_path: Path
) -> None:
    run = ["generate", "a star", "--model", folder, "--steps", 2, "--seed", 1, "-o", "out", "-q"]
    assert ldm(*run, "--frames=./s")[0] == 0
    assert [path.name for path in sorted(Path("s").iterdir())] == [
        "seed1-step-001.png", "seed1-step-002.png",
    ]  # fmt: skip
    code, _, err = ldm(*run, "--frames", "again/")  # which is there, and not made again
    assert (code, "so that --steps-to did not see it form" in err) == (0, True)
    assert not Path("again").exists()
    for words, said in (
        (["--frames", "s"], "with a slash, as --frames steps/"),
        (["--frames", "5"], "with a slash, as --frames steps/"),
        (["--frames", "a/", "--steps-to", "b"], "named 2 times"),
        (["--frames", "a/", "--frames", "b/"], "named 2 times"),
    ):
        code, out, err = ldm(*run, *words)
        assert (code, out, said in err) == (2, "", True), words
    replay = ["replay", "out/a-star-seed1.png", "-q", "--allow-files", "--frames"]
    assert ldm(*replay, "7")[0] == 2
    assert ldm(*replay, "replayed/")[0] == 0
    assert len([*Path("replayed").iterdir()]) == 2
    assert sorted(path.name for path in Path().iterdir()) == ["out", "replayed", "s"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--preview", "a.png", "--sheet", "a.png"], "name the same file"),
        (["--preview-by", "linear"], "says how"),
        (["--preview", "a.png", "--preview-by", "linea"], "linear or decoder"),
        (["--preview", "inline"], "standard error stream"),
        (["--preview", "inline", "--prompts", "lines.txt", "--workers", "2"], "shows one picture"),
        (["--preview", "a.png", "--animation", "a.png", "--prompts", "lines.txt"], "the same file"),
        (["--animation", "w.gif", "--prompts", "lines.txt"], "w-of-others.gif' is there already"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    ldm: Any, folder: Path, flags: list[str], words: str
) -> None:
    Path("lines.txt").write_text("a star\n")
    Path("w-of-others.gif").touch()
    prompt = [] if "--prompts" in flags else ["a star"]
    code, out, err = ldm("generate", *prompt, "--model", folder, *flags)
    assert (code, out, words in err) == (2, "", True), err
    assert not Path("pictures").exists()


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"KITTY_WINDOW_ID": "1", "TERM": "xterm"}, "kitty"),
        ({"KITTY_WINDOW_ID": "1", "TERM": "tmux-256color"}, "blocks"),
        ({"TERM_PROGRAM": "iTerm.app", "TMUX": "/tmp/1"}, "blocks"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "foot"}, "sixel"),
        ({"KONSOLE_VERSION": "220401"}, "sixel"),
        ({"KONSOLE_VERSION": "210801"}, "blocks"),
        ({"TERM": "xterm", "LDM_TERMINAL": "sixel"}, "sixel"),
        ({"TERM": "xterm-kitty", "LDM_TERMINAL": "blocks"}, "blocks"),
        ({}, "blocks"),
    ],
)
def test_a_terminal_is_taken_at_its_word(environment: Mapping[str, str], protocol: str) -> None:
    assert protocol_of(environment) == protocol


def test_half_blocks_are_two_pixels_each() -> None:
    """Read back from what is printed."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8))
    text, rows = in_terminal(image, "blocks", 7, 24)
    assert (rows, text.count("\n")) == (2, 2)
    pair = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+)m\x1b\[48;2;(\d+);(\d+);(\d+)m▀")
    for row, line in enumerate(text.splitlines()):
        cells = np.array([[int(n) for n in cell] for cell in pair.findall(line)])
        assert np.array_equal(cells[:, :3], pixels(image)[2 * row])
        assert np.array_equal(cells[:, 3:], pixels(image)[2 * row + 1])


@pytest.mark.parametrize(
    ("protocol", "parts"),
    [("kitty", r"\x1b_G[^;]*;([^\x1b]*)\x1b\\"), ("iterm2", r"\x1b\]1337;[^:]*:([^\x07]*)\x07")],
)
def test_a_terminal_with_a_protocol_gets_the_picture_itself(protocol: str, parts: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    text, _ = in_terminal(image, protocol, 80, 24)
    several = re.findall(parts, text)
    assert all(len(part) <= 4096 for part in several) or protocol == "iterm2"
    sent = Image.open(io.BytesIO(base64.b64decode("".join(several))))
    assert np.array_equal(pixels(sent), pixels(image))
    if protocol == "kitty":
        more = re.findall(r"m=([01])", text)
        assert more == ["1"] * (len(several) - 1) + ["0"]


def drawn(sixels: str) -> np.ndarray[Any, Any]:
    """What a terminal draws, by DEC's manual: -1 where it draws nothing."""
    wide, high, rest = re.fullmatch(r'\x1bP0;1;0q"1;1;(\d+);(\d+)(.*)\x1b\\', sixels).groups()  # type: ignore[union-attr]
    canvas = np.full((int(high) + 5, int(wide), 3), -1, np.int16)
    colours: dict[str, list[int]] = {}
    x = top = 0
    own: list[int] = []
    for number, rgb, times, letter, motion in re.findall(
        r"#(\d+)(?:;2;(\d+;\d+;\d+))?|(?:!(\d+))?([?-~])|([$-])", rest
    ):
        if number:
            if rgb:
                colours[number] = [round(255 * int(part) / 100) for part in rgb.split(";")]
            own = colours[number]
        elif motion:
            x, top = 0, top + 6 * (motion == "-")
        else:
            count = int(times or 1)
            for bit in range(6):
                if ord(letter) - 63 >> bit & 1:
                    canvas[top + bit, x : x + count] = own
            x += count
    assert (canvas[int(high) :] == -1).all()
    return canvas[: int(high)]


@pytest.mark.parametrize("size", [(1, 1), (13, 20), (40, 12)])
def test_sixels_are_the_picture(size: tuple[int, int]) -> None:
    """Of colours that hundredths can say."""
    wide, high = size
    levels = np.array([0, 51, 204, 255], np.uint8)
    noise = levels[np.random.default_rng(0).integers(0, 4, (high, wide, 3))]
    noise[:, wide // 2 :] = noise[:1, wide // 2 :]  # and runs of one colour
    image = Image.fromarray(noise)
    assert np.array_equal(drawn(as_sixel(image)), pixels(image))


def test_sixels_lie_in_lines_that_were_free_and_the_cursor_goes_beneath() -> None:
    image = Image.new("RGB", (64, 32), (255, 0, 51))
    text, rows = in_terminal(image, "sixel", 41, 24, (8, 16))
    assert rows == 10  # 40 cells across are 320 pixels, and so 160 down
    free, up, sixels, down = re.fullmatch(  # type: ignore[union-attr]
        r"(\n*)\x1b\[(\d+)A\x1b7(\x1bP.*\x1b\\)\x1b8\x1b\[(\d+)B\r", text
    ).groups()
    assert (len(free), int(up), int(down)) == (rows, rows, rows)
    assert drawn(sixels).shape == (160, 320, 3)
    assert (drawn(sixels) == [255, 0, 51]).all()
    _, rows = in_terminal(Image.new("RGB", (10, 1000)), "sixel", 200, 24)
    assert rows == 22  # two lines are left


def test_a_terminal_that_nobody_knows_is_refused(ldm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDM_TERMINAL", "sixle")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = ldm("generate", "a star", "--preview", "inline")
    assert (code, out) == (2, "")
    assert "LDM_TERMINAL is 'sixle', and should be one of" in err
    assert "Did you mean 'sixel'?" in err


class Terminal(io.StringIO):
    """A terminal of no size."""

    def isatty(self) -> bool:
        return True


def test_the_bar_counts_all_that_the_call_makes(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    pipe.replace(observers=["progress_bar"])(**CALL)
    said = terminal.getvalue()
    assert re.search(r"1-2 of 3: +0%.* 0/12 ", said)
    assert re.search(r"3 of 3: +67%.* 8/12 ", said)
    assert "it/s" in said
    monkeypatch.setattr(sys, "stderr", plain := io.StringIO())
    pipe.replace(observers=["progress_bar"])(**CALL)
    assert plain.getvalue() == ""
