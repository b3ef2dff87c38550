"""Text: encoded once for each different prompt, reported where it does not fit the window."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch

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
    wide = pipe.model.parts["tokenizer"].module
    narrow = copy.deepcopy(wide)
    narrow.model_max_length = wide.model_max_length - 3
    one, other = (ClipEncoder(None, tokenizer) for tokenizer in (wide, narrow))
    assert other.overflow(LONG).endswith(one.overflow(LONG))
    assert len(other.overflow(LONG)) > len(one.overflow(LONG)) > 0
    for encoders in ([one, other], [other, one]):
        texts = ClipTexts(encoders, zeros_for_none=True, device=torch.device("cpu"))
        assert texts.overflow(LONG) == other.overflow(LONG)
        assert texts.overflow("a red star") == ""
