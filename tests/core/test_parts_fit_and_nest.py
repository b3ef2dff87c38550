"""Every kind of part can be fitted to a model, and can stand in an option of another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ldm_core import LdmError
from ldm_core.composition.compose import compose
from ldm_core.composition.composition import Composition
from ldm_core.composition.reach import Reach
from ldm_core.composition.recipe import as_layer
from ldm_core.contracts import (
    Conditioning,
    Converter,
    Decoder,
    Encoder,
    Family,
    Guidance,
    Kernel,
    LatentSpace,
    Model,
    ModelInfo,
    Observer,
    Phase,
    Place,
    Scheduler,
    Spacing,
    Wrapper,
    Writer,
    as_kernel,
    encodes,
    first_of,
    fits,
    measures,
    of_order,
    runs_on,
    sees_latent,
    writes,
)
from ldm_core.contracts.record import Record
from ldm_core.media.manifest import make_manifest
from ldm_core.media.writers import find_writer
from ldm_core.model import place
from ldm_core.numerics.point import CLEAN
from ldm_core.plugins.options import CONTRACTS
from ldm_core.plugins.registry import Plugin, Registry
from third_party import Toy, folder_in, registry_of

EXTENT = {"height": 4, "width": 6}


def walk(x: Any, grid: Any, denoise: Any, noise: Any, *, k: int = 1) -> Any:
    return x


def choose(schedule: Any, steps: int, *, k: int = 1) -> Any:
    return [*(schedule.at(schedule.last - i) for i in range(steps)), CLEAN]


def attend(q: Any, k: Any, v: Any, mask: Any, scale: float, *, k_: int = 1) -> Any:
    return v


def wrap(denoise: Any, *, k: int = 1) -> Any:
    return denoise


def encode(model: Any, data: Any, noise: Any, *, k: int = 1) -> Any:
    return data


def decode(model: Any, x0: Any, *, k: int = 1) -> Any:
    return x0


@contextmanager
def watch(grid: Any, *, k: int = 1) -> Iterator[Any]:
    yield lambda step: None


def compare(pictures: Any, references: Any, *, k: int = 1) -> Any:
    return pictures


def write(shown: Any, manifest: Any, path: Path, *, k: int = 1) -> None: ...


FUNCTIONS: dict[str, tuple[str, Any, type]] = {
    "scheduler": ("scheduler", walk, Scheduler),
    "spacing": ("spacing", choose, Spacing),
    "attention": ("attention", attend, Kernel),
    "denoiser": ("denoisers", wrap, Wrapper),
    "encoder": ("encoder", encode, Encoder),
    "decoder": ("decoder", decode, Decoder),
    "observer": ("observers", watch, Observer),
}
"""Kinds that are functions: the recipe's key, one, and its record."""


class Unread(Toy):
    def load(self, info: ModelInfo, place: Place) -> Model:
        raise AssertionError("weights are read")


def family() -> Toy:
    return Unread(lambda call: call.x, LatentSpace.of_picture(3, 1), EXTENT)


def registry_with(kind: str = "", **targets: Any) -> Registry:
    registry = registry_of(family(), decoders={"toy": lambda: decode})
    registry.plugins += [
        Plugin(kind, n, "ldm-more", "1.2", target) for n, target in targets.items()
    ]
    return registry


def composed(registry: Registry, path: Path, **choices: Any) -> Composition:
    return compose({"model": str(folder_in(path)), **choices}, registry)


def part_of(composition: Composition, kind: str) -> Any:
    parts = {
        "scheduler": composition.scheduler,
        "spacing": composition.spacing,
        "attention": composition.attention,
        "encoder": composition.encoder,
        "decoder": composition.decoder,
        "denoiser": composition.denoisers,
        "observer": composition.observers,
    }[kind]
    return parts[0] if isinstance(parts, tuple) else parts


def choice(key: str, name: Any) -> dict[str, Any]:
    return {key: [name] if key in ("denoisers", "observers") else name}


def refuse(info: ModelInfo) -> None:
    raise LdmError(f"it is not for the family {info.family}")


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_every_function_can_refuse_a_model_before_weights_are_read(
    kind: str, by_name: bool, tmp_path: Path
) -> None:
    key, function, _ = FUNCTIONS[kind]
    target = fits(refuse)(function)
    registry = registry_with(kind, mine=target)
    with pytest.raises(LdmError, match="it is not for the family toy"):
        composed(registry, tmp_path, **choice(key, "mine" if by_name else target))


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_every_function_can_be_another_one_for_a_model_with_its_options(
    kind: str, tmp_path: Path
) -> None:
    key, function, record = FUNCTIONS[kind]
    seen: list[str] = []

    def for_model(info: ModelInfo) -> Any:
        seen.append(info.family)
        return function

    def never(*args: Any, k: int = 1, k_: int = 1) -> Any:
        raise AssertionError

    option = "k_" if kind == "attention" else "k"
    registry = registry_with(kind, mine=fits(for_model)(never))
    part = part_of(composed(registry, tmp_path, **choice(key, {"name": "mine", option: 7})), kind)
    assert isinstance(part, record)
    assert seen == ["toy"]
    assert part.fit is None
    inner: Any = part.function
    assert (inner.func, inner.keywords) == (function, {option: 7})


def test_a_rule_that_gives_none_leaves_the_part_as_it_is(tmp_path: Path) -> None:
    asked: list[str] = []
    rule = fits(lambda info: asked.append(info.family))
    part = part_of(composed(registry_with(), tmp_path, denoisers=[rule(wrap)]), "denoiser")
    assert asked == ["toy"]
    assert part.function is wrap


def test_a_rule_that_gives_something_else_is_refused(tmp_path: Path) -> None:
    for wrong in (3, Spacing(choose), Guidance()):
        marked = fits(lambda info, wrong=wrong: wrong)(wrap)
        with pytest.raises(LdmError, match="the 'fit' of a Wrapper gives a Wrapper"):
            composed(registry_with(), tmp_path, denoisers=[marked])
    with pytest.raises(LdmError, match=r"made of a function \(info\)"):
        fits(lambda: None)  # type: ignore[arg-type, misc]
    with pytest.raises(LdmError, match="marks a function or record"):
        fits(refuse)("clip_x0")


@pytest.mark.parametrize(
    "marked",
    [
        lambda: of_order(2)(fits(refuse)(walk)),
        lambda: fits(refuse)(of_order(2)(walk)),
        lambda: sees_latent(fits(refuse)(lambda schedule, steps, latent: [])),
        lambda: fits(refuse)(sees_latent(lambda schedule, steps, latent: [])),
        lambda: runs_on("cpu")(fits(refuse)(attend)),
        lambda: encodes("audio")(fits(refuse)(encode)),
        lambda: writes("image", ".x")(fits(refuse)(write)),
        lambda: fits(refuse)(writes("image", ".x")(write)),
        lambda: fits(lambda info: None)(fits(refuse)(wrap)),
        lambda: fits(refuse)(fits(lambda info: None)(wrap)),
        lambda: first_of([as_kernel(fits(refuse)(attend)), attend]),
        lambda: Scheduler.around("a", lambda inner: inner, fits(refuse)(walk)),
    ],
)
def test_no_decorator_loses_what_another_says(marked: Any, tmp_path: Path) -> None:
    part: Record = marked()
    info = composed(registry_with(), tmp_path).info
    with pytest.raises(LdmError, match="it is not for the family toy"):
        part.fitted(info)
    option = "k_" if isinstance(part, Kernel) else "k"
    if part.function.__kwdefaults__:
        with pytest.raises(LdmError, match="it is not for the family toy"):
            part.with_options({option: 2}).fitted(info)


def test_a_writer_refuses_a_model(tmp_path: Path) -> None:
    registry = registry_with("writer", mine=fits(refuse)(writes("image", ".x")(write)))
    composition = composed(registry, tmp_path)
    assert find_writer(composition).suffix == ".png"
    with pytest.raises(LdmError, match="it is not for the family toy"):
        find_writer(composition, "mine")


class Other(Toy):
    def matches(self, index: Any) -> bool:
        return False


class Halving(Converter):
    phase = Phase.LAYOUT
    lossless = True


NESTED: dict[str, Any] = {
    **{kind: function for kind, (_, function, _) in FUNCTIONS.items()},
    "guidance": Guidance,
    "conditioning": Conditioning,
    "converter": Halving,
    "writer": writes("image", ".x")(write),
    "metric": measures("pairs")(compare),
    "family": lambda: Other(lambda call: call.x, LatentSpace.of_picture(3, 1), EXTENT),
}
"""What stands in an option, by kind."""
BY_KIND = {kind: contract for contract, kind in CONTRACTS.items() if kind != "model"}


def test_every_contract_is_tried() -> None:
    assert NESTED.keys() == BY_KIND.keys()


def outer_of(annotation: Any, default: Any, seen: list[Any]) -> Any:
    def outer(*, inner: Any = default) -> Any:
        seen.append(inner)
        return wrap

    outer.__annotations__["inner"] = annotation
    return outer


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("shape", ["one", "list", "default", "none", "of Python"])
def test_every_kind_can_stand_in_an_option(kind: str, shape: str, tmp_path: Path) -> None:
    contract, seen = BY_KIND[kind], []
    annotation = list[contract] | None if shape == "list" else contract | None  # type: ignore[valid-type]
    outer = outer_of(annotation, "more" if shape == "default" else None, seen)
    registry = registry_with(kind, more=NESTED[kind])
    registry.plugins.append(Plugin("denoiser", "outer", "ldm-more", "1.2", outer))
    given = {"one": "more", "list": ["more", {"name": "more"}], "of Python": "more"}.get(shape)
    name = outer if shape == "of Python" else "outer"
    wrapper = {"name": name, **({} if given is None else {"inner": given})}
    composition = composed(registry, tmp_path, denoisers=[wrapper])
    shown = registry.find("denoiser", "outer").options["inner"]
    assert (shown.kind, shown.several) == (kind, shape == "list")
    several_of = f"list[{contract.__name__}]" if shape == "list" else contract.__name__
    assert shown.type_name == f"{several_of} | None"
    [inner] = seen[-1:]
    if shape == "none":
        assert inner is None
        return
    several = inner if shape == "list" else [inner]
    assert len(several) == (2 if shape == "list" else 1)
    for part in several:
        assert isinstance(part, contract)
    plugin = registry.find(kind, "more")
    assert plugin in composition.plugins
    plan = composition.plan({}, [1])
    manifest = make_manifest(composition, plan.request, 0, place.resolve(composition.recipe))
    if kind != "observer":  # which changes nothing
        assert f"{kind} ldm-more:more" in manifest["plugins"]
    reach = Reach(registry)
    if shape in ("one", "list"):
        reach.recipe(as_layer(composition.recipe_in_use))
        assert plugin in reach.plugins


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_what_stands_in_an_option_is_fitted(kind: str, tmp_path: Path) -> None:
    seen: list[Any] = []
    registry = registry_with(kind, more=fits(refuse)(NESTED[kind]))
    outer = outer_of(BY_KIND[kind], "more", seen)
    with pytest.raises(LdmError, match="it is not for the family toy"):
        composed(registry, tmp_path, denoisers=[outer])
    assert not seen


def test_objects_in_an_option_are_fitted(tmp_path: Path) -> None:
    class Fitting(Guidance):
        def __init__(self, info: ModelInfo | None = None) -> None:
            self.info = info

        def fit(self, info: ModelInfo) -> Guidance:
            return Fitting(info)

    seen: list[Any] = []
    registry = registry_with("guidance", more=lambda: Fitting())
    composed(registry, tmp_path, denoisers=[outer_of(Guidance, "more", seen)])
    assert seen[0].info.family == "toy"


def test_several_schedulers_in_an_option_of_a_scheduler(tmp_path: Path) -> None:
    seen: list[Any] = []

    def best_of(*, among: list[Scheduler] = ["euler", "heun"]) -> Any:  # type: ignore[list-item]  # noqa: B006
        seen.extend(among)
        return Scheduler.around("best_of", lambda *inner: inner[0], *among)

    registry = registry_with("scheduler", best_of=best_of)
    composed(registry, tmp_path, scheduler="best_of")
    composed(registry, tmp_path, scheduler={"name": "best_of", "among": ["ddim", {"name": "lms"}]})
    assert [part.function.__name__ for part in seen[-2:]] == ["ddim", "lms"]
    assert [part.function.__name__ for part in seen[:2]] == ["euler", "heun"]
    with pytest.raises(LdmError, match=r"no scheduler named 'dim'\. Did you mean 'ddim'"):
        composed(registry, tmp_path, scheduler={"name": "best_of", "among": ["dim"]})


def test_a_plugin_that_is_made_of_itself_without_end_is_refused(tmp_path: Path) -> None:
    def endless(*, inner: Wrapper = "endless") -> Any:  # type: ignore[assignment]
        return inner

    registry = registry_with("denoiser", endless=endless)
    with pytest.raises(LdmError, match="'endless' is made of others that are made of it"):
        composed(registry, tmp_path, denoisers=["endless"])
    composed(registry, tmp_path, denoisers=[{"name": "endless", "inner": "clip_x0"}])


def test_an_object_is_not_marked(tmp_path: Path) -> None:
    marked = fits(refuse)(lambda: Guidance())
    with pytest.raises(LdmError, match=r"by its method fit\(info\)"):
        composed(registry_with(), tmp_path, guidance=marked)


def test_a_family_is_a_family() -> None:
    from ldm_core.contracts import as_family, as_writer

    assert isinstance(as_family(family()), Family)
    assert isinstance(as_writer(NESTED["writer"]), Writer)
    with pytest.raises(LdmError, match=r"made from ldm_core\.contracts\.Family"):
        as_family(family)
    with pytest.raises(LdmError, match="marked by `writes`"):
        as_writer(write)
