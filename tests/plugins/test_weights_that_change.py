"""What was made of weights is made anew where they change."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from ldm_core import Pipeline
from ldm_plugins.converters.shared.programs import Programs
from ldm_plugins.converters.shared.watched_weights import WatchedWeights
from peers import apart


def test_a_program_follows_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    made: list[Any] = []
    own = Programs._compiled

    def counted(self: Any, *args: Any) -> Any:
        made.append(args)
        return own(self, *args)

    monkeypatch.setattr(Programs, "_compiled", counted)
    pipe = Pipeline.from_pretrained(tiny.write_ddpm(tmp_path / "model"), device="cpu")
    converters = [{"name": "openvino", "cache": str(tmp_path / "graphs")}]
    network: Any = pipe.replace(converters=converters).model.parts["unet"].module
    x = torch.randn(1, *(network.config[key] for key in ("in_channels", *["sample_size"] * 2)))

    def moved() -> float:
        """How far torch's answer, which the program's is, is from the one before."""
        nonlocal before
        own = type(network).forward(network, x, 7).sample
        for _ in range(2):
            assert apart(network(x, 7).sample, own) < 1e-5
        far, before = apart(own, before), own
        return far

    with torch.no_grad():
        before = type(network).forward(network, x, 7).sample
        assert moved() == 0
        for weight in network.parameters():
            weight.mul_(1.05)
        assert moved() > 0.01
        layer = network.conv_in
        layer.weight = nn.Parameter(layer.weight * 1.5, requires_grad=False)
        assert moved() > 0.01
        network.conv_out = deepcopy(network.conv_out)
        network.conv_out.weight.mul_(2)
        assert moved() > 0.01
    assert len(made) == 4


def test_which_changes_are_seen() -> None:
    with torch.inference_mode():
        uncounted = nn.Linear(2, 2)
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2, device="meta"))
    module.append(uncounted)
    watched = WatchedWeights([module])
    module[2].weight = nn.Parameter(torch.empty(2, 2, device="meta"))  # as offloading does
    assert not watched.changed
    module[1].running_mean += 1
    assert watched.changed
    watched = WatchedWeights([module])
    module[0].register_parameter("more", None)
    assert watched.changed


def test_texts_that_were_kept_follow_weights(tmp_path: Path) -> None:
    """Of a text, of the lack of one, and where the encoder's last layers are skipped."""
    folder = tiny.FOLDERS["Stable Diffusion"].write(tmp_path / "model")
    pipe = Pipeline.from_pretrained(folder, device="cpu")
    plain = pipe.replace(conditioning=[{"name": "text", "clip_skip": 1}])
    keeping = plain.replace(converters=["text_cache"])
    call: dict[str, Any] = {"seed": 1, "num_inference_steps": 1, "output_type": "latent"}
    drawn = []
    for _ in range(2):
        for each in (1, 2):
            drawn.append(plain("a red star", **call).images)
            assert keeping("a red star", **call).images.equal(drawn[-1]), each
        with torch.no_grad():
            for weight in pipe.model.parts["text_encoder"].module.parameters():
                weight.mul_(1.1)
    assert not drawn[0].equal(drawn[2])
