"""Two latents in one call, a picture and its sound, each with its own shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Axis, Call, Extent, LatentSpace, Medium, Model, decodes
from third_party import Toy, gaussian_velocity, noise_of, pipeline

CHANNELS = {"picture": 4, "sound": 8}
AXES = (Axis("height", 8), Axis("width", 8), Axis("samples", 320))
EXTENT = {"height": 16, "width": 24, "samples": 3200}


@dataclass(frozen=True)
class Both(LatentSpace):
    """A picture's latent and a sound's, flattened one after the other."""

    def parts(self, extent: Extent) -> dict[str, tuple[int, ...]]:
        height, width, samples = (axis.places(extent[axis.name]) for axis in self.axes)
        return {"picture": (4, height, width), "sound": (8, samples)}

    def shape(self, extent: Extent) -> tuple[int, ...]:
        return (sum(map(prod, self.parts(extent).values())),)

    def extent(self, shape: Sequence[int]) -> dict[str, int]:
        raise LdmError("what two latents in one stand for does not follow from their length.")


SPACE = Both(1, AXES)


def split(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    picture, sound = (shape for shape in SPACE.parts(EXTENT).values())
    first, rest = x.split([prod(picture), prod(sound)], dim=1)
    return first.reshape(-1, *picture), rest.reshape(-1, *sound)


def network(call: Call) -> torch.Tensor:
    """Both at the same time, each with its own data; the sound also hears the picture's mean, so
    that one cannot be drawn without the other."""
    picture, sound = split(call.x)
    level = picture.mean(dim=(1, 2, 3))[:, None, None]
    seen = gaussian_velocity(call._replace(x=picture), 0.4)
    heard = gaussian_velocity(call._replace(x=sound), -0.1) + 0.05 * level
    return torch.cat([seen.flatten(1), heard.flatten(1)], dim=1)


@decodes("image")
def picture_and_sound(model: Model, x0: torch.Tensor) -> Medium:
    picture, sound = split(x0)
    pixels = picture[:, :3].repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    heard = Medium("audio", sound[:, :1].repeat_interleave(320, dim=2), rate=16000.0)
    return Medium("image", pixels, beside=(heard,))


@pytest.fixture
def pipe(tmp_path: Path) -> Pipeline:
    family = Toy(network, SPACE, EXTENT, defaults={"decoder": "both"})
    return pipeline(family, tmp_path, decoders={"both": picture_and_sound})


def test_both_walk_the_same_points(pipe: Pipeline) -> None:
    x = noise_of(pipe, [3, 4], EXTENT)
    assert x.shape == (2, 4 * 2 * 3 + 8 * 10)
    grid = pipe.composition.grid(12, EXTENT)
    for here, there in pairwise(grid):  # Euler by hand, on each by itself
        picture, sound = split(x)
        t = torch.full((2,), here.t)
        step = there.sigma - here.sigma
        level = picture.mean(dim=(1, 2, 3))[:, None, None]
        sound = sound + step * (gaussian_velocity(Call(sound, t, {}, ()), -0.1) + 0.05 * level)
        picture = picture + step * gaussian_velocity(Call(picture, t, {}, ()), 0.4)
        x = torch.cat([picture.flatten(1), sound.flatten(1)], dim=1)
    latents = pipe(seed=[3, 4], output_type="latent").images
    torch.testing.assert_close(latents, x, atol=1e-5, rtol=0)


def test_the_sound_goes_with_the_picture(pipe: Pipeline) -> None:
    out = pipe(seed=[3, 4], batch_size=1)
    assert out.kind == "image"
    assert [image.size for image in out.images] == [(24, 16), (24, 16)]
    (sound,) = out.beside
    assert (sound.kind, sound.rate) == ("audio", 16000.0)
    assert sound.images.shape == (2, 1, 3200)
    assert not np.allclose(sound.images[0], sound.images[1])
