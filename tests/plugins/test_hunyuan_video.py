"""The HunyuanVideo family: Diffusers' own videos from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import HunyuanVideoPipeline
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from ldm_plugins.families.hunyuan_video import AFTER, BEFORE, DROPPED
from peers import apart

PROMPTS = ["a red star", "a blue circle on the green background"]
SMALL: dict[str, Any] = {"height": 16, "width": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_hunyuan_video(tmp_path_factory.mktemp("hunyuan"))


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


def to_diffusers(
    ours: Pipeline, folder: Path, their: dict[str, Any] | None = None, frames: int = 5, **call: Any
) -> float:
    """Relative distance to Diffusers' pipeline, in the final latents or in the frames, whichever is
    larger."""
    peer = HunyuanVideoPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    call = {**SMALL, "num_inference_steps": 3, **call}
    distances = []
    for output_type in ("latent", "np"):
        generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
        both = {"prompt": PROMPTS, "output_type": output_type, **call}
        theirs = peer(generator=generators, num_frames=frames, **both, **(their or {})).frames
        distances.append(apart(ours(seed=3, frames=frames, **both).images, theirs))
    return max(distances)


@pytest.mark.parametrize(
    "call", [{}, {"guidance_scale": 1.5, "frames": 1}], ids=["plain", "scale, one frame"]
)
def test_nothing_chosen_gives_what_diffusers_gives(
    folder: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["guidance"] == {"name": "embedded", "scale": 6.0}
    assert pipe.model.info.default_extent == {"frames": 129, "height": 720, "width": 1280}
    assert to_diffusers(pipe, folder, **call) < 1e-5


def test_clip_reads_a_text_of_its_own(folder: Path, pipe: Pipeline) -> None:
    """Diffusers' pipeline takes a `prompt_2` and has CLIP read the first all the same, so that it
    is given what CLIP makes of the second."""
    second = ["a green square", "a star"]
    peer = HunyuanVideoPipeline.from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {**SMALL, "num_inference_steps": 2, "output_type": "latent"}

    def theirs(**more: Any) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
        return peer(PROMPTS, generator=generators, num_frames=5, **call, **more).frames

    with torch.no_grad():
        pooled = peer._get_clip_prompt_embeds(second)
    found = pipe(PROMPTS, prompt_2=second, seed=3, frames=5, **call).images
    assert apart(found, theirs(pooled_prompt_embeds=pooled)) < 1e-5
    assert torch.equal(theirs(prompt_2=second), theirs())
    assert apart(found, theirs()) > 1e-3


@pytest.mark.slow
def test_true_guidance_gives_what_diffusers_gives(folder: Path, pipe: Pipeline) -> None:
    true = pipe.replace(guidance={"true_scale": 4.0})
    call: dict[str, Any] = {"negative_prompt": ["green", "a circle"]}
    assert to_diffusers(true, folder, {"true_cfg_scale": 4.0}, **call) < 1e-5


@pytest.mark.slow
def test_a_network_that_is_told_no_guidance_gives_what_diffusers_gives(tmp_path: Path) -> None:
    folder = tiny.write_hunyuan_video(tmp_path, guided=False)
    pipe = Pipeline.from_pretrained(folder)
    assert pipe.recipe["guidance"] == {"name": "none"}
    assert to_diffusers(pipe, folder) < 1e-5


def test_the_language_model_is_asked_as_in_diffusers() -> None:
    assert f"{BEFORE}{{}}{AFTER}" == DEFAULT_PROMPT_TEMPLATE["template"]
    assert DEFAULT_PROMPT_TEMPLATE["crop_start"] == DROPPED


def test_a_video_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    prompts = [*PROMPTS, "", "a small star"]
    call = {**SMALL, "frames": 5, "num_inference_steps": 2, "output_type": "pt"}
    together = pipe(prompts, seed=[5, 5, 6, 7], **call).images
    for i, prompt in enumerate(prompts):
        alone = pipe([prompt], seed=[5, 5, 6, 7][i], **call).images
        assert apart(alone[0], together[i]) < 1e-5
    latents = pipe(prompts, seed=5, **{**call, "output_type": "latent"}).images
    same = pipe(prompts[:1] * 2, seed=[5, 5], **{**call, "output_type": "latent"}).images
    other = pipe(prompts[:2], seed=[5, 5], **{**call, "output_type": "latent"}).images
    assert apart(same[0], same[1]) < 1e-6
    assert apart(other[1], other[0]) > 0.001
    assert latents.shape == (4, 4, 2, 2, 4)


def test_words_are_found_in_what_is_asked(pipe: Pipeline) -> None:
    text = pipe.model.abilities["text"]
    prompt = "a red star on the blue circle"
    spans = [span for span in text.tokens(prompt)["text"] if span[0] < span[1]]
    assert {prompt[start:end] for start, end in spans} >= {"star", "circle"}
    long = "a red star " * 200
    lost = text.overflow(long)
    assert lost
    assert long.endswith(lost)
    assert not text.overflow(long.removesuffix(lost))


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [{"scheduler": name} for name in ("dpmpp_2m", "heun", "ddim", "unipc", "lcm")]
    + [{"attention": "chunked"}, {"guidance": "adaptive_projected"}],
    ids=lambda chosen: str(chosen),
)
def test_what_is_chosen_by_name_serves_a_video(pipe: Pipeline, chosen: dict[str, Any]) -> None:
    call = {**SMALL, "frames": 5, "num_inference_steps": 3, "output_type": "latent", "seed": 1}
    x = pipe.replace(**chosen)("a red star", **call).images
    assert x.isfinite().all()
    assert 0.1 < x.std() < 20


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"in_channels": 8}, "takes 8 channels and returns 4"),
        ("transformer/config.json", {"text_embed_dim": 48}, "width 48, and Llama gives 16"),
        ("transformer/config.json", {"pooled_projection_dim": 9}, "width 9, and CLIP gives 8"),
        ("transformer/config.json", {"image_condition_type": "token_replace"}, "only plain text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = tiny.write_hunyuan_video(tmp_path)
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())
