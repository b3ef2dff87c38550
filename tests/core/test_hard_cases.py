"""What the contracts carry beyond the plain case: learned variance, guidance told to the network,
plugins as options of plugins, whole sets of plugins, grids that depend on size or on the scheduler.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from ldm_core import Pipeline
from ldm_core.composition.parts import check_choices
from ldm_core.contracts import (
    Conditioning,
    LatentShape,
    Scheduler,
    learned_variance,
    sees_latent,
)
from ldm_core.errors import LdmError
from ldm_core.media.manifest import make_manifest, recipe_of
from ldm_core.numerics.point import CLEAN
from ldm_core.plugins.hookspecs import hookimpl
from ldm_core.plugins.registry import Registry, installed
from ldm_core.run.weights import Weights
from ldm_plugins.guidance.classifier_free import ClassifierFree


def with_network(pipe: Pipeline, network: Any, **info: Any) -> Pipeline:
    """The pipeline on another network."""
    changed = dataclasses.replace(pipe.model.info, **info)
    model = dataclasses.replace(pipe.model, info=changed, network=network)
    weights = Weights.of(model)
    composition = dataclasses.replace(pipe.composition, info=changed)
    return dataclasses.replace(pipe, weights=weights, unconverted=weights, composition=composition)


def test_a_learned_variance_is_the_positive_branchs(pipe: Pipeline) -> None:
    def network(call: Any) -> Any:
        level = call.condition["level"]
        return torch.cat([level * torch.ones_like(call.x), level + call.x], dim=1)

    class Level(Conditioning):
        def encode(self, run: Any, branches: Any) -> Any:
            one = torch.ones(2, 1, 1, 1)
            return {b: {"level": one * (5 if b == "positive" else 0)} for b in branches}

    learned = with_network(pipe, network, learned_variance=True, needs=frozenset())
    learned = learned.replace(conditioning=[Level()], guidance=ClassifierFree(2.0))
    denoise = learned.start(learned.composition.plan({}, [1, 2])).denoiser()
    assert learned_variance(denoise) is None
    x, point = torch.randn(2, 4, 8, 8), pipe.composition.grid(4)[1]
    x0 = denoise(x, point)
    # guidance 0 + 2·(5 - 0) combines the halves that predict noise alone
    torch.testing.assert_close(x0, (x - point.sigma * 10.0) / point.alpha)
    torch.testing.assert_close(learned_variance(denoise), 5 + x)


def test_a_scheduler_reads_the_variance_through_wrappers_and_observers(pipe: Pipeline) -> None:
    def network(call: Any) -> Any:
        return torch.cat([0.1 * call.x, call.x * 0 + call.t[:, None, None, None]], dim=1)

    read = []

    def curious(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        for point in grid[:-1]:
            denoise(x, point)
            read.append((point.t, learned_variance(denoise)))
        return x

    learned = with_network(pipe, network, learned_variance=True)
    learned = learned.replace(scheduler=curious, denoisers=["clip_x0"])
    learned("a red star", seed=1, on_step=lambda step: None, output_type="latent")
    assert len(read) == 4
    for t, variance in read:
        assert variance is not None
        assert variance.shape == (1, 4, 8, 8)
        assert (variance == t).all()


class Embedded(ClassifierFree):
    @property
    def embedded_scale(self) -> float:
        return 3.5


def test_a_guidance_may_tell_the_network_its_scale(pipe: Pipeline) -> None:
    seen = []

    def network(call: Any) -> Any:
        seen.append(call.condition["guidance"])
        return call.x

    able = with_network(pipe, network, abilities=pipe.model.info.abilities | {"guidance_embeds"})
    able.replace(guidance=Embedded(2.0))(["a red star"] * 2, seed=1, output_type="latent")
    assert len(seen) == 4
    assert all(scale.tolist() == [3.5] * 4 for scale in seen)  # two images, two branches


def test_a_model_that_takes_no_scale_refuses_such_a_guidance(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="was not distilled to take its guidance"):
        pipe.replace(guidance=Embedded(2.0))


def half_of(inner: Scheduler) -> Any:
    def halved(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return inner(x, grid, denoise, noise) * 0.5

    return halved


def halved(*, inner: Scheduler = "euler") -> Any:  # type: ignore[assignment]
    """Half of what another scheduler makes.

    Args:
        inner: the other one.
    """
    return half_of(inner)


@sees_latent
def by_size(schedule: Any, steps: int, latent: LatentShape) -> Any:
    """As many timesteps apart as the latent is wide."""
    return [*(schedule.at(900 - i * latent.places["width"]) for i in range(steps)), CLEAN]


def of_set(member: str, *, factor: float = 1.0) -> Any:
    """Schedulers by the name of a number."""
    if not member.isdecimal():
        raise LdmError(f"no number '{member}'.")
    return lambda x, grid, denoise, noise: x * 0 + float(member) * factor


class Plugins:
    ldm_api_version = 2

    @hookimpl
    def ldm_schedulers(self, register: Any) -> None:
        register("halved", halved)
        register("number:", of_set)

    @hookimpl
    def ldm_spacings(self, register: Any) -> None:
        register("by_size", by_size)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.plugins += installed().plugins
    registry.add(Plugins(), "pkg")
    return registry


@pytest.fixture
def extended(pipe: Pipeline, registry: Registry) -> Pipeline:
    composition = dataclasses.replace(pipe.composition, registry=registry)
    return dataclasses.replace(pipe, composition=composition)


def made(pipe: Pipeline, **changes: Any) -> Any:
    return pipe.replace(**changes)("a red star", seed=1, output_type="latent").images


def test_a_plugin_may_be_an_option_of_another(extended: Pipeline) -> None:
    for inner in ("ddim", {"name": "ddim", "eta": 0.0}):
        half = made(extended, scheduler={"name": "halved", "inner": inner})
        assert half.equal(0.5 * made(extended, scheduler="ddim"))
    assert made(extended, scheduler="halved").equal(0.5 * made(extended, scheduler="euler"))
    names = {p.name for p in extended.replace(scheduler="halved").composition.plugins}
    assert {"halved", "euler"} <= names


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("eulr", "no scheduler named 'eulr'. Did you mean 'euler'"),
        ({"name": "ddim", "etta": 1}, "no option 'etta'. Did you mean 'eta'"),
        (3, "plugin's name or a table"),
    ],
)
def test_the_inner_plugin_is_checked_like_any(registry: Registry, inner: Any, message: str) -> None:
    with pytest.raises(LdmError, match=message):
        check_choices({"scheduler": {"name": "halved", "inner": inner}}, registry)


def test_a_manifest_names_an_inner_part_made_in_python(extended: Pipeline) -> None:
    def mine(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return x

    part = extended.replace(scheduler={"name": "halved", "inner": mine}).composition
    request = part.plan({"prompt": "a red star"}, [1]).request
    manifest = make_manifest(part, request, 0)
    assert manifest["recipe"]["scheduler"]["inner"]["python"].endswith("mine")
    with pytest.raises(LdmError, match="made with the Python object"):
        recipe_of(manifest)


def test_a_set_of_plugins_is_asked_for_by_member(extended: Pipeline, registry: Registry) -> None:
    assert made(extended, scheduler="number:3").eq(3).all()
    assert made(extended, scheduler={"name": "number:3", "factor": 2}).eq(6).all()
    assert registry.find("scheduler", "number:3").id == "pkg:number:3"
    with pytest.raises(LdmError, match="no number 'x'"):
        extended.replace(scheduler="number:x")
    with pytest.raises(LdmError, match="no option 'fctor'"):
        extended.replace(scheduler={"name": "number:3", "fctor": 2})
    for incomplete in ("number:", "numbr:3"):
        with pytest.raises(LdmError, match="'number:"):
            extended.replace(scheduler=incomplete)


def test_a_spacing_may_depend_on_the_size(extended: Pipeline) -> None:
    sized = extended.replace(spacing="by_size", num_inference_steps=3)
    times: list[float] = []
    sized("a red star", seed=1, width=32, on_step=lambda s: times.append(s.point.t))
    assert times == [900, 884, 868]
    # without a size, the model's own: 16 pixels, 8 latents
    assert [p.t for p in sized.composition.grid(3)] == [900, 892, 884, 0]


OWN_POINTS = Scheduler(
    lambda x, grid, denoise, noise: denoise(x, grid[0]),
    points=lambda schedule, steps: [*(schedule.at(500 - 10 * i) for i in range(steps)), CLEAN],
)


def test_a_scheduler_may_bring_its_own_points(pipe: Pipeline) -> None:
    own = pipe.replace(scheduler=OWN_POINTS)
    assert [p.t for p in own.composition.grid(2)] == [500, 490, 0]
    assert made(pipe, scheduler=OWN_POINTS).isfinite().all()
    with pytest.raises(LdmError, match="walks points of its own"):
        own.replace(spacing="karras")("a red star", seed=1)
