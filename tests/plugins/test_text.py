"""Text: encoded once for each different prompt, reported where it does not fit the window."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ldm_core import LdmError, Pipeline
from ldm_core.errors import LdmWarning
from ldm_plugins.families.shared.clip_text import ClipEncoder, ClipTexts

LONG = "a large red circle and a small blue star on a green background"


def test_a_prompt_that_fits_is_not_reported(pipe: Pipeline) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe("a red star", seed=1)


def test_what_is_left_out_is_named_and_nothing_else(pipe: Pipeline) -> None:
    with pytest.warns(LdmWarning, match="left out") as caught:
        pipe(LONG, seed=1)
    lost = str(caught[0].message).partition("; '")[2].partition("' is left out")[0]
    assert lost
    assert LONG.endswith(lost)
    kept = LONG.removesuffix(lost).strip()
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("always")
        pipe(kept, seed=1)
    assert not [w for w in again if "left out" in str(w.message)]


def test_too_long_can_be_an_error(pipe: Pipeline) -> None:
    strict = pipe.replace(conditioning=[{"name": "text", "too_long": "error"}])
    with pytest.raises(LdmError, match="does not fit"):
        strict(LONG, seed=1)


def test_equal_prompts_are_encoded_once(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    ability = pipe.model.abilities["text"]
    seen: list[Any] = []
    encode = ability.encode
    monkeypatch.setattr(ability, "encode", lambda texts: seen.append(list(texts)) or encode(texts))
    pipe(["a red star", "a blue star", "a red star"], seed=1, negative_prompt="green")
    assert sorted(seen) == [["a red star", "a blue star"], ["green"]]


def test_the_negative_prompt_has_an_effect_for_each_image(pipe: Pipeline) -> None:
    plain = pipe(["a red star"] * 2, seed=1, output_type="latent").images
    mixed = pipe(
        ["a red star"] * 2, seed=1, negative_prompt=["", "green"], output_type="latent"
    ).images
    assert mixed[0].allclose(plain[0], atol=1e-5)
    assert not mixed[1].allclose(plain[1], atol=1e-3)


def test_of_several_encoders_the_one_that_sees_least_is_reported(pipe: Pipeline) -> None:
    wide, encoder = pipe.model.parts["tokenizer"].module, pipe.model.parts["text_encoder"]
    narrow = copy.deepcopy(wide)
    narrow.model_max_length = wide.model_max_length - 3
    one, other = (ClipEncoder(encoder, tokenizer) for tokenizer in (wide, narrow))
    assert other.overflow(LONG).endswith(one.overflow(LONG))
    assert len(other.overflow(LONG)) > len(one.overflow(LONG)) > 0
    for encoders in ([one, other], [other, one]):
        texts = ClipTexts(encoders, zeros_for_none=True, device=torch.device("cpu"))
        assert texts.overflow(LONG) == other.overflow(LONG)
        assert texts.overflow("a red star") == ""


@pytest.mark.parametrize("stated", [int(1e30), 512])
def test_a_tokenizer_that_states_no_length_reads_the_encoders(
    pipe: Pipeline, copied: Path, stated: int
) -> None:
    """As the same folder does whose tokenizer states it."""
    config = copied / "tokenizer" / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "model_max_length": stated}))
    other = Pipeline.from_pretrained(copied, num_inference_steps=4)
    assert other.model.parts["tokenizer"].module.model_max_length == stated
    for prompt in ("a red star", LONG):
        one, two = (p(prompt, seed=1, output_type="latent").images for p in (pipe, other))
        assert one.equal(two)


def test_an_empty_prompt_is_drawn_as_diffusers_draws_it(pipe: Pipeline, folder: Path) -> None:
    from diffusers import StableDiffusionPipeline

    theirs = StableDiffusionPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    noise = pipe.noise([1], {"height": 16, "width": 16})()
    expected = theirs(
        "", latents=noise, num_inference_steps=4, guidance_scale=7.5, output_type="latent"
    ).images
    ours = pipe("", seed=1, guidance_scale=7.5, output_type="latent").images
    assert (ours - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize(
    "flag", [("--input", 'prompt=""'), ("--input", "prompt="), ("--prompt", "")]
)
def test_an_empty_prompt_by_its_name_is_meant(
    ldm: Any, folder: Path, pipe: Pipeline, flag: tuple[str, str]
) -> None:
    code, out, err = ldm("generate", *flag, "--model", folder, "--steps", 4, "--seed", 7)
    assert (code, err) == (0, "")
    image = Image.open(out.strip())
    assert image.tobytes() == pipe("", seed=7).images[0].tobytes()
    assert "seed7" in out
    assert (
        json.loads(ldm("replay", "--allow-files", out.strip(), "--json")[1])["max_difference"] == 0
    )
    code, _, err = ldm("text-to-image", "", "--model", folder)
    assert (code, "an empty one that is meant" in err) == (2, True)
