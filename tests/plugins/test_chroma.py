"""The Chroma family: Diffusers' own pictures from the same folders.

Diffusers tells attention which tokens are words by adding 1 to their scores, where it would have to
take infinity from those of the others. In a window that the words and one token of padding fill,
it adds 1 to all, and is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from peers import Unpacked, apart, distance_to_peer

SMALL = {"width": 24, "height": 16, "num_inference_steps": 3}
NEGATIVE = ["a green square", "the small star"]
FILLED = {"max_sequence_length": 5}  # three words, the text's end, and one token of padding


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_chroma(tmp_path_factory.mktemp("chroma"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


def peer(folder: Path, cls: str = "ChromaPipeline") -> Unpacked:
    return Unpacked(getattr(diffusers, cls).from_pretrained(folder))


def picture(seed: int) -> Image.Image:
    noise = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (16, 24, 3), generator=noise)
    return Image.fromarray(pixels.to(torch.uint8).numpy())


@pytest.mark.parametrize(
    "call",
    [{}, {"guidance_scale": 1.0}, {"num_inference_steps": 1}, {"width": 160, "height": 128}],
    ids=["plain", "without guidance", "one step", "another shift"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    folder: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["num_inference_steps"] == 35
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 5.0}
    call = {**SMALL, "negative_prompt": NEGATIVE, **call}
    assert distance_to_peer(pipe, peer(folder), their=FILLED, **call) < 1e-5


def test_padding_beyond_one_token_says_nothing(folder: Path, pipe: Pipeline) -> None:
    """As the network was trained; in Diffusers' own window of 512 tokens it does."""
    theirs = peer(folder)
    theirs.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"prompt": "a red star", **SMALL, "guidance_scale": 1.0}
    filled, padded = (
        theirs(
            generator=[torch.Generator().manual_seed(3)], output_type="latent", **call, **window
        ).images
        for window in (FILLED, {})
    )
    found = pipe(seed=3, output_type="latent", **call).images
    assert apart(found, filled) < 1e-5
    assert apart(padded, filled) > 1e-3


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_a_start_from_a_picture_is_that_of_diffusers(folder: Path, strength: float) -> None:
    pipe = Pipeline.from_pretrained(folder).replace(conditioning=["text", "image"])
    theirs = peer(folder, "ChromaImg2ImgPipeline")
    call = {"image": [picture(1), picture(2)], "strength": strength, "negative_prompt": NEGATIVE}
    assert distance_to_peer(pipe, theirs, their=FILLED, **SMALL, **call) < 1e-5


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_repainting_is_that_of_diffusers(folder: Path, strength: float) -> None:
    pipe = Pipeline.from_pretrained(folder).replace(conditioning=["text", "mask"])
    theirs = peer(folder, "ChromaInpaintPipeline")
    # which asks the network's config for a key that Chroma's does not have
    theirs.pipeline.transformer.register_to_config(guidance_embeds=False)
    mask = Image.new("L", (24, 16))
    mask.paste(255, (4, 4, 16, 12))
    distance = distance_to_peer(
        pipe,
        theirs,
        {"mask": mask},
        {"mask_image": mask, **FILLED},
        image=[picture(1), picture(2)],
        strength=strength,
        negative_prompt=NEGATIVE,
        guidance_scale=5.0,
        **SMALL,
    )
    assert distance < 1e-5


def test_an_image_of_four_is_what_it_is_alone(pipe: Pipeline) -> None:
    prompts = ["a red star", "a large blue circle on the green square", "", "a circle"]
    call: dict[str, Any] = {**SMALL, "output_type": "latent"}
    four = pipe(prompts, seed=[1, 2, 3, 4], **call).images
    for i, prompt in enumerate(prompts):
        assert apart(four[i], pipe(prompt, seed=i + 1, **call).images[0]) < 1e-5


def test_the_inpainting_class_has_its_own_defaults(tmp_path: Path) -> None:
    folder = tiny.write_chroma(tmp_path, pipeline="ChromaInpaintPipeline")
    recipe = Pipeline.from_pretrained(folder).recipe
    assert recipe["num_inference_steps"] == 28
    assert recipe["guidance"] == {"name": "classifier_free", "scale": 7.0}


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"in_channels": 32}, "takes 32 channels a token"),
        ({"joint_attention_dim": 40}, "width 40, and T5 gives 32"),
        ({"axes_dims_rope": (8, 8)}, "should be three even numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    tmp_path: Path, network: dict[str, Any], message: str
) -> None:
    folder = tiny.write_chroma(tmp_path, **network)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


def test_words_cannot_be_weighed_where_texts_have_as_many_states_as_words(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="cannot be weighed"):
        pipe("a (red:1.5) star", **SMALL)
