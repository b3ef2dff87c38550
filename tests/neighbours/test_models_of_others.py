"""What another package says of its models and options is its own matter: where nothing that a
person chose is wrong, the package is named, and where something is, the person is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ldm_core import LdmError
from ldm_core.composition.compose import compose
from ldm_core.composition.short_names import owner_of_folder
from ldm_core.contracts import (
    Axis,
    Call,
    Family,
    LatentSpace,
    Model,
    ModelInfo,
    Part,
    Place,
    Scheduler,
)
from ldm_core.errors import PluginError
from ldm_core.numerics.noise_schedule import FlowSchedule
from ldm_core.numerics.point import Point
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.registry import Plugin, Registry, ShippedModel, installed
from ldm_core.run.pipeline import Pipeline
from ldm_core.run.weights import load_model
from third_party import Toy, folder_in, gaussian_velocity, pipeline

TOY = Toy(lambda call: call.x, LatentSpace.of_picture(3), {"height": 8, "width": 8})


class Changed(Family):
    """A toy of which one thing is otherwise."""

    def __init__(self, info: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        self._info, self._model = info, model

    def matches(self, index: Mapping[str, Any]) -> bool:
        return TOY.matches(index)

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        info = TOY.inspect(source, folder, index)
        defaults = {**info.defaults, "encoder": "pixels", "decoder": "pixels"}
        defaults |= self._info.get("defaults") or {}
        known = {key: value for key, value in self._info.items() if key != "defaults" or not value}
        return replace(replace(info, defaults=defaults), **known)

    def load(self, info: ModelInfo, place: Place) -> Model:
        return replace(TOY.load(info, place), **self._model)


class Rough(FlowSchedule):
    """Points that are none."""

    def at(self, t: float) -> Any:
        return (1.0, 0.0)


class Broken(FlowSchedule):
    """Points of no numbers."""

    def at(self, t: float) -> Point:
        return replace(super().at(t), alpha=math.nan)


class Flat(LatentSpace):
    """Latents without a shape."""

    def shape(self, extent: Mapping[str, int]) -> Any:
        return "flat"


def registry_of(
    info: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    **parts: Callable[..., Any],
) -> Registry:
    """The installed plugins, and another package's family, and parts of it by kind."""
    registry = Registry()
    registry.plugins += [plugin for plugin in installed().plugins if plugin.kind != "family"]
    parts = {"family": lambda: Changed(info or {}, model or {}), **parts}
    for kind, target in parts.items():
        registry.plugins.append(Plugin(kind, "odd", "acme", "7.7", target))
    return registry


SAID: list[tuple[dict[str, Any], str]] = [
    ({"defaults": {"scheduler": "nope"}}, "no scheduler named 'nope'"),
    ({"defaults": {"scheduler": {"name": "ddim", "eta": "much"}}}, "option 'eta'"),
    ({"defaults": {"num_inference_steps": 0}}, "at least 1"),
    ({"defaults": {"nope": 1}}, "no key 'nope'"),
    ({"defaults": {"conditioning": "text"}}, "cannot be conditioned by 'text'"),
    ({"defaults": {"plugins": {"deny": ["ldm-core"]}}}, "as a person alone does"),
    ({"defaults": None}, "the argument 'defaults'"),
    ({"default_extent": {}}, "default_extent"),
    ({"default_extent": {"height": 0, "width": 8}}, "default_extent"),
    ({"latents": None}, "the argument 'latents'"),
    ({"latents": Flat(3, TOY._latents.axes)}, "shape of whole numbers"),
    ({"noise_schedule": Rough()}, "gives Points"),
    ({"noise_schedule": Broken()}, "not finite"),
    ({"image_channels": 7}, "1 channel"),
    ({"parts": "x"}, "the argument 'parts'"),
    ({"needs": None}, "the argument 'needs'"),
    ({"rate": math.nan}, "the argument 'rate'"),
]


@pytest.mark.parametrize(("change", "words"), SAID, ids=lambda value: str(value)[:40])
def test_what_a_family_says_is_its_own_matter(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    folder = str(folder_in(tmp_path / "toy"))
    with pytest.raises(PluginError, match="family 'odd' of the package acme") as caught:
        compose({"model": folder}, registry_of(change))
    assert words in str(caught.value)


def test_what_a_person_chooses_is_the_person_s(tmp_path: Path) -> None:
    """The same words typed are bad input, also where the family is another's; sets and lists of
    names are as good as frozen ones."""
    registry = registry_of({"abilities": ["text"], "needs": {"text"}})
    for choice in ({"scheduler": "nope"}, {"scheduler": {"name": "ddim", "eta": "much"}}):
        with pytest.raises(LdmError) as caught:
            compose({"model": str(folder_in(tmp_path / "toy")), **choice}, registry)
        assert not isinstance(caught.value, PluginError)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"info": None}, "info"),
        ({"abilities": None}, "abilities"),
        ({"place": None}, "place"),
        ({"network": None}, "network"),
        ({"parts": {"network": "x"}}, "each a Part"),
        ({"parts": {"network": Part(3, "network", torch.device("meta"), torch.float32)}}, "meta"),
    ],
    ids=str,
)
def test_what_a_family_loads_is_a_model(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    composition = compose({"model": str(folder_in(tmp_path / "toy"))}, registry_of(model=change))
    with pytest.raises(PluginError, match="of the package acme") as caught:
        load_model(composition)
    assert words in str(caught.value)


def test_an_ability_that_is_not_loaded_is_the_family_s_lack(tmp_path: Path) -> None:
    composition = compose({"model": str(folder_in(tmp_path / "toy"))}, registry_of())
    model = load_model(composition)
    with pytest.raises(LdmError, match="conditioned by 'text', and loads a Model without"):
        _ = model.abilities["text"]
    assert model.abilities.get("text") is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda call: call.x.int(), "floating point"),
        (lambda call: call.x.to_sparse(), "laid out"),
        (lambda call: call.x.to("meta"), "on meta"),
        (lambda call: call.x.zero_() + 0, "wrote into it"),
    ],
)
def test_what_its_network_answers_is_looked_at(
    tmp_path: Path, answer: Callable[[Call], Any], words: str
) -> None:
    registry = registry_of(model={"network": answer})
    pipe = Pipeline.from_pretrained(
        folder_in(tmp_path / "toy"), registry=registry, num_inference_steps=2
    )
    with pytest.raises(PluginError, match=r"of the package acme 7\.7 .*at step 1 of 2") as caught:
        pipe(seed=1)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "= =",
        "scheduler = 'nope'",
        "[plugins]\ndeny = ['x']",
        "model = 'shapes'",
        "loras = ['no/such']",
        "num_inference_steps = 99999999",
    ],
)
def test_a_shipped_model_s_own_recipe_is_its_package_s(tmp_path: Path, text: str) -> None:
    folder = folder_in(tmp_path / "toy")
    (folder / "ldm.toml").write_text(text)
    registry = registry_of()
    with pytest.raises(LdmError) as caught:
        compose({"model": str(folder)}, registry)
    assert not isinstance(caught.value, PluginError)
    registry.models.append(ShippedModel("mine", folder, "trying", "acme-models", "3.1"))
    with pytest.raises(PluginError, match="the model 'mine' of the package acme-models"):
        compose({"model": "mine"}, registry)


def test_steps_that_a_family_chooses_are_within_the_limits(tmp_path: Path) -> None:
    space, extent = LatentSpace(1, (Axis("width", 1),)), {"width": 8}
    family = Toy(gaussian_velocity, space, extent, defaults={"num_inference_steps": 99999999})
    with pytest.raises(
        PluginError, match=r"family 'toy' of the package .*at most 10,000, not 9999"
    ):
        pipeline(family, tmp_path / "toy")


def test_a_shipped_folder_that_is_no_model_is_its_package_s(tmp_path: Path) -> None:
    folder = folder_in(tmp_path / "toy")
    (folder / "model_index.json").write_text("[]")
    registry = registry_of()
    registry.models.append(ShippedModel("mine", folder, "trying", "acme-models", "3.1"))
    with pytest.raises(PluginError, match="the model 'mine' of the package acme-models"):
        compose({"model": "mine"}, registry)
    with pytest.raises(LdmError, match="model_config") as caught:
        compose({"model": "mine", "model_config": str(folder)}, registry)
    assert not isinstance(caught.value, PluginError)


def test_no_package_takes_a_folder_that_another_ships(tmp_path: Path) -> None:
    """A package that names a folder of ldm's own as its model is not who ships it."""
    registry = Registry()
    for distribution in ("acme", OWN):
        registry.models.append(ShippedModel("mine", tmp_path, "trying", distribution, "1"))
    assert owner_of_folder(registry, tmp_path) == OWN


def by_another(x: Any, grid: Any, denoise: Any, noise: Any, *, inner: Scheduler = "nope") -> Any:  # type: ignore[assignment]
    """A scheduler whose default is none."""
    return inner(x, grid, denoise, noise)


def in_itself(x: Any, grid: Any, denoise: Any, noise: Any, *, each: list[Any] = []) -> Any:  # noqa: B006
    """A scheduler whose default has no end."""
    return x


by_another.__kwdefaults__["inner"] = "nope"
in_itself.__kwdefaults__["each"].append(in_itself.__kwdefaults__["each"])


@pytest.mark.parametrize(
    ("target", "words"), [(by_another, "default of its option 'inner'"), (in_itself, "in itself")]
)
def test_a_default_that_stands_for_nothing_is_the_plugin_s(
    tmp_path: Path, target: Callable[..., Any], words: str
) -> None:
    registry, folder = registry_of(scheduler=target), str(folder_in(tmp_path / "toy"))
    with pytest.raises(PluginError, match="the scheduler 'odd' of the package acme") as caught:
        compose({"model": folder, "scheduler": "odd"}, registry)
    assert words in str(caught.value)
    if target is by_another:
        with pytest.raises(LdmError) as typed:
            compose({"model": folder, "scheduler": {"name": "odd", "inner": "nope"}}, registry)
        assert not isinstance(typed.value, PluginError)


def test_a_family_that_opens_a_model_while_it_is_asked_is_left_out(folder: Path) -> None:
    class Opens(Changed):
        def matches(self, index: Mapping[str, Any]) -> bool:
            return bool(compose({"model": folder}, registry))

    registry = Registry()
    registry.plugins += installed().plugins
    registry.plugins.append(Plugin("family", "opens", "ldm-opens", "1.0", lambda: Opens({}, {})))
    with pytest.warns(match="opens a model while it is asked about one"):
        assert compose({"model": folder}, registry).info.family == "stable_diffusion"
