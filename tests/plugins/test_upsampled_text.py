"""Prompts that FLUX.2's and LTX-2's own text models write out: what Diffusers writes and draws."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from transformers import (
    Gemma3ForConditionalGeneration,
    GemmaTokenizer,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
)

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.media.manifest import recipe_of
from peers import apart

CALL: dict[str, Any] = {"width": 24, "height": 16, "num_inference_steps": 2}
FEW = 12
STAGE = {"name": "upsampled_text", "tokens": FEW}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_flux_2(tmp_path_factory.mktemp("flux_2"), "Flux2Pipeline")


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder, conditioning=[STAGE, "reference"])


def test_it_writes_and_draws_what_diffusers_does(folder: Path, pipe: Pipeline) -> None:
    parts = {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler,
        "vae": diffusers.AutoencoderKLFlux2,
        "text_encoder": Mistral3ForConditionalGeneration,
        "tokenizer": PreTrainedTokenizerFast,
        "transformer": diffusers.Flux2Transformer2DModel,
    }
    peer = diffusers.Flux2Pipeline(**{n: p.from_pretrained(folder / n) for n, p in parts.items()})
    peer.set_progress_bar_config(disable=True)
    peer.tokenizer.tokenizer = peer.tokenizer  # as the processor has it, which needs torchvision
    encoder = peer.text_encoder
    inner = encoder.generate
    encoder.generate = lambda **options: inner(**{**options, "max_new_tokens": FEW})
    for seed, temperature in ((3, 0.15), (4, 1.0)):
        stage = {**STAGE, "temperature": temperature}
        out = pipe.replace(conditioning=[stage, "reference"])("a red star", seed=seed, **CALL)
        torch.manual_seed(seed)
        (expected,) = peer.upsample_prompt("a red star", temperature=temperature)
        found = out.manifests[0]["inputs"]["upsampled_prompt"]
        assert found == expected != ""
        torch.manual_seed(seed)
        theirs = peer(
            prompt="a red star",
            caption_upsample_temperature=temperature,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
            **CALL,
        ).images
        ours = pipe.replace(conditioning=[stage, "reference"])(
            "a red star", seed=seed, output_type="pt", **CALL
        )
        assert apart(ours.images, theirs) < 1e-5


def test_a_picture_is_made_again_of_what_was_written(
    folder: Path, pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = pipe(["a red star", "a blue (circle:1.2)"], seed=3, **CALL)
    alone = pipe("a blue circle", seed=4, **CALL)
    manifest = out.manifests[1]
    assert (
        manifest["inputs"]["upsampled_prompt"] == alone.manifests[0]["inputs"]["upsampled_prompt"]
    )
    assert out.images[1].tobytes() == alone.images[0].tobytes()
    text = pipe.replace(conditioning=["text"])
    words = manifest["inputs"]["upsampled_prompt"].replace("(", r"\(").replace(")", r"\)")
    assert text(words, seed=4, **CALL).images[0].tobytes() == out.images[1].tobytes()
    monkeypatch.setattr(Mistral3ForConditionalGeneration, "generate", None)
    again = Pipeline.from_pretrained(recipe=recipe_of(manifest))
    replayed = again(**manifest["inputs"], seed=4, **CALL)
    assert replayed.images[0].tobytes() == out.images[1].tobytes()
    assert replayed.manifests[0]["inputs"] == manifest["inputs"]


GEMMA = (
    "{{ bos_token }}<start_of_turn>user\n{{ messages[0]['content'] }}\n\n"
    "{{ messages[1]['content'] }}<end_of_turn>\n"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
"""As that of Gemma 3, of a text alone."""
TOLD = "Write a shot list."


class Processor:
    """What Gemma's processor makes of a text, without what makes pictures ready."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: str, images: None, return_tensors: str) -> Any:
        return self.tokenizer([text], return_tensors=return_tensors)


def test_ltx_2_writes_what_diffusers_does(tmp_path: Path) -> None:
    """It is told what to do by a person, as there."""
    folder = tiny.write_ltx_2(tmp_path)
    (folder / "tokenizer" / "chat_template.jinja").write_text(GEMMA)
    tokenizer = GemmaTokenizer.from_pretrained(folder / "tokenizer")
    encoder = Gemma3ForConditionalGeneration.from_pretrained(folder / "text_encoder")
    parts = {"text_encoder": encoder, "processor": Processor(tokenizer), "prompt_enhancer": None}
    peer: Any = SimpleNamespace(_execution_device="cpu", **parts)
    own = {**STAGE, "system_prompt": TOLD}
    pipe = Pipeline.from_pretrained(folder, conditioning=[own, "frame_rate"])
    call: dict[str, Any] = {"num_inference_steps": 1, "frames": 3, "width": 32, "height": 32}
    for seed in (3, 4):
        enhance = diffusers.LTX2Pipeline.enhance_prompt
        (expected,) = enhance(peer, "a red star", TOLD, max_new_tokens=FEW, seed=seed)
        out = pipe("a red star", seed=seed, **call)
        assert out.manifests[0]["inputs"]["upsampled_prompt"] == expected != ""
    both = [own, "frame_rate", "first_frame"]
    frame, shown = torch.rand(3, 32, 32), pipe.replace(conditioning=both)
    with pytest.raises(LdmError, match="beside pictures of its frames is not written out"):
        shown("a star", first_frame=frame, seed=1, **call)
    with pytest.raises(LdmError, match="does not say what its text model is told to do"):
        compose({"model": str(folder), "conditioning": [STAGE, "frame_rate"]})


def test_what_cannot_be_written_out_is_refused(
    folder: Path, pipe: Pipeline, tmp_path: Path
) -> None:
    picture = torch.rand(3, 64, 64)
    with pytest.raises(LdmError, match="beside reference pictures is not written out"):
        pipe("a star", reference=picture, seed=1, **CALL)
    own = pipe("a star", reference=picture, upsampled_prompt="a tall star", seed=1, **CALL)
    assert own.manifests[0]["inputs"]["upsampled_prompt"] == "a tall star"
    klein = tiny.write_flux_2(tmp_path / "klein")
    with pytest.raises(LdmError, match="has no text model that writes prompts out"):
        compose({"model": str(klein), "conditioning": ["upsampled_text", "reference"]})
    told = {**STAGE, "system_prompt": TOLD}
    with pytest.raises(LdmError, match="knows what to do, and takes no system_prompt"):
        compose({"model": str(folder), "conditioning": [told, "reference"]})
    with pytest.raises(LdmError, match="temperature"):
        compose(
            {"model": str(folder), "conditioning": [{"name": "upsampled_text", "temperature": 0}]}
        )
