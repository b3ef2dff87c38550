"""The Kolors family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diffusers import KolorsPipeline

import tiny
from altered import altered
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import apart, distance_to_peer
from video_peers import alone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_kolors(tmp_path_factory.mktemp("kolors"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def peer(folder: Path) -> KolorsPipeline:
    return KolorsPipeline.from_pretrained(folder)


@pytest.mark.parametrize(
    ("own", "their"),
    [
        ({}, {}),
        ({"original_size": "32x64"}, {"original_size": (64, 32)}),
    ],
    ids=["plain", "sizes"],
)
@pytest.mark.parametrize(
    "call",
    [{}, {"guidance_scale": 1.0, "height": 24, "width": 32}, {"negative_prompt": ["red", "红 星"]}],
    ids=["nothing", "no guidance", "negative prompts"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    pipe: Pipeline,
    peer: KolorsPipeline,
    own: dict[str, Any],
    their: dict[str, Any],
    call: dict[str, Any],
) -> None:
    assert pipe.recipe["scheduler"]["name"] == "euler"
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 5.0}
    assert distance_to_peer(pipe, peer, own, their, **call) < 1e-5


def test_words_are_seen(pipe: Pipeline) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent"}
    star, circle = (pipe(text, **call).images for text in ("a red star", "a blue circle"))
    assert apart(star, circle) > 1e-3
    weighed = pipe.replace(conditioning=[{"name": "text", "weights": True}, "size"])
    assert apart(weighed("a (red:1.5) star", **call).images, star) > 1e-5


def test_a_picture_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    prompts = ["a red star", "", "the small yellow square is large, a blue circle", "红"]
    assert alone(pipe, {"prompt": prompts}) < 1e-5


def test_what_the_window_cuts_off_is_said(pipe: Pipeline) -> None:
    text = pipe.model.abilities["text"]
    tokenizer = pipe.model.parts["tokenizer"].module
    assert text.overflow("a red star") == ""
    long = "a red star on the green background, " * 40
    lost = text.overflow(long)
    assert lost
    assert long.endswith(lost)
    ids = tokenizer(long.removesuffix(lost)).input_ids
    assert len(ids) <= 256 < len(tokenizer(long).input_ids)
    spans = text.tokens("a red star")["text"]
    assert len(spans) == 256
    assert "".join("a red star"[start:end] for start, end in spans) == "a red star"


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("unet/config.json", {"encoder_hid_dim": 8}, "width 8, and ChatGLM gives 32"),
        ("unet/config.json", {"encoder_hid_dim_type": None}, "'text_proj'"),
        ("unet/config.json", {"addition_time_embed_dim": 4}, "make 56 of the kind text_time"),
        ("model_index.json", {"force_zeros_for_empty_prompt": True}, "draws nothing"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    folder: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    with altered(folder / file, changes), pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


def test_a_folder_without_its_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = tiny.write_kolors(tmp_path)
    (folder / "tokenizer" / "tokenizer.model").unlink()
    with pytest.raises(LdmError, match=r"no vocabulary: neither tokenizer\.json nor"):
        compose({"model": str(folder)}, installed())
