"""What is made of a prompt, kept: for a run by the network, for a pipeline by the encoders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Call, Condition, Row, Unequal
from ldm_core.contracts.abilities import TextAbility
from ldm_core.numerics.point import Point
from ldm_plugins.converters.shared.kept_prompts import KeptPrompts, Projection
from ldm_plugins.converters.shared.kept_texts import KeptTexts
from ldm_plugins.converters.shared.reclassed import reclass
from peers import apart
from tiny.covering import one_of_each
from tiny.lora import write_lora

CALL: dict[str, Any] = {"seed": 3, "num_inference_steps": 4, "output_type": "latent"}
CROSS = (
    "Stable Diffusion",
    "SD inpainting",
    "LCM",
    "SDXL",
    "SDXL refiner",
    "LDM text",
    "PixArt alpha",
    "PixArt sigma",
)
WITHOUT = ("LDM", "DDPM", "DiT", "SD 3", "Flux dev")
WITH_TEXT = (*CROSS, "SD 3", "Flux dev")


def counted(module: Any) -> list[Any]:
    called: list[Any] = []
    module.register_forward_pre_hook(lambda module, args: called.append(module))
    return called


def cross_attention(network: Any) -> Any:
    return next(layer for name, layer in network.named_modules() if name.endswith("attn2"))


def test_another_prompt_for_the_same_rows_is_not_answered_by_the_first() -> None:
    """As where a conditioning changes what it says from step to step."""
    layer = torch.nn.Linear(3, 2)
    reclass(layer, Projection)
    layer.kept_number = 0
    rows = (Row(0, "positive", Point(0.6, 0.8, 1.0), 0, 2),)
    network = KeptPrompts("prompt_cache").network(lambda call: layer(call.condition["text"]))
    texts = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(0))
    for text in (*texts, texts[0]):
        call = Call(torch.zeros(1, 1), torch.zeros(1), {"text": text}, rows)
        plain = torch.nn.functional.linear(text, layer.weight, layer.bias)
        assert network(call).equal(plain)


@pytest.mark.parametrize("kind", one_of_each(CROSS))
def test_keys_and_values_are_computed_once(pipes: Any, kind: str, tmp_path: Path) -> None:
    pipe = pipes(kind)
    call = {**CALL, **tiny.FOLDERS[kind].inputs_in(tmp_path)}
    plain = pipe(**call).images
    keeping = pipe.replace(converters=["prompt_cache"])
    network = keeping.model.part("network").module
    inner: list[torch.Tensor] = []
    layer = cross_attention(network).to_k
    own = torch.nn.functional.linear

    def linear(x: Any, weight: Any, bias: Any = None) -> Any:
        if weight is layer.weight:
            inner.append(x)
        return own(x, weight, bias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", linear)
        assert keeping(**call).images.equal(plain)
        assert len(inner) == 1
        assert keeping(**call).images.equal(plain)
        assert len(inner) == 2  # another run begins anew
        assert pipe(**call).images.equal(plain)
        assert len(inner) == 2 + 4  # at each step without
    assert keeping.replace(converters=[])(**call).images.equal(plain)


@pytest.mark.parametrize("kind", WITHOUT)
def test_networks_without_cross_attention_are_refused(pipes: Any, kind: str) -> None:
    with pytest.raises(LdmError, match=r"prompt_cache.* does not fit .*(reads no text|depend on)"):
        pipes(kind).replace(converters=["prompt_cache"])


def test_branches_that_come_and_go(pipe: Pipeline) -> None:
    grid = pipe.composition.plan({"prompt": ["a"], "negative_prompt": [None]}, [0], {}, 4).grid
    late = pipe.replace(guidance={"name": "classifier_free", "high": grid[2].ratio * 1.001})
    plain = late(["a", "b"], **CALL).images
    assert late.replace(converters=["prompt_cache"])(["a", "b"], **CALL).images.equal(plain)


def test_with_everything_beside(pipe: Pipeline, tmp_path: Path) -> None:
    """Regions, a ControlNet, altered networks, features, threads."""
    control = tiny.write_controlnet(tmp_path / "c", pipe.composition.info.folder)
    regions = [{"prompt": "a moon", "box": [0, 0, 0.5, 1]}]
    conditioning = ["regions", {"name": "control", "models": [str(control)]}]
    call = {**CALL, "regions": regions, "control_image": torch.rand(3, 16, 16)}
    both = pipe.replace(conditioning=conditioning, guidance="perturbed_attention")
    plain = both("a star", **call).images
    assert both.replace(converters=["prompt_cache"])("a star", **call).images.equal(plain)
    features = {"name": "feature_cache", "every": 2}
    alone = pipe.replace(converters=[features])("a star", **CALL).images
    all_three = pipe.replace(converters=["text_cache", features, "prompt_cache"])
    with ThreadPoolExecutor(2) as threads:
        outs = list(threads.map(lambda text: all_three(text, **CALL).images, ["a star", "a"] * 3))
    assert all(out.equal(alone) for out in outs[::2])
    assert not outs[1].equal(alone)


@pytest.mark.parametrize("kind", one_of_each(WITH_TEXT))
def test_equal_prompts_are_encoded_once(pipes: Any, kind: str, tmp_path: Path) -> None:
    pipe = pipes(kind)
    call = {**CALL, **tiny.FOLDERS[kind].inputs_in(tmp_path)}
    plain = pipe(**call).images
    keeping = pipe.replace(converters=["text_cache"])
    encoders = [part.module for part in keeping.model.parts.values() if part.role == "text"]
    called = counted(encoders[0])
    assert keeping(**call).images.equal(plain)
    first = len(called)
    assert keeping(**call).images.equal(plain)
    assert keeping.replace(scheduler="euler")(**call) is not None
    assert len(called) == first > 0
    assert pipe(**call).images.equal(plain)


def test_a_part_that_is_known_and_a_part_that_is_not(pipe: Pipeline) -> None:
    keeping = pipe.replace(converters=["text_cache"])
    called: list[int] = []
    encoder = keeping.model.parts["text_encoder"].module
    handle = encoder.register_forward_pre_hook(
        lambda module, args, options: called.append(len(args[0])), with_kwargs=True
    )
    keeping("a star", **CALL)
    keeping(["a star", "a moon"], **CALL)
    handle.remove()
    assert called == [1, 1, 1]  # the prompt, the lack of one, and the other prompt
    plain = pipe(["a star", "a moon"], **CALL).images
    assert apart(keeping(["a star", "a moon"], **CALL).images, plain) < 1e-5


def test_loras_have_a_cache_of_their_own(pipe: Pipeline, tmp_path: Path) -> None:
    targets = {"text_encoder": ["q_proj", "v_proj"]}
    folder = pipe.composition.info.folder
    lora = write_lora(diffusers.StableDiffusionPipeline, folder, tmp_path / "lora", targets, 1)
    plain, with_lora = pipe("a star", **CALL).images, pipe.replace(loras=[str(lora)])
    changed = with_lora("a star", **CALL).images
    assert not changed.equal(plain)
    keeping = pipe.replace(converters=["text_cache"])
    assert keeping("a star", **CALL).images.equal(plain)
    both = keeping.replace(loras=[str(lora)])
    assert both("a star", **CALL).images.equal(changed)
    assert keeping("a star", **CALL).images.equal(plain)


class Counting(TextAbility):
    """States of 256 bytes a text."""

    def __init__(self) -> None:
        self.texts: list[str | None] = []

    def encode(self, texts: Any) -> Condition | Unequal:
        self.texts += texts
        return {"text": torch.stack([torch.full((4, 16), float(len(t or ""))) for t in texts])}

    def overflow(self, text: str) -> str:
        return ""


def test_what_was_used_longest_ago_is_forgotten() -> None:
    inner = Counting()
    kept = KeptTexts(inner, limit=2 * 256)
    for text in ("a", "bb", "a", "ccc", "a", "bb"):
        condition = kept.encode([text])
        assert not isinstance(condition, Unequal)
        assert condition["text"].eq(len(text)).all()
    assert inner.texts == ["a", "bb", "ccc", "bb"]
    both = kept.encode(["bb", "a", "bb"])
    assert not isinstance(both, Unequal)
    assert both["text"][:, 0, 0].tolist() == [2.0, 1.0, 2.0]


def test_a_model_that_reads_no_text_is_refused(pipes: Any) -> None:
    with pytest.raises(LdmError, match="reads no text"):
        pipes("DiT").replace(converters=["text_cache"])


@pytest.mark.parametrize("name", ["text_cache", "prompt_cache", "feature_cache"])
def test_twice_is_once_too_often(pipe: Pipeline, name: str) -> None:
    with pytest.raises(LdmError, match="stands in the recipe twice"):
        pipe.replace(converters=[name, {"name": name}])
