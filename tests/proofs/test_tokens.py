"""Networks of tokens: latents that are normalised after packing, reference pictures as more tokens,
a timestep for each token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from ldm_core import LdmError, Pipeline, chain
from ldm_core.contracts import (
    REQUIRED,
    Call,
    Condition,
    Conditioning,
    Input,
    LatentSpace,
    Model,
    Request,
    Run,
)
from third_party import Toy, gaussian_velocity, noise_of, pipeline

PICTURE = LatentSpace.of_picture(3, 1, patch=2)
EXTENT = {"height": 4, "width": 6}
STATISTICS = torch.linspace(0.5, 2.0, 12)[None, :, None, None]
"""Of each channel of a packed latent, as a batch norm has them."""


def encode(model: Model, data: Tensor, noise: Any) -> Tensor:
    """Pixels, packed in fours, divided by their statistics, unpacked."""
    return pixel_shuffle(pixel_unshuffle(data, 2) / STATISTICS, 2)


def decode(model: Model, x0: Tensor) -> Tensor:
    return pixel_shuffle(pixel_unshuffle(x0, 2) * STATISTICS, 2)


def tokens(x: Tensor) -> Tensor:
    """(rows, 3, height, width) to (rows, height/2 · width/2, 12)."""
    return pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)


def picture(packed: Tensor, like: Tensor) -> Tensor:
    rows, columns = like.shape[-2] // 2, like.shape[-1] // 2
    return pixel_shuffle(packed.transpose(1, 2).reshape(len(packed), -1, rows, columns), 2)


class Reference(Conditioning):
    """Pictures that the network sees as tokens after its own, each of any size."""

    @property
    def ability(self) -> str:
        return "reference"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {"reference": Input(object, REQUIRED, help="a picture to look at")}

    def check(self, request: Request) -> None:
        for value in request.inputs["reference"]:
            if value.ndim != 3:
                raise LdmError(f"a reference is (3, height, width), not {tuple(value.shape)}.")

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        latents = run.to_latents(torch.stack(list(run.request.inputs["reference"])) * 2 - 1)
        return {branch: {"reference": tokens(latents)} for branch in branches}


def looking(call: Call) -> Tensor:
    """Every token of x is drawn like the mean of all reference tokens."""
    mean = call.condition["reference"].mean(dim=(1, 2))
    return picture(tokens(gaussian_velocity(call, mean.reshape(-1, 1, 1, 1), std=0.1)), call.x)


class Kept(Conditioning):
    """Marks the left tokens as being clean already, as the first frame of a video may be."""

    @property
    def ability(self) -> str:
        return "kept"

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        mask = torch.zeros(len(run.request.seeds), 6)
        mask[:, ::3] = 1.0  # rows of three tokens
        return {branch: {"kept": mask} for branch in branches}


class PerToken:
    """A network with a timestep for each token: clean ones are at 0, and do not move."""

    def __init__(self) -> None:
        self.times: list[Tensor] = []

    def __call__(self, call: Call) -> Tensor:
        t = call.t[:, None] * (1 - call.condition["kept"])  # (rows, tokens)
        self.times.append(t)
        moving = (t > 0).float()[..., None]
        return picture(tokens(gaussian_velocity(call)) * moving, call.x)


PARTS: dict[str, Any] = {
    "conditioning": {"reference": Reference, "kept": Kept},
    "encoders": {"packed": encode},
    "decoders": {"packed": decode},
}
CODING = {"encoder": "packed", "decoder": "packed"}


def test_latents_may_be_normalised_after_packing(tmp_path: Path) -> None:
    pipe = pipeline(Toy(gaussian_velocity, PICTURE, EXTENT, defaults=CODING), tmp_path, **PARTS)
    data = torch.rand(2, 3, 4, 6)
    latents = pipe.encode(data)
    assert latents[0, 0, 0, 0] == pytest.approx(float(data[0, 0, 0, 0] * 2 - 1) / 0.5)
    torch.testing.assert_close(pipe.decode(latents), data * 2 - 1)
    with pytest.raises(LdmError, match="must be multiples of 2"):
        pipe(seed=1, width=5)


def with_statistics(pipe: Pipeline, value: float) -> Pipeline:
    from dataclasses import replace

    from ldm_core.run.weights import Weights

    model = replace(pipe.model, normalisation={"batch_norm": value})
    return replace(pipe, weights=Weights.of(model))


def test_latents_of_other_statistics_are_not_taken_over(tmp_path: Path) -> None:
    pipe = pipeline(Toy(gaussian_velocity, PICTURE, EXTENT, defaults=CODING), tmp_path, **PARTS)
    chain(with_statistics(pipe, 1.0), with_statistics(pipe, 1.0))
    with pytest.raises(LdmError, match=r"different latents \(batch_norm 1.0 and 2.0\)"):
        chain(with_statistics(pipe, 1.0), with_statistics(pipe, 2.0))


def test_reference_pictures_are_more_tokens(tmp_path: Path) -> None:
    defaults = {**CODING, "conditioning": ["reference"]}
    family = Toy(looking, PICTURE, EXTENT, {"reference": True}, defaults)
    pipe = pipeline(family, tmp_path, {"num_inference_steps": 50}, **PARTS)
    grey, bright = torch.full((3, 8, 8), 0.5), torch.full((3, 8, 8), 0.9)
    out = pipe(reference=[grey, bright], seed=[1, 2], output_type="latent").images
    means = out.mean(dim=(1, 2, 3))
    expected = [float(encode(None, (p * 2 - 1)[None], None).mean()) for p in (grey, bright)]  # type: ignore[arg-type]
    torch.testing.assert_close(means, torch.tensor(expected), atol=0.1, rtol=0)
    alone = pipe(reference=[bright], seed=2, output_type="latent").images
    torch.testing.assert_close(out[1:], alone)
    with pytest.raises(LdmError, match="a reference is"):
        pipe(reference=[grey[0]], seed=1)
    with pytest.raises(LdmError, match="needs 'reference'"):
        pipe(seed=1)


def test_tokens_may_have_timesteps_of_their_own(tmp_path: Path) -> None:
    network = PerToken()
    defaults = {**CODING, "conditioning": ["kept"]}
    family = Toy(network, PICTURE, EXTENT, {"kept": True}, defaults)
    pipe = pipeline(family, tmp_path, **PARTS)
    out = pipe(seed=[1, 2], num_inference_steps=4, output_type="latent").images
    grid = pipe.composition.grid(4)
    for t, point in zip(network.times, grid, strict=False):
        assert t.shape == (2, 6)
        assert {*t[0].tolist()} == {0.0, point.t}
    x = noise_of(pipe, [1, 2], EXTENT)
    torch.testing.assert_close(out[..., :2], x[..., :2])  # the left tokens rest
    assert not torch.isclose(out[..., 2:], x[..., 2:]).any()
