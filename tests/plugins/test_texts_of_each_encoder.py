"""Texts of their own for each text encoder, and CLIPs without their last layers: what Diffusers
draws of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    FluxPipeline,
    HiDreamImagePipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from peers import Unpacked, apart, distance_to_peer

PROMPTS = ["a red star", "a blue circle"]
SECOND = {"prompt_2": ["a green square", "a small circle"]}
THIRD = {"prompt_3": ["a large star", "a red circle"]}
FOURTH = {"prompt_4": ["a blue star", "a circle"]}
WIDE = {"width": 24, "height": 16}
NEGATIVE = {"negative_prompt": ["green", ""], "negative_prompt_2": ["", "a star"]}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    to = tmp_path_factory.mktemp("kinds")
    return {
        "sd": tiny.write_stable_diffusion(to / "sd"),
        "xl": tiny.write_stable_diffusion_xl(to / "xl"),
        "sd3": tiny.write_stable_diffusion_3(to / "sd3"),
        "flux": tiny.write_flux(to / "flux"),
        "hidream": tiny.write_hidream(to / "hidream"),
    }


def _of_any_size(pipeline: Any) -> Any:
    """HiDream's pipeline, that scales a size to the largest area it knows: that of these."""
    pipeline.default_sample_size = 9.8
    return pipeline


PEERS: dict[str, Callable[[Path], Any]] = {
    "sd": StableDiffusionPipeline.from_pretrained,
    "xl": StableDiffusionXLPipeline.from_pretrained,
    "sd3": StableDiffusion3Pipeline.from_pretrained,
    "flux": lambda folder: Unpacked(FluxPipeline.from_pretrained(folder)),
    "hidream": lambda folder: _of_any_size(HiDreamImagePipeline.from_pretrained(folder)),
}


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("xl", {**SECOND, **NEGATIVE}),
        ("xl", SECOND),
        ("sd3", {**SECOND, **THIRD, **NEGATIVE, "negative_prompt_3": ["a circle", "red"]}),
        ("sd3", SECOND),
        ("sd3", {**THIRD, "negative_prompt": ["green", ""]}),
        ("flux", {**SECOND, "width": 64, "height": 64}),
        (
            "hidream",
            {**SECOND, **THIRD, **FOURTH, **NEGATIVE, "negative_prompt_4": ["a star", ""], **WIDE},
        ),
        ("hidream", {**THIRD, "negative_prompt": ["green", ""], **WIDE}),
        ("hidream", {**FOURTH, **WIDE}),
    ],
)
def test_each_encoder_reads_its_own_text(
    kinds: dict[str, Path], kind: str, call: dict[str, Any]
) -> None:
    pipe = Pipeline.from_pretrained(kinds[kind])
    assert distance_to_peer(pipe, PEERS[kind](kinds[kind]), num_inference_steps=2, **call) < 1e-5


@pytest.mark.parametrize(("kind", "skip"), [("sd", 1), ("xl", 1), ("sd3", 1)])
def test_layers_are_left_out_as_in_diffusers(kinds: dict[str, Path], kind: str, skip: int) -> None:
    pipe = Pipeline.from_pretrained(kinds[kind])
    skipping = pipe.replace(conditioning=_with(pipe, clip_skip=skip))
    call: dict[str, Any] = {"negative_prompt": ["green", ""], "num_inference_steps": 2}
    peer = PEERS[kind](kinds[kind])
    if kind == "sd":  # whose pipeline looks for the encoder's layers where they no longer are
        object.__setattr__(peer.text_encoder, "text_model", peer.text_encoder)
    assert distance_to_peer(skipping, peer, their={"clip_skip": skip}, **call) < 1e-5
    call |= {"seed": 3, "output_type": "latent"}
    here = skipping(PROMPTS, **call).images
    assert apart(here, pipe(PROMPTS, **call).images) > 1e-3
    both = pipe.replace(conditioning=_with(pipe, clip_skip=skip, negative_clip_skip=skip))
    assert apart(both(PROMPTS, **call).images, here) > 1e-4


def test_none_of_the_second_text_is_the_first(kinds: dict[str, Path]) -> None:
    """An image whose second text is left out reads the first, whatever others of its batch say."""
    pipe = Pipeline.from_pretrained(kinds["xl"])
    call: dict[str, Any] = {"num_inference_steps": 2, "seed": [5, 5], "output_type": "latent"}
    own = pipe(PROMPTS, prompt_2=["a green square", None], **call).images
    same = pipe(PROMPTS, **call).images
    assert apart(own[1], same[1]) < 1e-5
    assert apart(own[0], same[0]) > 1e-3


def test_long_second_texts_are_seen_in_as_many_windows(kinds: dict[str, Path]) -> None:
    """Seeing an empty text as often is seeing it once, and a text is seen whole."""
    pipe = Pipeline.from_pretrained(kinds["xl"])
    chunks = pipe.replace(conditioning=_with(pipe, too_long="chunk"))
    long = "a large red circle and a small blue star on a green background"
    call: dict[str, Any] = {"num_inference_steps": 2, "seed": 5, "output_type": "latent"}
    second = chunks("a red star", prompt_2=long, **call).images
    swapped = chunks(long, prompt_2="a red star", **call).images
    assert second.isfinite().all()
    assert apart(second, swapped) > 1e-3
    assert apart(second, chunks("a red star", prompt_2=long + " star", **call).images) > 1e-4


def test_what_cannot_be_said_is_refused_before_weights(kinds: dict[str, Path]) -> None:
    def composed(kind: str, **options: Any) -> Any:
        return compose({"model": str(kinds[kind]), "conditioning": [{"name": "text", **options}]})

    with pytest.raises(LdmError, match="reads no states of a CLIP"):
        composed("flux", clip_skip=1)
    with pytest.raises(LdmError, match="takes no 'prompt_2'"):
        composed("sd").plan({"prompt": "a star", "prompt_2": "a circle"}, [1])
    pipe = Pipeline.from_pretrained(kinds["xl"])
    with pytest.raises(LdmError, match="a negative_prompt_2 is said and no negative_prompt"):
        pipe("a star", negative_prompt_2="green")
    with pytest.raises(LdmError, match="should be text"):
        pipe("a star", prompt_2=3)
    deep = pipe.replace(conditioning=_with(pipe, clip_skip=9))
    with pytest.raises(LdmError, match="9 layers of the text encoder cannot be left out: at most"):
        deep("a star", seed=1)


def test_kept_texts_know_the_layers_that_are_left_out(kinds: dict[str, Path]) -> None:
    pipe = Pipeline.from_pretrained(kinds["xl"])
    call: dict[str, Any] = {"num_inference_steps": 2, "seed": 5, "output_type": "latent", **SECOND}
    for options in ({}, {"clip_skip": 1}):
        plain = pipe.replace(conditioning=_with(pipe, **options))
        kept = plain.replace(converters=["text_cache"])
        want = plain(PROMPTS, **call).images
        assert torch.equal(kept(PROMPTS, **call).images, want)


def _with(pipe: Pipeline, **options: Any) -> list[Any]:
    """The pipeline's conditioning with options of its text."""
    rest = [one for one in pipe.recipe["conditioning"] if one["name"] != "text"]
    return [{"name": "text", **options}, *rest]


LONG = "a large red star on the blue circle at the small square"
WINDOWED = {
    "Flux schnell": ("FluxPipeline", 6),
    "SD 3": ("StableDiffusion3Pipeline", 9),
    "Chroma": ("ChromaPipeline", 6),
    "PixArt sigma": ("PixArtSigmaPipeline", 20),
    "AuraFlow": ("AuraFlowPipeline", 6),
    "LTX-Video": ("LTXPipeline", 20),
    "FLUX.2 klein": ("Flux2KleinPipeline", 40),
    "Z-Image": ("ZImagePipeline", 24),
}


@pytest.mark.parametrize("kind", WINDOWED)
def test_a_text_is_read_in_as_many_tokens_as_is_asked(pipes: Any, kind: str) -> None:
    """The states that the network sees are those of Diffusers' pipeline; padding that it does not
    see apart."""
    cls, length = WINDOWED[kind]
    pipe = pipes(kind)
    folder = pipe.model.info.folder
    own = pipe.recipe["conditioning"]
    text = {"name": "text", "max_sequence_length": length, "too_long": "warn"}
    chosen = pipe.replace(conditioning=[text, *own[1:]], guidance="none")
    peer = getattr(diffusers, cls).from_pretrained(folder)
    more: dict[str, Any] = {} if cls.startswith("Flux") else {"do_classifier_free_guidance": False}
    if cls.startswith("StableDiffusion3"):
        more |= dict.fromkeys(["prompt_2", "prompt_3"])
    with torch.no_grad():
        given = peer.encode_prompt([LONG], max_sequence_length=length, **more)
    expected = given[0][0]
    plan = chosen.composition.plan({"prompt": [LONG]}, [1])
    found = chosen.start(plan).conditions()["positive"]
    assert apart(found["text"][0][: len(expected)], expected) < 1e-5
    whole = pipe.start(pipe.composition.plan({"prompt": [LONG]}, [1])).conditions()["positive"]
    assert whole["text"].shape != found["text"].shape or not torch.equal(
        whole["text"], found["text"]
    )


def test_another_window_is_another_picture_as_in_diffusers(kinds: dict[str, Path]) -> None:
    """T5's padding is seen by the network; a model of a single length refuses another."""
    peer = PEERS["flux"](kinds["flux"])
    pipe = Pipeline.from_pretrained(kinds["flux"]).replace(
        conditioning=[{"name": "text", "max_sequence_length": 20}]
    )
    call = {"num_inference_steps": 2, **WIDE}
    assert distance_to_peer(pipe, peer, their={"max_sequence_length": 20}, **call) < 1e-5
    kept = pipe.replace(converters=["text_cache"])
    images = [p("a star", seed=1, output_type="latent", **call).images for p in (pipe, kept, kept)]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    with pytest.raises(LdmError, match="reads a text at a single length"):
        compose(
            {
                "model": str(kinds["sd"]),
                "conditioning": [{"name": "text", "max_sequence_length": 20}],
            }
        )
