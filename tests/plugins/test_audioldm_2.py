"""The AudioLDM 2 family: Diffusers' own sounds from the same folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AudioLDM2Pipeline

import tiny
from altered import altered
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from ldm_pipelines.timed import check_reads
from peers import apart
from video_peers import alone

LENGTH = {"samples": 128}
PROMPT, NEGATIVE = "a red star", "the green background, a red star"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_audioldm_2(tmp_path_factory.mktemp("audioldm_2"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def peer(folder: Path) -> AudioLDM2Pipeline:
    """It needs a feature extractor, which it only uses to choose among several sounds."""
    from transformers import ClapFeatureExtractor

    extractor = ClapFeatureExtractor()
    return AudioLDM2Pipeline.from_pretrained(folder, feature_extractor=extractor)


def distance(
    pipe: Pipeline,
    peer: Any,
    own: dict[str, Any] | None = None,
    their: dict[str, Any] | None = None,
    prompt: str | None = PROMPT,
) -> float:
    """Relative distance to Diffusers in latents and samples, whichever is larger, of a sound by
    itself: in a batch, Diffusers has the language model go on behind the longest text."""
    peer.set_progress_bar_config(disable=True)
    noise = pipe.noise([3], LENGTH)()
    distances = []
    for output_type in ("latent", "np"):
        both: dict[str, Any] = {"num_inference_steps": 3, "output_type": output_type}
        expected = peer(
            prompt, latents=noise, audio_length_in_s=0.16, max_new_tokens=8, **both, **(their or {})
        ).audios
        made = pipe(prompt, seed=3, **both, **LENGTH, **(own or {})).images
        distances.append(apart(made if output_type == "latent" else made[:, 0], expected))
    return max(distances)


def test_nothing_chosen_gives_what_diffusers_gives(pipe: Pipeline, peer: Any) -> None:
    assert pipe.recipe["num_inference_steps"] == 200
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 3.5}
    info = pipe.model.info
    assert (info.default_extent, info.rate, info.audio_channels) == ({"samples": 256}, 800.0, 1)
    assert distance(pipe, peer) < 1e-4


@pytest.mark.parametrize("negative", [NEGATIVE, "a star"])
def test_a_negative_prompt_that_is_longer_or_shorter(
    pipe: Pipeline, peer: Any, negative: str
) -> None:
    said = {"negative_prompt": negative}
    if negative == NEGATIVE:
        with pytest.warns(LdmWarning, match="its end is left out"):
            assert distance(pipe, peer, said, said) < 1e-4
    else:
        assert distance(pipe, peer, said, said) < 1e-4


def test_embeddings_in_place_of_prompts_give_what_diffusers_gives(
    pipe: Pipeline, peer: Any
) -> None:
    """T5's states, which of them are words, and what the language model adds: any numbers."""
    draw = torch.Generator().manual_seed(1)
    ability = pipe.model.abilities["sound_text"]
    texts = [ability.encode(text) for text in (PROMPT, NEGATIVE)]
    for away in (texts[1], None):
        own, their = {}, {}
        for start, text in (("", texts[0]), ("negative_", away)):
            if text is not None:
                text = {key: text[key][:, : texts[0][key].shape[1]] for key in text}
                heard = {key: torch.randn(text[key].shape, generator=draw) for key in text}
                heard["text_mask"] = text["text_mask"]
                own[f"{start}prompt_embeds"] = {key: value[0] for key, value in heard.items()}
                their[f"{start}prompt_embeds"] = heard["text"]
                their[f"{start}attention_mask"] = heard["text_mask"]
                their[f"{start}generated_prompt_embeds"] = heard["spoken"]
        told = pipe.replace(conditioning=["prompt_embeds"])
        assert distance(told, peer, own, their, prompt=None) < 1e-4
    with pytest.raises(LdmError, match="lack 'spoken' and 'text_mask'"):
        told(prompt_embeds=texts[0]["text"], seed=3, **LENGTH)


def test_no_guidance(pipe: Pipeline, peer: Any) -> None:
    plain = pipe.replace(guidance="none")
    assert distance(plain, peer, their={"guidance_scale": 1.0}) < 1e-4


def test_words_are_heard(pipe: Pipeline) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent", **LENGTH}
    assert apart(pipe("a blue circle", **call).images, pipe("a red star", **call).images) > 1e-3


def test_a_sound_depends_on_its_own_texts_and_seed(pipe: Pipeline) -> None:
    inputs = {
        "prompt": [PROMPT, "the blue circle", "", "a red star"],
        "negative_prompt": ["a", None, None, ""],
    }
    assert alone(pipe, inputs, **LENGTH) < 1e-5


def test_a_sound_is_of_the_length_that_is_asked_for(pipe: Pipeline) -> None:
    """The vocoder gives some samples more."""
    made = pipe(PROMPT, seed=1, num_inference_steps=1, **LENGTH)
    assert (made.kind, made.rate, made.images.shape) == ("audio", 800.0, (1, 1, 128))


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m", "heun", "unipc", "lcm"])
def test_ordinary_schedulers_run_on_it(pipe: Pipeline, scheduler: str) -> None:
    made = pipe.replace(scheduler=scheduler)(
        PROMPT, seed=1, num_inference_steps=3, output_type="latent", **LENGTH
    ).images
    assert made.isfinite().all()
    assert 0.01 < made.std() < 500


def test_chunked_attention_gives_the_same(pipe: Pipeline) -> None:
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent", **LENGTH}
    chunked = pipe.replace(attention={"name": "chunked", "query_chunk": 5, "key_chunk": 4})
    assert apart(chunked(PROMPT, **call).images, pipe(PROMPT, **call).images) < 1e-5


def test_it_cannot_start_from_a_sound(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="cannot start from a sound"):
        pipe.encode(pipe.noise([0], LENGTH)()[:, :2, :, 0], seed=0)
    with pytest.raises(LdmError, match="it has no encoder for sounds"):  # before weights are read
        check_reads(pipe, "audio")


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("unet/config.json", {"in_channels": 8}, "takes 8 channels and the autoencoder gives 4"),
        ("unet/config.json", {"cross_attention_dim": [8, 16]}, r"the widths \[8, 16\]"),
        ("projection_model/config.json", {"text_encoder_dim": 8}, "CLAP of width 8, and it gives"),
        ("projection_model/config.json", {"langauge_model_dim": 8}, "GPT-2 of width 8"),
        ("vocoder/config.json", {"model_in_dim": 7}, "7 bins of pitch"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    folder: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    with altered(folder / file, changes), pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())
