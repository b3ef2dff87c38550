"""What a text encoder gave in place of prompts: Diffusers' latents, and those of the prompts."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AuraFlowPipeline,
    Flux2KleinPipeline,
    FluxPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from safetensors.torch import save_file

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Unequal
from ldm_core.media.manifest import recipe_of
from ldm_pipelines.text_to_image import text_to_image
from peers import Flux2Peer, Unpacked, apart

PROMPTS = ["a red star", "a blue circle"]
NAMES = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds")
TOKENS = 48
CALL: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}


def told(pipe: Pipeline) -> Pipeline:
    """A pipeline that takes embeddings in place of prompts."""
    own = pipe.recipe["conditioning"]
    return pipe.replace(
        conditioning=["prompt_embeds" if one["name"] == "text" else one for one in own]
    )


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Masked:
    """A pipeline of Diffusers that wants masks of the words, and leaves all of them as they are."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.set_progress_bar_config = pipeline.set_progress_bar_config

    def __call__(self, **call: Any) -> Any:
        names = {"prompt_embeds": "prompt_attention_mask"}
        names["negative_prompt_embeds"] = "negative_prompt_attention_mask"
        masks = {mask: torch.ones(call[name].shape[:2]) for name, mask in names.items()}
        return self.pipeline(**call, **masks)


@pytest.mark.parametrize(
    ("write", "peer", "size"),
    [
        (tiny.write_stable_diffusion, StableDiffusionPipeline.from_pretrained, {}),
        (tiny.write_stable_diffusion_xl, StableDiffusionXLPipeline.from_pretrained, {}),
        (tiny.write_stable_diffusion_3, StableDiffusion3Pipeline.from_pretrained, {}),
        (
            tiny.write_flux,
            lambda folder: Unpacked(FluxPipeline.from_pretrained(folder)),
            {"width": 64, "height": 64},
        ),
        (
            tiny.write_aura_flow,
            lambda folder: Masked(AuraFlowPipeline.from_pretrained(folder)),
            {"width": 16, "height": 16},
        ),
        (
            tiny.write_flux_2,
            lambda folder: Flux2Peer(Flux2KleinPipeline.from_pretrained(folder)),
            {"width": 24, "height": 16},
        ),
    ],
    ids=["sd", "xl", "sd3", "flux", "aura_flow", "flux_2"],
)
def test_any_embeddings_are_taken_as_in_diffusers(
    tmp_path: Path, write: Any, peer: Any, size: dict[str, int]
) -> None:
    folder = write(tmp_path)
    pipe = Pipeline.from_pretrained(folder)
    like = pipe.model.abilities["text"].encode([None])
    guided = write is not tiny.write_flux
    embeds = {}
    for sign in ("", "negative_") if guided else ("",):
        for name, key in (("prompt_embeds", "text"), ("pooled_prompt_embeds", "pooled")):
            if key in like:
                place = name if not sign else f"negative_{name}"
                shape = list(like[key].shape[1:])
                if key == "text":
                    assert shape[0] != TOKENS
                    shape[0] = TOKENS
                embeds[place] = random(2, *shape, seed=len(embeds))
    theirs = peer(folder)
    theirs.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    expected = theirs(
        generator=generators, **embeds, **CALL, **({"width": 16, "height": 16} | size)
    )
    found = told(pipe)(
        seed=3, **{name: list(value) for name, value in embeds.items()}, **CALL, **size
    ).images
    assert apart(found, expected.images) < 1e-5


def test_what_the_encoder_gives_is_what_the_prompts_give(folder: Path, tmp_path: Path) -> None:
    pipe = Pipeline.from_pretrained(folder)
    states = pipe.model.abilities["text"].encode(["a red star", "a blue circle", "green"])["text"]
    want = pipe(PROMPTS, seed=3, **CALL).images
    assert apart(told(pipe)(seed=3, prompt_embeds=list(states[:2]), **CALL).images, want) < 1e-6
    away = pipe(PROMPTS, negative_prompt=["green", None], seed=3, **CALL).images
    found = told(pipe)(
        seed=3, prompt_embeds=list(states[:2]), negative_prompt_embeds=[states[2], None], **CALL
    ).images
    assert apart(found, away) < 1e-6
    file = tmp_path / "star.safetensors"
    save_file({"text": states[0].contiguous()}, file)
    out = told(pipe)(seed=3, prompt_embeds=str(file), **CALL)
    assert apart(out.images, want[:1]) < 1e-5
    assert out.manifests[0]["inputs"]["prompt_embeds"] == str(file)


@pytest.mark.parametrize("kind", ["qwen_image", "krea_2", "chroma", "cogview_4"])
def test_what_has_as_many_states_as_words_is_told_a_text_of_any_length(
    tmp_path: Path, kind: str
) -> None:
    """The empty text's states are fewer, and those of two images need not be as many."""
    pipe = Pipeline.from_pretrained(getattr(tiny, f"write_{kind}")(tmp_path))
    prompts = ["a red star on a blue field " * 4, "green"]
    encode = pipe.model.abilities["text"].encode
    states = [encoded_row(encode([text]))["text"][0] for text in prompts]
    assert states[0].shape[0] > states[1].shape[0]
    assert states[0].shape[0] > encoded_row(encode([None]))["text"].shape[1]
    want = pipe(prompts, seed=3, **CALL).images
    assert apart(told(pipe)(seed=3, prompt_embeds=states, **CALL).images, want) < 1e-6


def encoded_row(encoded: Any) -> Any:
    """What an encoder gave of a single text."""
    return encoded.each[0] if isinstance(encoded, Unequal) else encoded


def test_a_manifest_says_which_tensors_arrays_and_pictures_they_were(folder: Path) -> None:
    """By type, shape and a hash of the numbers, wherever they lie in memory."""
    pipe = told(Pipeline.from_pretrained(folder)).replace(conditioning=["prompt_embeds", "image"])
    width = pipe.model.abilities["text"].encode([None])["text"].shape[-1]
    texts = random(width, 2 * 4, seed=1).T[::2]  # rows that are not one after the other
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    call: dict[str, Any] = {"seed": 3, "prompt_embeds": [texts], **CALL}
    out = pipe(image=[pixels], **call)
    said = out.manifests[0]["inputs"]
    written = struct.pack(f"<{texts.numel()}f", *(float(x) for row in texts for x in row))
    assert said["prompt_embeds"] == {
        "python": "torch.Tensor",
        "shape": [4, width],
        "dtype": "float32",
        "sha256": hashlib.sha256(written).hexdigest(),
    }
    assert said["image"]["sha256"] == hashlib.sha256(bytes(pixels.ravel())).hexdigest()
    drawn = pipe(image=Image.fromarray(pixels), **call).manifests[0]["inputs"]["image"]
    assert drawn["sha256"] == said["image"]["sha256"]
    assert (drawn["dtype"], drawn["shape"]) == ("RGB", [16, 16])
    other = pipe(image=[pixels], **{**call, "prompt_embeds": [texts.half()]}).manifests[0]
    assert other["inputs"]["prompt_embeds"]["sha256"] != said["prompt_embeds"]["sha256"]
    with pytest.raises(LdmError, match=r"made with a (torch\.Tensor|numpy\.ndarray) for its"):
        recipe_of(json.loads(json.dumps(out.manifests[0])))


def test_texts_of_other_lengths_go_together(folder: Path) -> None:
    """An image's text may be longer than another's, and is not padded for it."""
    pipe = told(Pipeline.from_pretrained(folder))
    width = pipe.model.abilities["text"].encode([None])["text"].shape[-1]
    long, short = random(20, width, seed=1), random(5, width, seed=2)
    both = pipe(seed=[5, 5], prompt_embeds=[long, short], **CALL).images
    for place, one in enumerate((long, short)):
        alone = text_to_image(pipe, seed=5, prompt_embeds=one, **CALL).images[0]  # without a prompt
        assert apart(alone, both[place]) < 1e-5


@pytest.mark.parametrize(
    "write", [tiny.write_pixart, tiny.write_ltx_video, tiny.write_z_image, tiny.write_sana]
)
def test_all_that_a_network_is_told_may_come_in_one(tmp_path: Path, write: Any) -> None:
    """The networks of PixArt, LTX-Video, Z-Image and Sana are told a mask of the text beside its
    states."""
    pipe = Pipeline.from_pretrained(write(tmp_path))
    row = pipe.model.abilities["text"].encode(["a red star"])
    table = {key: value[0] for key, value in row.items()}
    want = pipe("a red star", seed=3, **CALL).images
    assert apart(told(pipe)(seed=3, prompt_embeds=table, **CALL).images, want) < 1e-6
    words = int(table["text_mask"].sum())
    short = {key: value[:words] for key, value in table.items()}
    assert apart(told(pipe)(seed=3, prompt_embeds=short, **CALL).images, want) < 1e-5
    with pytest.raises(LdmError, match=r"is told .* of a text, and the prompt_embeds lack"):
        told(pipe)(seed=3, prompt_embeds=table["text"], **CALL)
    uneven = {**table, "text_mask": short["text_mask"]}
    with pytest.raises(LdmError, match=r"of a different number of tokens: \d+ for 'text' and"):
        told(pipe)(seed=3, prompt_embeds=uneven, **CALL)


def test_so_it_may_where_that_is_more_or_other_than_states(tmp_path: Path) -> None:
    """Stable Audio's network is told a single number too, and unCLIP's prior reads the prompt
    itself; Stable Cascade is told nothing but of the text as a whole, which a file may name."""
    sound = Pipeline.from_pretrained(tiny.write_stable_audio(tmp_path / "sound"))
    prior = Pipeline.from_pretrained(tiny.write_unclip(tmp_path / "prior"))
    for pipe, inputs in ((sound, {"samples": 64}), (prior, {"prompt": "a red star"})):
        row = pipe.model.abilities["text"].encode(["a red star"])
        call = {"prompt": "a red star", "seed": 3, **inputs, **CALL}
        want = pipe(**call).images
        if pipe is sound:
            del call["prompt"]
        table = {key: value[0] for key, value in row.items()}
        assert apart(told(pipe)(prompt_embeds=table, **call).images, want) < 1e-6
    with pytest.raises(LdmError, match="this pipeline needs 'prompt'"):
        told(prior)(prompt_embeds=table, seed=3, **CALL)
    cascade = Pipeline.from_pretrained(tiny.write_stable_cascade(tmp_path / "cascade"))
    row = cascade.model.abilities["text"].encode(["a red star"])
    save_file({"pooled": row["pooled"]}, tmp_path / "pooled.safetensors")
    embeddings = tiny.folders.write_embeddings(tmp_path / "e.safetensors", height=32, width=48)
    call = {"image_embeddings": embeddings, "width": 48, "height": 32, "seed": 3, **CALL}
    want = cascade("a red star", **call).images
    for value in (tmp_path / "pooled.safetensors", row["pooled"][0]):
        assert apart(told(cascade)(prompt_embeds=value, **call).images, want) < 1e-6


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    made = compose({"model": str(folder), "conditioning": ["prompt_embeds"]})
    for value, match in (
        ("a.png", r"should name a \.safetensors file"),
        (random(4, 4, seed=1) / 0, "not finite"),
        (3, "should be a tensor"),
    ):
        with pytest.raises(LdmError, match=match):
            made.plan({"prompt_embeds": value}, [1])
    pipe = told(Pipeline.from_pretrained(folder))
    for shape in (16, 8), (0, pipe.model.abilities["text"].encode([None])["text"].shape[-1]):
        match = r"\('text'\) of one image should have the shape \(tokens, \d+\)|no numbers|empty"
        with pytest.raises(LdmError, match=match):
            pipe(seed=1, prompt_embeds=random(*shape, seed=1), **CALL)
    width = pipe.model.abilities["text"].encode([None])["text"].shape[-1]
    states = random(16, width, seed=1)
    with pytest.raises(LdmError, match="is told 'text' of a text, and not 'pooled'"):
        pipe(seed=1, prompt_embeds=states, pooled_prompt_embeds=states[0], **CALL)
    with pytest.raises(LdmError, match="would be told two texts"):
        pipe(seed=1, prompt_embeds=states, negative_pooled_prompt_embeds=states[0], **CALL)
    xl = told(Pipeline.from_pretrained(tiny.write_stable_diffusion_xl(tmp_path)))
    with pytest.raises(LdmError, match="lack 'pooled'; give pooled_prompt_embeds"):
        xl(seed=1, prompt_embeds=random(16, 64, seed=1), **CALL)
