"""Reference pictures, on a model of whose network every answer can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Call, Condition, LatentSpace, Unequal
from ldm_core.contracts.abilities import TextAbility
from third_party import STD, Toy, exact_end, gaussian_velocity, noise_of, pipeline

PICTURE = LatentSpace.of_picture(3)
EXTENT = {"height": 4, "width": 4}
RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


class Means:
    """A token for each picture, the mean of each of its channels; as many as there are."""

    def encode(self, references: Sequence[Sequence[Image.Image]]) -> Unequal:
        return Unequal(tuple(self._of(pictures) for pictures in references))

    def _of(self, pictures: Sequence[Image.Image]) -> Condition:
        means = [[v / 255 for v in picture.resize((1, 1)).getpixel((0, 0))] for picture in pictures]
        return {"reference": torch.tensor([means])} if means else {}


class Seeing(TextAbility):
    """The number of letters, and the width of the first picture beside them."""

    reads_references = True

    def __init__(self) -> None:
        self.asked: list[list[tuple[str | None, int]]] = []

    def encode(self, texts: Sequence[str | None]) -> Condition:
        return self.encode_beside(texts, [[]] * len(texts))

    def encode_beside(
        self, texts: Sequence[str | None], references: Sequence[Sequence[Image.Image]]
    ) -> Condition:
        widths = [pictures[0].width if pictures else 0 for pictures in references]
        self.asked.append(list(zip(texts, widths, strict=True)))
        rows = [[len(text or ""), width] for text, width in self.asked[-1]]
        return {"text": torch.tensor(rows, dtype=torch.float32)}

    def overflow(self, text: str) -> str:
        return ""


def network(call: Call) -> torch.Tensor:
    """Of data whose mean is the sum of what the pictures' tokens say."""
    tokens = call.condition.get("reference")
    mean = torch.zeros(len(call.x), 3) if tokens is None else tokens.sum(1)
    if "text" in call.condition:
        mean = mean + call.condition["text"].sum(1, keepdim=True)
    return gaussian_velocity(call, mean[:, :, None, None])


def made(path: Path, abilities: dict[str, Any] | None = None, **more: Any) -> Pipeline:
    abilities = {"reference": Means(), **(abilities or {})}
    defaults = {"decoder": "pixels", "conditioning": list(abilities)}
    return pipeline(Toy(network, PICTURE, EXTENT, abilities, defaults, **more), path)


def solid(colour: tuple[int, int, int], width: int = 8) -> Image.Image:
    return Image.new("RGB", (width, 8), colour)


def means(pipe: Pipeline, seeds: list[int], **call: Any) -> list[list[float]]:
    """Of each image's data, read off where the exact network has led its noise."""
    call = {"num_inference_steps": 400, "output_type": "latent", **call}
    x = pipe(seed=seeds, **call).images
    rest = x - exact_end(noise_of(pipe, seeds, EXTENT), 0.0, STD)
    return [[round(float(v), 1) for v in row.mean((1, 2))] for row in rest]


def test_each_image_has_its_own_pictures_and_not_as_many(tmp_path: Path) -> None:
    pipe = made(tmp_path)
    both = [solid(RED), solid(GREEN, 5)]
    found = means(pipe, [1, 2, 3], reference=[both, solid(GREEN), None])
    assert found == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    alone = pipe(seed=1, reference=[both], output_type="latent").images
    together = pipe(seed=[1, 2], reference=[both, solid(RED)], output_type="latent").images
    torch.testing.assert_close(together[:1], alone, atol=1e-6, rtol=0)


def test_one_picture_serves_every_image_and_none_is_none(tmp_path: Path) -> None:
    pipe = made(tmp_path)
    solid(GREEN).save(tmp_path / "green.png")
    assert means(pipe, [1, 2], reference=str(tmp_path / "green.png")) == [[0, 1, 0]] * 2
    assert means(pipe, [1]) == [[0, 0, 0]]
    tensor = torch.ones(3, 2, 9)
    assert means(pipe, [1], reference=tensor) == [[1, 1, 1]]


def test_guidance_leads_away_under_the_same_pictures(tmp_path: Path) -> None:
    """Both branches see them, so that guidance finds nothing to lead away from."""
    pipe = made(tmp_path).replace(guidance={"name": "classifier_free", "scale": 5.0})
    assert means(pipe, [1], reference=solid(RED)) == [[1, 0, 0]]


def test_a_text_encoder_that_sees_pictures_is_shown_them(tmp_path: Path) -> None:
    seeing = Seeing()
    pipe = made(tmp_path, {"text": seeing})
    one = solid(RED, 3)
    pipe(["ab", "ab", "ab"], reference=[one, solid(GREEN, 5), one], num_inference_steps=1)
    # equal texts are encoded once for equal pictures
    assert seeing.asked == [[("ab", 3), ("ab", 5)]]
    seeing.asked.clear()
    cached = pipe.replace(converters=["text_cache"])
    for width in (3, 5):
        cached("ab", reference=solid(WHITE, width), num_inference_steps=1)
    assert seeing.asked == [[("ab", 3)], [("ab", 5)]]
    seeing.asked.clear()
    pipe.replace(conditioning=["text"])("ab", num_inference_steps=1)
    assert seeing.asked == [[("ab", 0)]]


def test_what_cannot_be_is_refused_before_weights(tmp_path: Path) -> None:
    needy = made(tmp_path / "a", needs=frozenset({"reference"}))
    with pytest.raises(LdmError, match="reference"):
        needy(seed=1)
    with pytest.raises(LdmError, match="an image has none"):
        needy(seed=1, reference=[[]])
    single = made(tmp_path / "b", most_references=1)
    with pytest.raises(LdmError, match="sees 1 reference picture for an image at most, not 2"):
        single(seed=1, reference=[[solid(RED), solid(RED)]])
    with pytest.raises(LdmError, match="no_such_file"):
        single(seed=1, reference=str(tmp_path / "no_such_file.png"))
    plain = pipeline(Toy(network, PICTURE, EXTENT, {}, {"decoder": "pixels"}), tmp_path / "c")
    with pytest.raises(LdmError, match="cannot be conditioned by 'reference'"):
        plain.replace(conditioning=["reference"])
