"""The sounds that ACE-Step's tasks work on: Diffusers' own music of them from the same folder.

Diffusers draws what the autoencoder hears from torch's own generator; here both take the mean.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AceStepPipeline
from diffusers.models.autoencoders.autoencoder_oobleck import OobleckDiagonalGaussianDistribution

import tiny
from altered import altered
from ldm_core import Pipeline
from ldm_core.composition.compose import compose, recompose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import apart
from video_peers import alone

LENGTH = {"samples": 168}  # an odd number of places, and no whole number of codes
CALL: dict[str, Any] = {"num_inference_steps": 3}  # 1000 is no multiple of 3
WORDS = "a red star"
CODES = "".join(f"<|audio_code_{i}|>" for i in (3, 23, 0, 7, 11, 5, 19))
SOURCE, SHORT, LONG = (
    np.random.default_rng(length).uniform(-1, 1, (2, length)).astype(np.float32)
    for length in (168, 700, 3001)
)
"""One that is worked on, and two whose timbre is followed, of less and more than 30 seconds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_ace_step(tmp_path_factory.mktemp("ace_step"), codes=True)


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def peer(folder: Path) -> Any:
    peer = AceStepPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    return peer


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean(self: Any, generator: Any = None) -> torch.Tensor:
        found: torch.Tensor = self.mode()
        return found

    monkeypatch.setattr(OobleckDiagonalGaussianDistribution, "sample", mean)


def both(pipe: Pipeline, peer: Any, own: dict[str, Any], output_type: str) -> tuple[Any, Any]:
    """What is made here and there. Diffusers tells the network of 60 seconds unless it is told of
    others, however long the sound is."""
    their = {k: torch.from_numpy(v) if k.endswith("_audio") else v for k, v in own.items()}
    if "complete_track_classes" in their:
        their["complete_track_classes"] = their["complete_track_classes"].split(", ")
    noise = pipe.noise([3], LENGTH)().transpose(1, 2)
    given = {**their, **CALL, "output_type": output_type}
    expected = peer(WORDS, latents=noise, audio_duration=2.1, **given).audios
    made = pipe(WORDS, seed=3, **own, **CALL, **LENGTH, output_type=output_type).images
    return made, expected.transpose(1, 2) if output_type == "latent" else expected


TIMES = {"repainting_start": 0.53, "repainting_end": 1.27}
ASKED: list[dict[str, Any]] = [
    {"reference_audio": SHORT},
    {"reference_audio": LONG},
    {"task_type": "repaint", "src_audio": SOURCE, **TIMES},
    {"task_type": "repaint", "src_audio": SOURCE, "repainting_start": 0.9},
    {"task_type": "lego", "src_audio": SOURCE, "track_name": "drums", **TIMES},
    {"task_type": "lego", "src_audio": SOURCE},
    {"task_type": "extract", "src_audio": SOURCE, "track_name": "vocals"},
    {"task_type": "complete", "src_audio": SOURCE, "complete_track_classes": "drums, bass"},
    {"task_type": "complete", "src_audio": SOURCE},
    {"task_type": "cover", "src_audio": SOURCE, "instruction": "Sing it in another key"},
    {"task_type": "cover", "src_audio": SOURCE, "audio_cover_strength": 0.3},
    {"task_type": "cover", "reference_audio": SHORT, "audio_cover_strength": 0.8},
    {"audio_codes": CODES},
]


def name_of(asked: dict[str, Any]) -> str:
    return "-".join([asked.get("task_type", ""), *(k for k in asked if k != "task_type")])


@pytest.mark.usefixtures("means")
@pytest.mark.parametrize("asked", ASKED, ids=map(name_of, ASKED))
def test_a_task_gives_what_diffusers_gives(
    pipe: Pipeline, peer: Any, asked: dict[str, Any]
) -> None:
    assert apart(*both(pipe, peer, asked, "latent")) < 1e-4
    assert apart(*both(pipe, peer, asked, "np")) < 1e-4


def test_diffusers_draws_the_source_apart_from_the_seed(pipe: Pipeline, peer: Any) -> None:
    asked = {"task_type": "complete", "src_audio": SOURCE}
    first, second = (both(pipe, peer, asked, "latent") for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert (first[1] - second[1]).norm() > 1e-4 * first[1].norm()


def test_each_input_is_heard(pipe: Pipeline) -> None:
    def made(**asked: Any) -> Any:
        return pipe(WORDS, seed=3, **asked, **CALL, **LENGTH, output_type="latent").images

    cover = {"task_type": "cover", "src_audio": SOURCE}
    complete = {**cover, "task_type": "complete"}
    others = [
        made(),
        made(reference_audio=SHORT),
        made(**cover),
        made(**cover, audio_cover_strength=0.3),
        made(**complete),
        made(**complete, complete_track_classes="drums"),
        made(audio_codes=CODES),
        made(audio_codes=CODES.replace("23", "21")),
    ]
    pairs = [(a, b) for i, a in enumerate(others) for b in others[:i]]
    assert min((a - b).norm() / b.norm() for a, b in pairs) > 1e-4


def test_a_piece_depends_on_its_own_sounds_and_seed(pipe: Pipeline) -> None:
    inputs = {
        "prompt": [WORDS, "a blue circle on the green background", "", WORDS],
        "task_type": ["cover", "repaint", "text2music", "cover"],
        "src_audio": [SOURCE, SOURCE[:, ::-1].copy(), None, None],
        "repainting_start": [None, 0.5, None, None],
        "reference_audio": [None, SHORT, None, None],
        "audio_codes": [None, None, None, CODES],
        "audio_cover_strength": [0.5, 1.0, 1.0, 0.2],
    }
    assert alone(pipe, inputs, **LENGTH) < 1e-5


def test_a_sound_is_worked_on_by_the_command_line_and_made_again(
    ldm: Any, folder: Path, tmp_path: Path
) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "song.wav", SOURCE[:, :160].T, 80, subtype="FLOAT")
    soundfile.write(tmp_path / "voice.wav", SHORT.T, 80, subtype="FLOAT")
    words = ["audio-to-audio", "song.wav", WORDS, "--model", folder, "--seed", 3, "--steps", 2]
    task = ["--task-type", "repaint", "--repainting-start", 0.5, "--reference-audio", "voice.wav"]
    code, out, err = ldm(*words, *task, "--out", "o")
    assert code == 0, err
    assert soundfile.info(out.strip()).frames == 160  # as long as the sound is
    heard, _ = soundfile.read(out.strip(), dtype="int32")
    code, out, err = ldm("replay", "--allow-files", out.strip(), "--json")
    assert (code, json.loads(out)["verdict"]) == (0, "the same sound, sample for sample"), err
    assert np.array_equal(soundfile.read(json.loads(out)["path"], dtype="int32")[0], heard)
    code, _, err = ldm(*words, *task, "--strength", 0.5, "--out", "o")
    assert code != 0
    assert "repainting_start" in err


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"task_type": "covers"}, "not 'covers'. Did you mean 'cover'"),
        ({"task_type": "repaint", **TIMES}, "works on a sound, and none is given"),
        ({"task_type": "repaint", "src_audio": SOURCE}, "say repainting_start"),
        ({"task_type": "cover"}, "needs src_audio, audio_codes or"),
        ({"src_audio": SOURCE}, "name it as task_type"),
        ({"task_type": "cover", "src_audio": SOURCE, "audio_codes": CODES}, "give one of the two"),
        ({"task_type": "extract", "src_audio": SOURCE, **TIMES}, "is for the task repaint or lego"),
        ({"track_name": "drums"}, "is for the task extract or lego"),
        ({"audio_cover_strength": 0.5}, "is for the task cover"),
        ({"task_type": "lego", "src_audio": SOURCE, "repainting_start": 2.1}, "within the sound"),
        ({"audio_codes": "12, 7"}, "are text such as"),
        ({"audio_codes": "<|audio_code_24|>" * 7}, "go from 0 to 23: 24"),
        ({"audio_codes": CODES * 2}, "14 audio_codes are 4.2 seconds of sound, and 2.1 are made"),
        ({"reference_audio": SOURCE[0]}, r"floating-point samples \(channels, samples\)"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_weights_are_read(
    folder: Path, inputs: dict[str, Any], message: str
) -> None:
    composition = compose({"model": str(folder)}, installed())
    with pytest.raises(LdmError, match=message):
        composition.plan({"prompt": WORDS, **inputs}, [1], LENGTH, 2)


def test_a_share_of_the_text_alone_needs_estimates_of_the_guidance(folder: Path) -> None:
    """Refused before weights are read, in its first steps of rest too, and not without them."""
    cover = {"prompt": WORDS, "task_type": "cover", "src_audio": SOURCE}
    resting = compose({"model": str(folder), "guidance": "cfg_zero_star"}, installed())
    with pytest.raises(LdmError, match="into each estimate of the guidance"):
        resting.plan({**cover, "audio_cover_strength": 0.5}, [1], LENGTH, 2)
    resting.plan(cover, [1], LENGTH, 2)
    moving = recompose(resting, {"guidance": {"zero_init_steps": 0}})
    moving.plan({**cover, "audio_cover_strength": 0.5}, [1], LENGTH, 2)


def test_what_a_sound_is_taken_for_is_said_once(pipe: Pipeline) -> None:
    cover = {"task_type": "cover", "src_audio": SOURCE[:, :90], "audio_cover_strength": 0.5}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pipe(WORDS, seed=3, **cover, **CALL, **LENGTH, output_type="latent")
    assert sum("silence follows it" in str(one.message) for one in said) == 1


def test_a_folder_without_codes_covers_nothing(folder: Path, tmp_path: Path) -> None:
    plain = compose({"model": str(tiny.write_ace_step(tmp_path))}, installed())
    asked = {"prompt": WORDS, "task_type": "cover", "src_audio": SOURCE}
    with pytest.raises(LdmError, match="no networks that make codes of a sound"):
        plain.plan(asked, [1], LENGTH, 2)
    plain.plan({**asked, "task_type": "complete"}, [1], LENGTH, 2)


@pytest.mark.parametrize(
    "converter", ["sequential_offload", {"name": "group_offload", "to": "disk"}], ids=str
)
def test_codes_are_made_wherever_the_weights_wait(pipe: Pipeline, converter: Any) -> None:
    """The quantiser reads the weights of its layers without calling them."""
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 1, "output_type": "latent", **LENGTH}
    offloaded = pipe.replace(converters=[converter])
    for asked in ({"task_type": "cover", "src_audio": SOURCE}, {"audio_codes": CODES}):
        made = offloaded(WORDS, **asked, **call).images
        assert apart(made, pipe(WORDS, **asked, **call).images) < 1e-5


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("audio_tokenizer", {"audio_acoustic_hidden_dim": 8}, "is of latents of 8 channels"),
        ("audio_token_detokenizer", {"pool_window_size": 5}, "16 numbers for 3 places, and"),
    ],
)
def test_codes_that_do_not_fit_are_refused(
    folder: Path, part: str, changes: dict[str, Any], message: str
) -> None:
    file = folder / part / "config.json"
    with altered(file, changes), pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())
