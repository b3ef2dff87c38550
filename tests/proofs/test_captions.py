"""Captions of differing length: what an image gets never depends on who else is in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from ldm_core import Pipeline
from ldm_core.contracts import Call, LatentSpace, Unequal
from ldm_core.contracts.abilities import TextAbility
from third_party import Toy, gaussian_velocity, pipeline

PICTURE = LatentSpace.of_picture(4, 8)
EXTENT = {"height": 16, "width": 16}
PROMPTS = ["star", "a small red star", "circle", "a blue one"]


class Words(TextAbility):
    """Each word is a token; captions are as long as they are, and none is padded."""

    def encode(self, texts: Sequence[str | None]) -> Unequal:
        def tokens(text: str | None) -> torch.Tensor:
            words = (text or "").split() or [""]
            return torch.tensor([[[float(sum(map(ord, word)) % 17)] for word in words]])

        return Unequal(tuple({"text": tokens(text)} for text in texts))

    def overflow(self, text: str) -> str:
        return ""


class Reading:
    """A network that reads every token there is, so that padding would change its answer."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, call: Call) -> torch.Tensor:
        text = call.condition["text"]
        self.shapes.append(tuple(text.shape))
        mean = (text.mean(dim=(1, 2)) - 8) / 10
        return gaussian_velocity(call, mean.reshape(-1, 1, 1, 1))


@pytest.fixture
def network() -> Reading:
    return Reading()


@pytest.fixture
def pipe(tmp_path: Path, network: Reading) -> Pipeline:
    defaults = {
        "decoder": "pixels",
        "conditioning": ["text"],
        "guidance": {"name": "classifier_free", "scale": 3.0},
    }
    family = Toy(network, PICTURE, EXTENT, {"text": Words()}, defaults)
    return pipeline(family, tmp_path)


def test_each_image_is_what_it_is_alone(pipe: Pipeline) -> None:
    together = pipe(PROMPTS, seed=[1, 2, 3, 4], output_type="latent").images
    for i, prompt in enumerate(PROMPTS):
        alone = pipe(prompt, seed=i + 1, output_type="latent").images
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-6, rtol=0)
    assert not torch.allclose(together[0], together[2])


def test_captions_of_one_length_share_a_call(pipe: Pipeline, network: Reading) -> None:
    pipe(PROMPTS, seed=1, num_inference_steps=1, output_type="latent")
    # one word: two prompts and four empty negative ones; four words; three words
    assert sorted(network.shapes) == [(1, 3, 1), (1, 4, 1), (6, 1, 1)]


def test_rows_say_whose_they_are(tmp_path: Path) -> None:
    seen: list[tuple[int, str, int]] = []

    def network(call: Call) -> torch.Tensor:
        assert len(call.rows) == len(call.x) == len(call.t) == len(call.condition["text"])
        seen.extend((row.image, row.branch, call.condition["text"].shape[1]) for row in call.rows)
        return gaussian_velocity(call)

    defaults = {"decoder": "pixels", "conditioning": ["text"], "guidance": "classifier_free"}
    pipe = pipeline(Toy(network, PICTURE, EXTENT, {"text": Words()}, defaults), tmp_path)
    pipe(PROMPTS, seed=1, num_inference_steps=1, output_type="latent")
    lengths = [len(prompt.split()) for prompt in PROMPTS]
    positive = [(i, "positive", length) for i, length in enumerate(lengths)]
    assert sorted(seen) == sorted([*positive, *((i, "negative", 1) for i in range(4))])
