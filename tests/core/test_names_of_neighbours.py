"""A package that offers every name that ldm-core offers changes nothing but what a person types."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose, recompose
from ldm_core.composition.composition import Composition
from ldm_core.composition.full_recipe import recipe_in_full
from ldm_core.contracts import LatentSpace, Scheduler
from ldm_core.media.manifest import make_manifest, recipe_of
from ldm_core.model.files import model_hash
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.registry import Plugin, Registry, ShippedModel, installed
from ldm_pipelines.image_to_image import image_to_image
from ldm_pipelines.inpaint import inpaint
from ldm_pipelines.invert import invert
from sites import site_in
from third_party import Toy, folder_in, gaussian_velocity, registry_of
from tiny.covering import one_of_each

OLD = Path(__file__).parent / "old_pictures"
NAME = "aaa-neighbour"
"""It comes first in the alphabet, too."""
HOOK = """
@hookimpl
def {hook}(register):
    for name in {names!r}:
        register(name, "aaa_neighbour.{kind}:thing")

"""
PLUGIN = """
from pathlib import Path

from ldm_core import hookimpl

ldm_api = ">=2,<3"

@hookimpl
def ldm_models(register):
    for name in ("shapes", "digits"):
        register(name, Path(__file__).parent / "nothing", "another")

"""
FAMILY = """
from ldm_core.contracts import Family


class thing(Family):
    def matches(self, index):
        return False

    def inspect(self, source, folder, index):
        raise AssertionError

    def load(self, info, place):
        raise AssertionError
"""
BROKEN = "raise AssertionError('it was never asked for')"


@pytest.fixture(scope="module")
def alone() -> Registry:
    return installed()


@pytest.fixture(scope="module")
def beside(alone: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """What is installed where the neighbour is too, whose parts break when they are imported."""
    kinds = {  # a prefix of names is one package's alone, and so are commands
        kind: [p.name for p in alone.of_kind(kind) if not p.name.endswith(":")]
        for kind in KINDS
        if kind != "command"
    }
    hooks = [HOOK.format(hook=KINDS[kind], names=names, kind=kind) for kind, names in kinds.items()]
    modules = {f"aaa_neighbour/{kind}.py": BROKEN for kind in kinds}
    modules |= {"aaa_neighbour/family.py": FAMILY, "aaa_neighbour/__init__.py": ""}
    with site_in(tmp_path_factory.mktemp("site") / "packages") as site:
        site.has(
            *(NAME, "2.0", {**modules, "aaa_neighbour/plugin.py": PLUGIN + "".join(hooks)}),
            {"neighbour": "aaa_neighbour.plugin"},
        )
        registry = installed()
        assert not registry.failures
        assert {p.kind for p in registry.plugins if p.distribution == NAME} == {*kinds}
        yield registry


def parts(composition: Composition) -> Any:
    return recipe_in_full(composition), composition.grid(4)


@pytest.mark.parametrize("kind", one_of_each())
def test_a_models_own_choices_and_what_goes_with_a_scheduler_stay(
    alone: Registry, beside: Registry, tmp_path: Path, kind: str
) -> None:
    layer = {"model": str(tiny.FOLDERS[kind].write(tmp_path / "model"))}
    both = [compose(layer, registry) for registry in (alone, beside)]
    assert parts(both[1]) == parts(both[0])
    for plugin in alone.of_kind("scheduler"):
        choice = {"name": plugin.id}
        if plugin.name.endswith(":"):
            continue
        if plugin.name == "switch":
            choice |= {"first": "ldm-core:dpmpp_3m", "then": "ldm-core:euler"}
        seen: list[Any] = []
        for composition in both:
            try:
                seen.append(parts(recompose(composition, {"scheduler": choice})))
            except LdmError as error:
                seen.append(str(error).replace("ldm-core:", ""))
        assert seen[1] == seen[0], plugin.id


def test_what_a_person_types_names_both(beside: Registry, folder: Path) -> None:
    for layer in ({"model": str(folder), "scheduler": "ddim"}, {"model": "shapes"}):
        with pytest.raises(LdmError) as refusal:
            compose(layer, beside)
        name = layer.get("scheduler", layer["model"])
        assert f"'{NAME}:{name}'" in str(refusal.value)
        assert f"'ldm-core:{name}'" in str(refusal.value)


def test_the_default_model_draws_what_it_drew(ldm: Any, alone: Registry, beside: Registry) -> None:
    pipe = Pipeline.from_pretrained("shapes", registry=alone)
    expected = pipe("a red star", seed=7, num_inference_steps=3).images[0]
    run = ["a red star", "--seed", "7", "--steps", "3", "--json"]
    code, out, err = ldm("generate", *run)
    assert code == 0, err
    assert Image.open(json.loads(out)["path"]).tobytes() == expected.tobytes()
    code, out, err = ldm("replay", json.loads(out)["path"], "--json", "--out", "again")
    assert (code, json.loads(out)["max_difference"]) == (0, 0), err


def test_the_command_line_shows_short_names_where_they_are_clear(
    ldm: Any, beside: Registry
) -> None:
    code, out, err = ldm("explain", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert {s["package"].partition(" ")[0] for s in told["stages"]} == {"ldm-core"}
    assert {s["name"].partition(":")[0] for s in told["stages"]} == {"ldm-core"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDM_DISABLE_PLUGINS", NAME)
        code, out, err = ldm("explain", "--json")
    assert code == 0, err
    names = {s["name"] for s in json.loads(out)["stages"]}
    assert {"classifier_free", "text", "native", "autoencoder_kl"} <= names


def test_ready_made_pipelines_mean_their_own_parts(
    alone: Registry, beside: Registry, folder: Path
) -> None:
    picture, mask = Image.new("RGB", (16, 16), "red"), Image.new("L", (16, 16), 255)
    made = []
    for registry in (alone, beside):
        pipe = Pipeline.from_pretrained(folder, num_inference_steps=2, registry=registry)
        outputs = (
            image_to_image(pipe, picture, "a star", strength=1.0, seed=1),
            inpaint(pipe, picture, "a star", mask=mask, seed=1),
            invert(pipe, picture, "a star", iterations=1),
        )
        made.append([output.images[0] for output in outputs])
    assert made[1] == made[0]


@pytest.mark.parametrize("path", sorted(OLD.glob("*.png")), ids=lambda path: path.stem)
def test_an_old_picture_is_made_again(ldm: Any, beside: Registry, path: Path) -> None:
    """Of releases whose manifests have the short names that a person typed."""
    code, out, err = ldm("replay", path, "--json", "--out", "again", "--allow-files")
    assert code == 0, err
    report = json.loads(out)
    assert report["max_difference"] <= 2, report
    assert not [note for note in report["differs"] if "files are not" in note]


def test_a_model_of_an_old_picture_is_the_one_with_its_files(
    alone: Registry, folder: Path, tmp_path: Path
) -> None:
    """Two packages ship a model of one name, and the manifest has the short one."""
    registry = Registry()
    registry.plugins += alone.plugins
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (other / "more.json").write_text("{}")
    for package, path in (("ours", folder), ("theirs", other)):
        registry.models.append(ShippedModel("pics", path, "tests", package, "1"))
    pipe = Pipeline.from_pretrained("ours:pics", num_inference_steps=1, registry=registry)
    manifest = pipe("a star", seed=1).manifests[0]
    manifest["recipe"]["model"] = "pics"
    assert recipe_of(manifest, registry)["model"] == "ours:pics"
    manifest["model_sha256"] = model_hash(other)
    assert recipe_of(manifest, registry)["model"] == "theirs:pics"
    manifest["model_sha256"] = "of neither"
    assert recipe_of(manifest, registry)["model"] == "pics"  # an error that names both


def test_a_short_name_of_an_old_picture_is_what_it_stood_for(alone: Registry, folder: Path) -> None:
    """Also where its own package is gone, and another offers the name."""
    pipe = Pipeline.from_pretrained(
        folder, num_inference_steps=1, scheduler="restart", registry=alone
    )
    old = pipe("a star", seed=1).manifests[0]
    recipe = {**old["recipe"], "scheduler": {"name": "restart", "inner": {"name": "heun"}}}
    plugins = [entry.replace("heun", "swirl") for entry in old["plugins"]]
    old |= {"recipe": recipe, "plugins": plugins}
    registry = Registry()
    registry.plugins += alone.plugins
    registry.plugins.append(Plugin("scheduler", "heun", "theirs", "1", "nowhere:heun"))
    read = recipe_of(old, registry)
    assert read["scheduler"]["name"] == "ldm-core:restart"
    assert read["scheduler"]["inner"]["name"] == "heun"  # which the manifest says nothing of
    old["plugins"].append("scheduler theirs:heun")
    assert recipe_of(old, registry)["scheduler"]["inner"]["name"] == "theirs:heun"
    assert recipe_of(old, alone, checked=False)["scheduler"]["inner"]["name"] == "theirs:heun"


def around(
    x: Any,
    grid: Any,
    denoise: Any,
    noise: Any,
    *,
    inner: Scheduler = "ddim",  # type: ignore[assignment]
) -> Any:
    return inner(x, grid, denoise, noise)


def test_options_of_another_package_that_are_plugins_by_name_are_its_own(
    alone: Registry, folder: Path
) -> None:
    """Then those of ldm-core; never a third package's."""

    def mine(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return denoise(x, grid[0])

    registry = Registry()
    registry.plugins += alone.plugins
    registry.plugins += [
        Plugin("scheduler", "around", "ours", "1", around),
        Plugin("scheduler", "ddim", "theirs", "1", "nowhere:ddim"),
    ]
    layer = {"model": str(folder), "scheduler": "around"}
    composed = compose(layer, registry)
    assert {p.id for p in composed.plugins if p.kind == "scheduler"} == {
        "ours:around",
        "ldm-core:ddim",
    }
    registry.plugins.append(Plugin("scheduler", "ddim", "ours", "1", mine))
    composed = compose(layer, registry)
    assert {p.id for p in composed.plugins if p.kind == "scheduler"} == {"ours:around", "ours:ddim"}


def test_the_family_that_read_a_model_is_taken_of_several(tmp_path: Path) -> None:
    """As a replay asks for it; a person is told that both claim the model."""
    folder, extent = folder_in(tmp_path / "model"), {"height": 8, "width": 8}
    latents = LatentSpace.of_picture(4, stride=1)
    registry = registry_of(Toy(gaussian_velocity, latents, extent), decoders={"toy": decoded})
    toys = [plugin for plugin in registry.of_kind("family") if plugin.name == "toy"]
    registry.plugins.append(replace(toys[0], distribution="ldm-other"))
    with pytest.raises(LdmError, match="both claim the model"):
        compose({"model": str(folder)}, registry)
    for id in ("ldm-toy:toy", "ldm-other:toy"):
        composition = compose({"model": str(folder)}, registry, family_id=id)
        assert make_manifest(composition, composition.plan({}, [1]).request, 0)["family"] == id


def decoded(model: Any, x0: Any) -> Any:
    return x0
