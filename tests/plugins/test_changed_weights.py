"""Weights that change after the first call: a converter follows them, or a run says that it
doesn't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ldm_core import LdmError, Pipeline
from ldm_plugins.converters.cfg_parallel import _network_on
from ldm_plugins.converters.shared.watched_weights import Originals
from peers import apart

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


@pytest.mark.parametrize("name", FOLLOWED)
def test_weights_that_are_written_to_are_followed(
    own: Pipeline, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = own.replace(converters=[{"name": name, **FOLLOWED[name]}])
    before = drawn(other)
    for layer in layers(own):
        written(layer)
    expected = drawn(own)
    assert apart(before, expected) > 1e-3
    assert apart(drawn(other), expected) < 1e-4


def replaced(layer: Any) -> None:
    layer.weight = nn.Parameter(layer.weight * 1.5, requires_grad=False)


@pytest.mark.parametrize("change", [written, replaced])
@pytest.mark.parametrize("name", SAID)
def test_copies_are_not_used_when_the_originals_were_changed(
    own: Pipeline, name: str, change: Callable[[Any], None]
) -> None:
    other = own.replace(converters=[name])
    assert apart(drawn(other), drawn(own)) < 1e-4
    change(layers(own)[0])
    for late in (other, other.replace(scheduler="euler")):
        with pytest.raises(LdmError, match=f"changed after '{name}' made its own of them"):
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
