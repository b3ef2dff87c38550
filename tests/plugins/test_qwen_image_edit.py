"""The Qwen-Image-Edit family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessorPil, Qwen2VLProcessor

import tiny
from ldm_core import LdmError, Pipeline
from ldm_plugins.families.shared import qwen_pictures
from peers import apart
from unpacked import Unpacked

SMALL: dict[str, Any] = {"width": 24, "height": 16, "num_inference_steps": 2}


class Processor(Qwen2VLProcessor):
    """One without a part for videos, which needs a package more."""

    def check_argument_for_proper_class(self, *_: Any) -> Any:
        return None


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(random)


PIPELINES = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")
SMALLER = 256
"""So many times fewer pixels both see of a picture than a million."""


SIDES = qwen_pictures.sides
DIMENSIONS = {
    module: module.calculate_dimensions
    for module in (
        import_module(f"diffusers.pipelines.qwenimage.pipeline_qwenimage_{name}")
        for name in ("edit", "edit_inpaint", "edit_plus")
    )
}
"""What both make of a picture's shape, as it is."""


@pytest.fixture(scope="module")
def smaller() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qwen_pictures, "sides", lambda p, area: SIDES(p, area // SMALLER))
        for module, own in DIMENSIONS.items():
            patch.setattr(module, "calculate_dimensions", partial(_smaller, own))
        yield


def _smaller(calculate: Any, area: int, ratio: float) -> Any:
    return calculate(area // SMALLER, ratio)


@pytest.fixture(scope="module", params=PIPELINES)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, smaller: None
) -> tuple[Pipeline, Any]:
    name = request.param
    return pair(tiny.write_qwen_image_edit(tmp_path_factory.mktemp("edit"), name), name)


def pair(folder: Path, name: str, told: bool = True) -> tuple[Pipeline, Any]:
    """Ours, and Diffusers' pipeline.

    Args:
        told: its text encoder is told which tokens are of a picture.
    """
    pipe = Pipeline.from_pretrained(folder)
    parts = {n: p.module for n, p in Pipeline.from_pretrained(folder).model.parts.items()}
    encoder = parts["text_encoder"]
    forward, own = encoder.forward, encoder.config.image_token_id

    def tell(input_ids: torch.Tensor, **beside: Any) -> Any:
        kinds = (input_ids == own).int()
        return forward(input_ids=input_ids, mm_token_type_ids=kinds, **beside)

    if told:
        encoder.forward = tell
    images = Qwen2VLImageProcessorPil.from_pretrained(folder / "processor")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    processor = Processor(images, parts["tokenizer"], None)
    theirs = getattr(diffusers, name)(scheduler=scheduler, processor=processor, **parts)
    theirs.set_progress_bar_config(disable=True)
    return pipe, theirs


def distance(both: tuple[Pipeline, Any], prompt: str, references: Any, **call: Any) -> float:
    pipe, theirs = both
    distances = []
    for output_type in ("latent", "np"):
        same = {"prompt": prompt, "output_type": output_type, **SMALL, **call}
        if "negative_prompt" not in call:
            pipe = pipe.replace(guidance="none")
        expected = Unpacked(theirs)(
            image=references, generator=torch.Generator().manual_seed(3), **same
        ).images
        made = pipe(reference=[references], seed=3, **same).images
        distances.append(apart(made, expected))
    return max(distances)


@pytest.mark.parametrize("negative", [{}, {"negative_prompt": " "}], ids=["plain", "guided"])
def test_one_picture_gives_what_diffusers_gives(
    both: tuple[Pipeline, Any], negative: dict[str, str]
) -> None:
    assert distance(both, "a red star", picture(40, 40), **negative) < 1e-5


def test_several_pictures_give_what_diffusers_gives(both: tuple[Pipeline, Any]) -> None:
    pictures = [picture(40, 40), picture(64, 32, seed=1)]
    if "Plus" in type(both[1]).__name__:
        assert distance(both, "a red star", pictures) < 1e-5
    else:
        with pytest.raises(LdmError, match="sees 1 reference picture for an image at most, not 2"):
            both[0]("a red star", reference=[pictures], seed=3, **SMALL)


def test_it_repaints_a_part_as_in_diffusers(
    both: tuple[Pipeline, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it has a class for it: of one picture, which is the one that is repainted too.

    That class draws from the posterior, where the one that edits without a mask takes the mean, as
    both of ours do.
    """
    home = "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_inpaint"
    monkeypatch.setattr(f"{home}.retrieve_latents", lambda of, **_: of.latent_dist.mode())
    pipe, theirs = both
    ours = pipe.replace(conditioning=["text", "reference", "mask"], guidance="none")
    image, cover = picture(64, 64), Image.new("L", (64, 64))
    cover.paste(255, (8, 4, 20, 40))
    call: dict[str, Any] = {"prompt": "a red star", "image": image, "strength": 0.7}
    call |= {"width": 64, "height": 64, "num_inference_steps": 3}
    own = {**call, "reference": [image], "mask": cover, "seed": 3}
    if "Plus" in type(theirs).__name__:
        made, still = ours(**own, output_type="latent").images, pipe.encode([image], seed=3)
        assert made[..., 24:].equal(still[..., 24:])
        return
    painting = diffusers.QwenImageEditInpaintPipeline(**theirs.components)
    painting.set_progress_bar_config(disable=True)
    for output_type in ("latent", "np"):
        draws = torch.Generator().manual_seed(3)
        expected = Unpacked(painting)(
            mask_image=cover, generator=draws, output_type=output_type, **call
        ).images
        assert apart(ours(**own, output_type=output_type).images, expected) < 1e-5


def test_an_image_depends_on_its_own_pictures_prompt_and_seed(both: tuple[Pipeline, Any]) -> None:
    pipe = both[0].replace(guidance="none")
    prompts, seeds = ["a red star", "a blue circle on the star"], [5, 6]
    pictures = [picture(40, 40), picture(64, 32, seed=1)]
    call = {"output_type": "latent", **SMALL}
    together = pipe(prompts, reference=pictures, seed=seeds, **call).images
    for one, prompt, seen, seed in zip(together, prompts, pictures, seeds, strict=True):
        alone = pipe(prompt, reference=[seen], seed=seed, **call).images[0]
        assert apart(alone, one) < 1e-5


def test_what_cannot_be_seen_is_refused(both: tuple[Pipeline, Any]) -> None:
    pipe = both[0]
    with pytest.raises(LdmError, match="needs 'reference'"):
        pipe("a red star", seed=3, **SMALL)
    with pytest.raises(LdmError, match="too long for its other side"):
        pipe("a red star", reference=[picture(9000, 1)], seed=3, **SMALL)
    with pytest.raises(LdmError, match="which stands for a picture"):
        pipe("a <|image_pad|> star", reference=[picture(40, 40)], seed=3, **SMALL)


@pytest.mark.parametrize("name", PIPELINES)
def test_diffusers_does_not_tell_the_encoder_where_a_picture_lies(
    tmp_path: Path, smaller: None, name: str
) -> None:
    """Its pictures then depend on the tokens of a picture as if they were words in a row."""
    untold = pair(tiny.write_qwen_image_edit(tmp_path, name), name, told=False)
    assert distance(untold, "a red star", picture(40, 40)) > 1e-4


@pytest.mark.slow
def test_pictures_are_seen_in_a_million_pixels_as_in_diffusers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qwen_pictures, "sides", SIDES)
    for module, own in DIMENSIONS.items():
        monkeypatch.setattr(module, "calculate_dimensions", own)
    name = "QwenImageEditPlusPipeline"
    folder = tiny.write_qwen_image_edit(tmp_path, name, levels=5)
    pictures = [picture(40, 40), picture(64, 16, seed=1)]
    size = {"width": 128, "height": 64}
    assert distance(pair(folder, name), "a red star", pictures, **size) < 1e-5


def test_a_processor_is_read_as_newer_versions_write_it(tmp_path: Path, smaller: None) -> None:
    folder = tiny.write_qwen_image_edit(tmp_path)
    call = {"reference": [picture(40, 40)], "seed": 3, "output_type": "latent", **SMALL}
    one = Pipeline.from_pretrained(folder)("a red star", **call).images
    file = folder / "processor" / "preprocessor_config.json"
    config = {
        "image_processor": json.loads(file.read_text()),
        "processor_class": "Qwen2VLProcessor",
    }
    file.with_name("processor_config.json").write_text(json.dumps(config))
    file.unlink()
    assert Pipeline.from_pretrained(folder)("a red star", **call).images.equal(one)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (None, "it has no processor"),
        ({"patch_size": 16}, "patch_size = 16, and the text encoder takes 14"),
        ({"merge_size": 4}, "merge_size = 4, and the text encoder takes 2"),
        ({"size": {"shortest_edge": 10**9}}, "shortest_edge = 1000000000"),
    ],
    ids=["missing", "patches", "merged", "pixels"],
)
def test_a_processor_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any] | None, message: str
) -> None:
    folder = tiny.write_qwen_image_edit(tmp_path)
    file = folder / "processor" / "preprocessor_config.json"
    if changes is None:
        file.unlink()
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(LdmError, match=message):
        Pipeline.from_pretrained(folder)
