"""Kinds of noise: unit variance at every place, the spectrum that each is named after, and no
dependence on anything but an image's seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.noise import as_noise, noise_kind
from ldm_core.composition.recipe import as_layer, lay, override, read_recipe
from ldm_core.errors import LdmError
from ldm_core.media.manifest import recipe_of
from ldm_core.numerics.noise_kinds import NOISE_KINDS, Blue, Brownian, Pyramid, White
from ldm_core.numerics.seeded_noise import SeededNoise

CPU = torch.device("cpu")
SHAPES = {"sound": (2, 12), "picture": (2, 6, 8), "video": (1, 3, 4, 6), "one row": (1, 1, 8)}
KINDS = {name: kind() for name, kind in NOISE_KINDS.items()}


def matrix(kind: Any, shape: Sequence[int]) -> tuple[np.ndarray, int]:
    """What each number drawn adds to each of the noise, read by drawing one 1 and zeros."""
    counts: list[int] = []

    def count(sizes: Sequence[int]) -> Tensor:
        counts.append(int(np.prod(sizes)))
        return torch.zeros(tuple(sizes))

    kind(count, (1, *shape))
    columns = []
    for one in range(sum(counts)):
        place = [0]

        def draw(sizes: Sequence[int], one: int = one, place: list[int] = place) -> Tensor:
            numbers = torch.zeros(int(np.prod(sizes)))
            if 0 <= one - place[0] < len(numbers):
                numbers[one - place[0]] = 1.0
            place[0] += len(numbers)
            return numbers.reshape(tuple(sizes))

        columns.append(kind(draw, (1, *shape)).flatten().double().numpy())
    return np.array(columns).T, counts[0]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", KINDS)
def test_every_place_has_unit_variance_and_channels_are_apart(
    name: str, shape: tuple[int, ...]
) -> None:
    """The covariance, in full: of a linear map of independent numbers."""
    found, _ = matrix(KINDS[name], shape)
    covariance = found @ found.T
    np.testing.assert_allclose(np.diag(covariance), 1, atol=1e-5)
    each = int(np.prod(shape[1:]))
    for channel in range(1, shape[0]):
        beside = covariance[:each, channel * each : (channel + 1) * each]
        np.testing.assert_allclose(beside, 0, atol=1e-6)


def power(kind: Any, n: int) -> np.ndarray:
    """Of each frequency of a sound, from the covariance, which is circulant."""
    found, _ = matrix(kind, (1, n))
    covariance = found @ found.T
    np.testing.assert_allclose(covariance[0], np.roll(covariance[3], -3), atol=1e-5)
    return np.fft.rfft(covariance[0]).real


@pytest.mark.parametrize(("kind", "exponent"), [(White(), 0), (Blue(), 1), (Brownian(), -2)])
def test_power_goes_as_a_power_of_the_frequency(kind: Any, exponent: int) -> None:
    found = power(kind, 16)
    frequencies = np.arange(1.0, 9.0)
    np.testing.assert_allclose(found[1:] / found[1], frequencies**exponent, rtol=1e-3)
    assert found[0] == pytest.approx({0: found[1], 1: 0.0, -2: found[1]}[exponent], abs=1e-5)


def test_a_pyramid_is_its_layers() -> None:
    """By hand, of four places: those drawn, two that are enlarged by linear interpolation to
    quarters, and one for all."""
    found, _ = matrix(Pyramid(discount=0.5), (1, 4))
    enlarged = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    layers = np.hstack([np.eye(4), 0.5 * enlarged, 0.25 * np.ones((4, 1))])
    expected = layers / np.sqrt((layers**2).sum(1, keepdims=True))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_neighbours_and_smooth_kinds_are_alike() -> None:
    for name, sign in (("blue", -1), ("brownian", 1), ("pyramid", 1)):
        found, _ = matrix(KINDS[name], (1, 6, 8))
        assert sign * (found @ found.T)[0, 1] > 0.1


@pytest.mark.parametrize("name", KINDS)
def test_neighbours_in_the_batch_change_nothing(name: str) -> None:
    kind = KINDS[name]
    together = SeededNoise([1, 2, 3], (4, 8, 6), CPU, kind)
    alone = SeededNoise([2], (4, 8, 6), CPU, kind)
    for _ in range(3):
        assert torch.equal(together()[1:2], alone())
    assert torch.equal(together.white()[1:2], alone.white())


def test_white_is_what_is_drawn_where_nothing_is_named() -> None:
    plain, named = SeededNoise([5], (4, 8, 6), CPU), SeededNoise([5], (4, 8, 6), CPU, White())
    assert torch.equal(plain(), named())
    assert noise_kind({}) is None
    assert noise_kind(as_layer({"noise": "white"})) is None


def draw(pipe: Pipeline, **call: Any) -> Tensor:
    asked = {"seed": 3, "num_inference_steps": 3, "output_type": "latent", **call}
    return pipe("a red star", **asked).images


@pytest.mark.parametrize("name", ["blue", "brownian", "pyramid"])
def test_a_pipeline_begins_and_goes_on_with_it(pipe: Pipeline, name: str) -> None:
    """The first x is it, and what a stochastic scheduler draws; batches change nothing."""
    other = pipe.replace(noise=name, scheduler="euler_ancestral")
    plan = other.composition.plan({"prompt": "a red star"}, [3])
    sampling = other.start(plan)
    own = SeededNoise([3], sampling.x.shape[1:], CPU, KINDS[name])
    assert torch.equal(sampling.x, own() * other.initial_scale(plan.grid))
    assert torch.equal(sampling.run.noise(), own())
    both = draw(other, seed=[9, 3])
    assert (both[1:] - draw(other)).norm() < 1e-5 * both[1:].norm()
    assert not torch.allclose(draw(other), draw(other.replace(noise=None)))
    assert torch.equal(draw(pipe.replace(noise="white")), draw(pipe))


def test_an_autoencoders_posterior_stays_white(pipe: Pipeline) -> None:
    """Its draw is no noise of the path."""
    data = torch.rand(1, 3, 16, 16)
    assert torch.equal(pipe.replace(noise="blue").encode(data, 4), pipe.encode(data, 4))


def test_a_manifest_holds_it_and_makes_the_same_again(pipe: Pipeline, folder: Path) -> None:
    """With its options, also such as were not named."""
    other = pipe.replace(noise="pyramid")
    assert other.recipe["noise"] == {"name": "pyramid", "discount": 0.8}
    out = other("a red star", seed=3, num_inference_steps=3)
    recipe = recipe_of(out.manifests[0])
    assert recipe["noise"] == other.recipe["noise"]
    again = Pipeline.from_pretrained(recipe=recipe)
    assert torch.equal(draw(again), draw(other))
    assert "noise" not in recipe_of(pipe("a red star", seed=3, num_inference_steps=1).manifests[0])


def test_a_recipe_names_it(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "r.toml").write_text('noise = { name = "pyramid", discount = 0.5 }\n')
    layer = read_recipe(tmp_path / "r.toml")
    assert layer["noise"] == {"name": "pyramid", "discount": 0.5}
    assert override("noise=blue") == {"noise": {"name": "blue"}}
    assert lay(layer, override("noise=blue"))["noise"] == {"name": "blue"}
    composition = compose({"model": str(folder)}, recipe=layer)
    assert noise_kind(composition.recipe) == Pyramid(0.5)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("piramid", "no kind of noise named 'piramid'. Did you mean 'pyramid'"),
        (3, "should be the name of a kind of noise"),
        ({"discount": 0.5}, "should be the name of a kind of noise"),
        ({"name": "pyramid", "discont": 0.5}, "no option 'discont'. Did you mean 'discount'"),
        ({"name": "pyramid", "discount": 1.5}, "above 0 and is 1 at most, not 1.5"),
        ({"name": "pyramid", "discount": "much"}, "the noise 'pyramid' cannot be so"),
        ({"name": "blue", "discount": 0.5}, "'blue' has no option 'discount'. It has none"),
    ],
)
def test_what_there_is_none_of_is_refused(choice: Any, message: str) -> None:
    with pytest.raises(LdmError, match=message):
        as_noise(choice)
