"""Weighted words and long prompts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Condition, Unequal
from ldm_core.contracts.abilities import TextAbility
from ldm_plugins.conditioning.shared.prompts import Prompts
from ldm_plugins.conditioning.shared.weighted_prompt import read_weights
from peers import apart

LONG = "a large red circle and a small blue star on a green background"
TEXT = [name for name, kind in tiny.FOLDERS.items() if "prompt" in kind.inputs and not kind.painted]


@pytest.fixture(scope="module")
def pipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pipeline]:
    root = tmp_path_factory.mktemp("text")
    return {name: Pipeline.from_pretrained(tiny.FOLDERS[name].write(root / name)) for name in TEXT}


def condition(pipe: Pipeline, prompt: Any, branch: str = "positive", **inputs: Any) -> Condition:
    """What the network is told of a prompt."""
    seeds = list(range(len(prompt))) if isinstance(prompt, list) else [1]
    plan = pipe.composition.plan({"prompt": prompt, **inputs}, seeds)
    sampling = pipe.start(plan)
    (text, *_) = pipe.composition.conditioning
    encoded = text.encode(sampling.run, [branch])[branch]
    assert not isinstance(encoded, Unequal)
    return encoded


def latents(pipe: Pipeline, **inputs: Any) -> Tensor:
    made: Tensor = pipe(output_type="latent", num_inference_steps=3, **inputs).images
    return made


@pytest.mark.parametrize(
    ("prompt", "text", "weights"),
    [
        ("a red star", "a red star", {}),
        ("a (red:1.3) star", "a red star", {"red": 1.3}),
        ("a (red :.5)(star: 2)", "a red star", {"red ": 0.5, "star": 2}),
        ("(a (red:3) star:0.5)", "a red star", {"a ": 0.5, "red": 1.5, " star": 0.5}),
        ("(in (brackets)) (red:2)", "(in (brackets)) red", {"red": 2}),
        ((r"\(red:2\) (a\):3)"), "(red:2) a)", {"a)": 3}),
        ("a (clock at 10:30), (16:9)", "a (clock at 10:30), (16:9)", {}),
        ("(route 66 :2)", "route 66 ", {"route 66 ": 2}),
        ("(score_9:1.3), (iso 800:.8)", "score_9, iso 800", {"score_9": 1.3, "iso 800": 0.8}),
        ("(at f1.8: 1.2) (f2 :1)", "at f1.8 f2 ", {"at f1.8": 1.2}),
        ("(1:1.85) (4:3) (23:59)", "(1:1.85) (4:3) (23:59)", {}),
        ("an :) (open (plain", "an :) (open (plain", {}),
        ("(:2) star", " star", {}),
    ],
)
def test_what_a_prompt_says(prompt: str, text: str, weights: dict[str, float]) -> None:
    found = read_weights(prompt)
    assert found.text == text
    expected = [1.0] * len(text)
    for words, weight in weights.items():
        start = text.index(words)
        expected[start : start + len(words)] = [weight] * len(words)
    assert found.weights == pytest.approx(expected)


@given(st.text(st.characters(exclude_characters="\\")))
def test_a_text_without_parentheses_and_colons_is_itself(text: str) -> None:
    for words in (text.replace("(", ""), text.replace(":", "")):
        found = read_weights(words)
        assert found.text == words
        assert found.plain


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a (red:2 (star:2)", "parentheses of a prompt with weights do not match"),
        ("a (red:2)) star", "parentheses of a prompt with weights do not match"),
        ("a (red:-1) star", "must not be negative, and -1 is"),
        ("( :2)", "the prompt is empty"),
    ],
)
def test_what_cannot_be_read_is_refused(pipe: Pipeline, prompt: str, message: str) -> None:
    with pytest.raises(LdmError, match=message):
        pipe.composition.plan({"prompt": prompt}, [1])
    plain = pipe.replace(conditioning=[{"name": "text", "weights": False}])
    assert condition(plain, prompt)["text"].equal(
        plain.model.abilities["text"].encode([prompt])["text"]
    )


@pytest.mark.parametrize("family", TEXT)
def test_a_weight_of_one_is_none(pipes: dict[str, Pipeline], family: str) -> None:
    plain = condition(pipes[family], "a large red star")
    for prompt in ("a (large red:1.0) star", "a ((large red:2):0.5) star"):
        found = condition(pipes[family], prompt)
        assert found.keys() == plain.keys()
        assert all(value.equal(plain[key]) for key, value in found.items())


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("family", TEXT)
def test_states_lead_away_from_the_empty_text(
    pipes: dict[str, Pipeline], family: str, weight: float
) -> None:
    """Only those of the weighted word, in each of the encoders, and no summary of the text."""
    ability = pipes[family].model.abilities["text"]
    found = condition(pipes[family], f"a large (red:{weight}) star")
    plain, empty = ability.encode(["a large red star"]), ability.encode([""])
    between = empty["text"] + weight * (plain["text"] - empty["text"])
    moved = (found["text"] != plain["text"]).any(dim=-1)[0]
    assert 0 < moved.sum() <= 2  # one token of CLIP's and one of T5's
    torch.testing.assert_close(found["text"][:, moved], between[:, moved])
    assert found["text"][:, ~moved].equal(plain["text"][:, ~moved])
    for key in plain.keys() - {"text"}:
        assert found[key].equal(plain[key])


def test_the_word_that_is_weighted_is_the_one_that_was_meant(pipe: Pipeline) -> None:
    """CLIP reads from left to right, so that the states before a word do not know of it."""
    states = condition(pipe, "a large (red:3) star")["text"][0]
    plain = condition(pipe, "a large red star")["text"][0]
    tokens = pipe.model.parts["tokenizer"].module("a large red star").input_ids
    place = tokens.index(pipe.model.parts["tokenizer"].module("red").input_ids[1])
    assert [i for i in range(len(states)) if not states[i].equal(plain[i])] == [place]


def test_negative_prompts_have_weights_too(pipe: Pipeline) -> None:
    weighted = condition(pipe, "a", "negative", negative_prompt="(green:2) star")["text"]
    assert weighted.equal(condition(pipe, "(green:2) star")["text"])
    assert not weighted.equal(condition(pipe, "green star")["text"])


def test_a_family_that_does_not_know_its_tokens_says_so(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(type(pipe.model.abilities["text"]), "tokens")
    assert condition(pipe, "a (red) star")["text"].isfinite().all()
    with pytest.raises(LdmError, match="words of this model's prompts cannot be weighed"):
        condition(pipe, "a (red:2) star")


def chunked(pipe: Pipeline) -> Pipeline:
    names = [choice["name"] for choice in pipe.recipe["conditioning"] if choice["name"] != "text"]
    return pipe.replace(conditioning=[{"name": "text", "too_long": "chunk"}, *names])


def windows(pipe: Pipeline, text: str) -> list[str]:
    """The text in parts that the pipeline without chunks says fit its window."""
    lost = pipe.model.abilities["text"].overflow(text)
    return [text.removesuffix(lost).strip(), *(windows(pipe, lost) if lost else [])]


@pytest.mark.parametrize("family", TEXT)
def test_a_prompt_that_fits_is_one_window(pipes: dict[str, Pipeline], family: str) -> None:
    found = condition(chunked(pipes[family]), "a red star")
    plain = condition(pipes[family], "a red star")
    assert all(found[key].equal(value) for key, value in plain.items())


def test_a_long_prompt_is_read_window_by_window(pipe: Pipeline) -> None:
    ability = pipe.model.abilities["text"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = condition(chunked(pipe), LONG, negative_prompt="green")["text"]
    parts = ability.encode(windows(pipe, LONG))["text"]
    assert len(parts) > 1
    torch.testing.assert_close(found, torch.cat(list(parts))[None])
    negative = condition(chunked(pipe), LONG, "negative", negative_prompt="green")["text"]
    expected = ability.encode(["green"])["text"].repeat(1, len(parts), 1)
    torch.testing.assert_close(negative, expected)


LENGTHS = {"LDM text": 6, "PixArt alpha": 8, "PixArt sigma": 20}
"""How many times the long prompt is said where the window is wide."""


@pytest.mark.parametrize("family", [name for name in TEXT if not name.startswith(("SD 3", "Flux"))])
def test_other_prompts_of_a_batch_change_nothing(pipes: dict[str, Pipeline], family: str) -> None:
    """One is of one window, another of so many that the first is seen more than once."""
    ours, long = chunked(pipes[family]), " and ".join([LONG] * LENGTHS.get(family, 1))
    prompts = ["a red star", long]
    states = [condition(ours, prompt)["text"] for prompt in prompts]
    assert states[1].shape[1] > states[0].shape[1]
    assert states[1].shape[1] % states[0].shape[1] == 0
    together = latents(ours, prompt=prompts, seed=[5, 6])
    for index, seed in enumerate((5, 6)):
        alone = latents(ours, prompt=prompts[index], seed=seed)
        assert apart(together[index], alone[0]) < 1e-5


def test_what_was_said_of_the_text_as_a_whole_is_the_first_windows(
    pipes: dict[str, Pipeline],
) -> None:
    pipe = pipes["SDXL"]
    ability = pipe.model.abilities["text"]
    first, *_ = windows(pipe, LONG)
    found = condition(chunked(pipe), LONG)
    assert found["pooled"].equal(ability.encode([first])["pooled"])


def test_weights_reach_every_window(pipe: Pipeline) -> None:
    ability = pipe.model.abilities["text"]
    found = condition(chunked(pipe), f"({LONG}:0)")["text"]
    plain = condition(chunked(pipe), LONG)["text"]
    parts = windows(pipe, LONG)
    empty = ability.encode([""])["text"].repeat(1, len(parts), 1)
    spans = [span for part in parts for span in ability.tokens(part)["text"]]
    assert len(spans) == found.shape[1]
    said = torch.tensor([end > start for start, end in spans])
    assert found[:, said].equal(empty[:, said])
    assert found[:, ~said].equal(plain[:, ~said])


PLACES = (
    ",".join(["a", "red", "circle"] * 9),
    "\n".join(["a", "red", "circle"] * 9),
    "a photo of " + "x" * 40,
    "一只红色的大圆圈在蓝色的背景上" * 3,
    "a red 一只红色的大圆圈在蓝色的背景上",
    "a large red circle, a blue star,a small green square\ton a yellow background",
)
"""Long prompts with other things than spaces between their words, or nothing."""


@pytest.mark.parametrize("family", TEXT)
@pytest.mark.parametrize("text", PLACES, ids=lambda text: repr(text[:12]))
def test_a_prompt_is_parted_where_it_can_be(
    pipes: dict[str, Pipeline], family: str, text: str
) -> None:
    """No letter is lost or said twice, no window is too long, and none could hold more words."""
    text = " ".join([text] * LENGTHS.get(family, 1))
    ability = pipes[family].model.abilities["text"]
    prompts = Prompts(ability, [], "chunk", weights=True)
    parts = [part.text for part in prompts._part(text) if part is not None]
    assert "".join("".join(parts).split()) == "".join(text.split())
    for part, after in pairwise(parts):
        assert ability.overflow(part) == ""
        assert ability.overflow(part + after)
    lost = ability.overflow(text)
    assert not lost or len(lost) < len(text)


def test_a_list_of_tags_is_parted_between_them(pipe: Pipeline) -> None:
    """By hand: ten tokens beside begin and end, a tag and its comma being two."""
    prompts = Prompts(pipe.model.abilities["text"], [], "chunk", weights=True)
    words = ["large", "red", "circle", "blue", "star", "small", "green"]
    parts = [part.text for part in prompts._part(",".join(words)) if part is not None]
    assert parts == ["large,red,circle,blue,star,", "small,green"]


def test_prompts_of_an_image_are_not_seen_over_and_over(pipe: Pipeline) -> None:
    """10 and 11 windows would be seen as 110; 9 and 11 are seen as 99."""
    prompts = {count: " ".join(["xxxxxxxxxx"] * count) for count in (9, 10, 11)}
    assert [len(windows(pipe, prompt)) for prompt in prompts.values()] == [9, 10, 11]
    with pytest.raises(LdmError, match="prompts of 10, 11 windows do not go together for one"):
        condition(chunked(pipe), prompts[10], negative_prompt=prompts[11])
    found = condition(chunked(pipe), prompts[9], negative_prompt=prompts[11])["text"]
    assert found.shape[1] == 99 * condition(pipe, "a red star")["text"].shape[1]


def test_prompts_of_regions_count_among_those_of_their_image(pipe: Pipeline) -> None:
    """7, 8 and 9 windows would be seen as 504."""
    prompts = [" ".join(["xxxxxxxxxx"] * count) for count in (7, 8, 9)]
    assert [len(windows(pipe, prompt)) for prompt in prompts] == [7, 8, 9]
    regions = [{"prompt": prompt, "box": [0, 0, 1, 1]} for prompt in prompts]
    ours = pipe.replace(conditioning=[{"name": "regions", "too_long": "chunk"}])
    with pytest.raises(LdmError, match="prompts of 1, 7, 8, 9 windows do not go together for one"):
        condition(ours, "a red star", regions=regions)
    plan = ours.composition.plan({"prompt": prompts, "regions": [[r] for r in regions]}, [1, 2, 3])
    each = ours.composition.conditioning[0].encode(ours.start(plan).run, ["positive"])["positive"]
    assert isinstance(each, Unequal)
    window = condition(pipe, "a red star")["text"].shape[1]
    assert [one["text"].shape[1] // window for one in each.each] == [7, 8, 9]


@pytest.mark.parametrize("family", ["Stable Diffusion", "SDXL", "PixArt alpha"])
def test_a_long_prompt_beside_it_does_not_reach_an_image(
    pipes: dict[str, Pipeline], family: str
) -> None:
    ours, long = chunked(pipes[family]), " and ".join([LONG] * LENGTHS.get(family, 1))
    prompts, seeds = ["a red star", long, "a blue circle"], [5, 6, 7]
    plan = ours.composition.plan({"prompt": prompts, "negative_prompt": "green"}, seeds)
    text, run = ours.composition.conditioning[0], ours.start(plan).run
    for branch in ("positive", "negative"):
        together = text.encode(run, [branch])[branch]
        assert isinstance(together, Unequal)
        for prompt, own in zip(prompts, together.each, strict=True):
            alone = condition(ours, prompt, branch, negative_prompt="green")
            assert {key: value.shape for key, value in own.items()} == {
                key: value.shape for key, value in alone.items()
            }
            for key, value in alone.items():
                assert apart(own[key].float(), value.float()) < 1e-6
    call = {"negative_prompt": "green", "guidance_scale": 2.0}
    together = latents(ours, prompt=prompts, seed=seeds, **call)
    for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        alone = latents(ours, prompt=prompt, seed=seed, **call)
        assert apart(together[index], alone[0]) < 1e-6


class Captions(TextAbility):
    """Three states for each word, all of how many letters it has; captions differ in length."""

    joins_windows = True

    def __init__(self) -> None:
        self.texts: list[str | None] = []

    def encode(self, texts: Sequence[str | None]) -> Unequal:
        self.texts += texts
        words = [[float(len(word)) for word in (text or "").split()] or [0.0] for text in texts]
        return Unequal(
            tuple({"text": torch.tensor(each)[None, :, None].repeat(1, 1, 3)} for each in words)
        )

    def overflow(self, text: str) -> str:
        """The window has two words."""
        return " ".join(text.split()[2:])

    def tokens(self, text: str) -> dict[str, list[tuple[int, int]]]:
        return {"text": [match.span() for match in re.finditer(r"\S+", text)] or [(0, 0)]}


def test_captions_of_differing_length_stay_so() -> None:
    ability = Captions()
    prompts = Prompts(ability, [["a"]] * 3, "warn", True)
    found = prompts(["ab abc", "a", "ab abc"])
    assert isinstance(found, Unequal)
    assert [one["text"][0, :, 0].tolist() for one in found.each] == [[2, 3], [1], [2, 3]]
    assert ability.texts == ["ab abc", "a"]
    equal = prompts(["ab abc", "abc a", "a a"])
    assert not isinstance(equal, Unequal)
    assert equal["text"][..., 0].tolist() == [[2, 3], [3, 1], [1, 1]]


def test_captions_of_differing_length_are_read_in_windows() -> None:
    texts = [["ab abc a", "abcd"], ["a", ""]]
    found = Prompts(Captions(), texts, "chunk", True)(["ab abc a", "a"])
    assert isinstance(found, Unequal)
    assert [one["text"][0, :, 0].tolist() for one in found.each] == [[2, 3, 1], [1]]
    found = Prompts(Captions(), texts, "chunk", True)(["abcd", ""])
    assert isinstance(found, Unequal)
    assert [one["text"][0, :, 0].tolist() for one in found.each] == [[4, 4], [0]]


def test_a_caption_that_no_empty_text_is_as_long_as_has_no_weights() -> None:
    prompts = Prompts(Captions(), [["a"]], "warn", True)
    assert prompts(["(abcd:0.5)"])["text"][0].tolist() == [[2.0] * 3]
    with pytest.raises(LdmError, match="words of this model's prompts cannot be weighed"):
        prompts(["(abcd:0.5) a"])


@pytest.mark.parametrize("family", ["SD 3", "Flux dev"])
def test_a_network_that_reads_one_window_says_so(pipes: dict[str, Pipeline], family: str) -> None:
    """Text and picture attend to one another, so that how often text is seen counts."""
    with pytest.raises(LdmError, match="this model reads one window of text"):
        condition(chunked(pipes[family]), " and ".join([LONG] * 40))


def test_prompts_of_guidance_may_need_other_windows(pipe: Pipeline) -> None:
    """A prompt of two windows beside one of a single window: as if the second were seen twice."""
    ours = chunked(pipe)
    joined = ours.replace(guidance={"name": "composable", "prompts": [LONG], "scale": 3.0})
    other = ours.replace(guidance={"name": "composable", "prompts": ["a red star"], "scale": 3.0})
    call = {"negative_prompt": "", "seed": 1}
    found = latents(joined, prompt="a red star", **call)
    assert apart(found, latents(other, prompt=LONG, **call)) < 1e-5
