"""Weights that change after the first call: a converter follows them, or a run says that it
doesn't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Part
from ldm_core.model.copied import follow_originals
from ldm_core.model.modules import movable_copy, shallow_copy
from ldm_plugins.converters.cfg_parallel import _network_on
from ldm_plugins.converters.shared.watched_weights import Originals
from peers import apart
from tiny.lora import ATTENTION, write_lora

CALL: dict[str, Any] = {"seed": 3, "num_inference_steps": 2, "output_type": "latent"}
FOLLOWED: dict[str, dict[str, Any]] = {
    "cfg_parallel": {"devices": ["cpu:0", "cpu:1"]},  # one device, and no copies
    "compile": {"backend": "eager"},
    "openvino": {},
    "prompt_cache": {},
    "text_cache": {},
    "whole_loop": {"backend": "eager"},
}
SAID = ["channels_last", "fused_qkv"]


@pytest.fixture
def own(folder: Path) -> Pipeline:
    """With weights that no other test has."""
    return Pipeline.from_pretrained(folder)


def layers(pipe: Pipeline) -> list[Any]:
    """Some of the network and of the text encoder."""
    modules: list[Any] = [pipe.model.parts[name].module for name in ("unet", "text_encoder")]
    return [next(m for m in net.modules() if isinstance(m, nn.Linear)) for net in modules]


def written(layer: Any) -> None:
    with torch.no_grad():
        layer.weight.mul_(1.5)


def drawn(pipe: Pipeline) -> Tensor:
    latents: Tensor = pipe("a red star", **CALL).images
    return latents


def replaced(layer: Any) -> None:
    layer.weight = nn.Parameter(layer.weight * 1.5, requires_grad=False)


@pytest.mark.parametrize("change", [written, replaced])
@pytest.mark.parametrize("name", FOLLOWED)
def test_weights_that_change_are_followed(
    own: Pipeline,
    name: str,
    change: Callable[[Any], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = own.replace(converters=[{"name": name, **FOLLOWED[name]}])
    before = drawn(other)
    for layer in layers(own):
        change(layer)
    expected = drawn(own)
    assert apart(before, expected) > 1e-3
    assert apart(drawn(other), expected) < 1e-4


@pytest.mark.parametrize("change", [written, replaced])
@pytest.mark.parametrize("name", SAID)
def test_copies_are_not_used_when_the_originals_were_changed(
    own: Pipeline, name: str, change: Callable[[Any], None]
) -> None:
    other = own.replace(converters=[name])
    assert apart(drawn(other), drawn(own)) < 1e-4
    change(layers(own)[0])
    for late in (other, other.replace(scheduler="euler")):
        with pytest.raises(LdmError, match=f"changed after ('{name}'|a converter) made its own of"):
            drawn(late)
    anew = own.replace(converters=[name])
    assert apart(drawn(anew), drawn(own)) < 1e-4


def test_a_network_on_another_device_is_not_used_when_the_first_was_changed(own: Pipeline) -> None:
    originals = Originals("cfg_parallel")
    assert _network_on(own.model, torch.device("meta"), originals) is not None
    originals.check()
    written(layers(own)[0])
    with pytest.raises(LdmError, match="changed after 'cfg_parallel' made its own of them"):
        originals.check()


def test_trees_around_the_same_tensors_follow_them_or_say_that_they_do_not() -> None:
    """Of a copy of a copy, whose original is gone; and of one that has tensors of its own."""
    first = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).requires_grad_(False).eval()
    second = shallow_copy(shallow_copy(first))
    own, moved = shallow_copy(first), movable_copy(first)
    own[0].weight = nn.Parameter(torch.zeros(2, 2))
    parts = [Part(m, "network", torch.device("cpu"), torch.float32) for m in (second, own, moved)]
    follow_originals(parts)
    x = torch.randn(3, 2)
    first[1].running_mean = torch.ones(2)
    follow_originals(parts[:2])
    replaced(first[0])
    follow_originals(parts[:1])
    assert second(x).equal(first(x))
    for part in parts[1:]:
        with pytest.raises(LdmError, match="weights of the Sequential were changed after"):
            follow_originals([part])
    first[0] = nn.Linear(2, 2)
    with pytest.raises(LdmError, match="layers of the Sequential were changed after"):
        follow_originals(parts[:1])


CONVERTERS: dict[str, dict[str, Any]] = {
    "compile": {"backend": "eager"},
    "feature_cache": {"every": 2},
    "freeu": {},
    "group_offload": {},
    "lora": {},
    "model_offload": {},
    "prompt_cache": {},
    "sequential_offload": {},
    "token_merging": {},
    "vae_slicing": {},
    "vae_tiling": {},
}


SAID_OF_COPIES = ("group_offload", "model_offload", "sequential_offload")


@pytest.mark.parametrize("name", CONVERTERS)
def test_no_converter_goes_on_with_weights_that_were_replaced(
    own: Pipeline, name: str, folder: Path, tmp_path: Path
) -> None:
    """Of each part, or it is said."""
    options = CONVERTERS[name]
    if name == "lora":
        targets = {"unet": ATTENTION}
        file = write_lora(StableDiffusionPipeline, folder, tmp_path, targets, seed=5)
        options = {"files": [str(file)]}
    other = own.replace(converters=[{"name": name, **options}])
    call = {**CALL, "output_type": "pt"}
    other("a red star", **call)
    for part in ("unet", "text_encoder", "vae"):
        module: Any = own.model.parts[part].module
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                replaced(layer)
    if name in SAID_OF_COPIES:
        with pytest.raises(LdmError, match="were changed after a converter made its own of them"):
            other("a red star", **call)
        return
    anew = own.replace(converters=[{"name": name, **options}])
    assert apart(other("a red star", **call).images, anew("a red star", **call).images) < 1e-4
