"""Converters that make a model faster: chosen by what they say of themselves, or by measuring."""

from __future__ import annotations

import math
import time
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm_core import LdmError, Pipeline, hookimpl
from ldm_core.cli.tune import tune as tune_command
from ldm_core.composition.compose import compose
from ldm_core.composition.recipe import as_layer, read_recipe
from ldm_core.composition.toml_text import as_toml
from ldm_core.contracts import Call, Converter, Model, ModelInfo, Phase, PlaceNames, Speedup
from ldm_core.errors import LdmWarning, NotFiniteError
from ldm_core.plugins.registry import Registry, installed
from ldm_core.run.tuning import Tuned, tune
from tiny.covering import some_of

PROMPT = "a large red circle on a blue background"


@dataclass(frozen=True)
class Claims(Converter):
    """Says that it is faster."""

    offers: tuple[Speedup, ...] = ()
    lossless: bool = True
    hates: str = ""
    name: str = ""
    phase: Phase = field(default=Phase.COMPILE)

    def speedups(self, info: ModelInfo, place: PlaceNames) -> Sequence[Speedup]:
        return self.offers if place.device in ("cpu", "auto") else ()

    def beside(self, others: Sequence[Converter]) -> None:
        if self.hates in [other.name for other in others if isinstance(other, Claims)]:
            raise LdmError(f"it cannot stand beside {self.hates}.")


def plugins(**factories: Any) -> Registry:
    """What is installed, the converters of the package itself left out but for two, and those of a
    package 'swift'."""

    class Swift:
        ldm_api_version = 2

        @hookimpl
        def ldm_converters(self, register: Any) -> None:
            for name, factory in factories.items():
                register(name, factory)

    registry = Registry()
    kept = ("ldm-core:lora", "ldm-core:stored_weights")
    registry.plugins += [p for p in installed().plugins if p.kind != "converter" or p.id in kept]
    registry.models += installed().models
    registry.add(Swift(), "swift", "1.0")
    return registry


def claims(name: str, *speedups: Speedup, **more: Any) -> Any:
    return lambda: Claims(speedups, name=name, **more)


def composed(
    registry: Registry, allow: Sequence[str] = ("Swift", "ldm-core"), **choices: Any
) -> tuple[list[str], str]:
    """The converters of a composition of `shapes`, without those of the package itself, and what
    was said.

    Args:
        allow: packages that the person names.
    """
    if allow:
        choices["plugins"] = {"allow": list(allow)}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        composition = compose({"model": "shapes", "device": "cpu", **choices}, registry)
    assert "fast" not in composition.recipe
    names = [entry["name"] for entry in composition.recipe.get("converters", [])]
    said = [str(warning.message) for warning in caught if "fast: " in str(warning.message)]
    return [name for name in names if name.startswith("swift:")], " ".join(said)


QUICK = claims("quick", Speedup({}, 0.5, "a clock"))
SLOWER = claims("slower", Speedup({}, 1.2, "a clock"))
LOSSY = claims("lossy", Speedup({}, 0.3, "a clock", "20 dB"), lossless=False)
JEALOUS = claims("jealous", Speedup({}, 0.6, "a clock"), hates="quick")
KEEN = claims("keen", Speedup({}, 0.7, "a clock"))
ELSEWHERE = claims("elsewhere")
TOLD = claims("told", Speedup({}, None, "a guide"))
LONG = claims("long", Speedup({}, 0.1, "a clock", least_steps=99))
SILENT = claims("silent", Speedup({}, 0.4, "a clock"), lossless=False)


def missing() -> Converter:
    """One that lacks a package."""

    class Missing(Claims):
        def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
            raise LdmError("it needs the package swiftest.", "pip install swiftest")

    return Missing((Speedup({}, 0.2, "a clock"),))


@pytest.mark.parametrize(
    ("factories", "fast", "taken"),
    [
        ({}, "lossless", []),
        ({"quick": QUICK, "slower": SLOWER}, "lossless", ["quick"]),
        ({"quick": QUICK, "lossy": LOSSY}, "lossless", ["quick"]),
        ({"quick": QUICK, "lossy": LOSSY}, "lossy", ["lossy", "quick"]),
        ({"jealous": JEALOUS, "keen": KEEN, "quick": QUICK}, "lossless", ["quick", "keen"]),
        ({"elsewhere": ELSEWHERE}, "lossy", []),
        ({"missing": missing, "quick": QUICK}, "lossless", ["quick"]),
        ({"silent": SILENT, "quick": QUICK}, "lossless", ["quick"]),
        ({"silent": SILENT, "quick": QUICK}, "lossy", ["quick"]),
        ({"told": TOLD, "quick": QUICK}, "lossless", ["quick", "told"]),
        ({"long": LONG, "quick": QUICK}, "lossless", ["quick"]),
    ],
)
def test_what_pays_is_taken(factories: Mapping[str, Any], fast: str, taken: list[str]) -> None:
    names, said = composed(plugins(**factories), fast=fast)
    assert names == [f"swift:{name}" for name in taken]
    for name in taken:
        assert f"{name}, {'published to pay (a guide; not m' if name == 'told' else '0.'}" in said
    assert ("long is left out: it pays from 99 steps on, and a run has" in said) == (
        "long" in factories
    )
    if "jealous" in factories:
        assert "jealous is left out: the converter 'jealous' of the package swift 1.0" in said
        assert "it cannot stand beside quick; keen" in said
    assert ("20 dB" in said) == ("lossy" in taken)
    assert ("(pip install swiftest)" in said) == ("missing" in factories)
    assert ("silent is left out: it does not keep" in said) == ("silent" in factories)


def test_a_neighbour_that_nobody_named_is_not_taken_nor_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Being installed is no leave; an allow-list, or a choice of the package, is."""
    asked = []

    def quick() -> Converter:
        asked.append(True)
        return Claims((Speedup({}, 0.5, "a clock"),), name="quick")

    registry = plugins(quick=quick, keen=KEEN)
    names, said = composed(registry, allow=(), fast="lossy")
    assert (names, asked) == ([], [])
    assert (
        "Not asked, as you chose nothing of their packages: swift:keen 1.0, swift:quick 1.0;"
        in said
    )
    names, said = composed(registry, allow=(), fast="lossless", converters="swift:keen")
    assert names == ["swift:keen", "swift:quick"]
    assert "Not asked" not in said
    monkeypatch.setenv("LDM_ALLOW_PLUGINS", "ldm-core,SWIFT")
    assert composed(registry, allow=(), fast="lossless")[0] == ["swift:quick", "swift:keen"]


def test_one_that_fails_to_say_what_it_makes_faster_is_told() -> None:
    """Where it is asked, and where it is made."""

    class Fails(Claims):
        def speedups(self, info: ModelInfo, place: PlaceNames) -> Sequence[Speedup]:
            raise ZeroDivisionError("of its own")

    def unmade() -> Converter:
        raise ZeroDivisionError("as it was made")

    registry = plugins(fails=lambda: Fails(), unmade=unmade, quick=QUICK)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LdmWarning)
        composition = compose(
            {"model": "shapes", "converters": {"name": "swift:quick"}, "fast": "lossless"}, registry
        )
    assert "swift:fails" not in [entry["name"] for entry in composition.recipe["converters"]]
    said = " ".join(str(warning.message) for warning in caught)
    assert "swift 1.0" in said
    assert "while it said what it makes faster" in said
    assert "as it was made; it is left out" in said


def test_what_a_person_chose_stays_as_it_is() -> None:
    """The chosen one first, with its options; it is not chosen a second time."""

    def quick(*, strength: int = 1) -> Converter:
        return Claims((Speedup({}, 0.5, "a clock"),), name=f"of strength {strength}")

    registry = plugins(quick=quick, keen=KEEN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen = [{"name": "quick", "strength": 3}]
        composition = compose(
            {"model": "shapes", "fast": "lossless", "converters": chosen}, registry
        )
    mine = [e for e in composition.recipe["converters"] if not e["name"].startswith("ldm-core:")]
    assert mine == [{"name": "quick", "strength": 3}, {"name": "swift:keen"}]


def test_another_word_is_refused() -> None:
    with pytest.raises(LdmError, match="'fast' should be"):
        compose({"model": "shapes", "fast": "very"}, plugins())


@dataclass
class Clock:
    """Time that passes only where a converter's network says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def converter(self, name: str, seconds: float, by: float = 1.0, **more: Any) -> Any:
        """One with which each row takes so many seconds more, and is answered so many times as
        large."""
        clock = self

        class Takes(Claims):
            between_runs = name == "kept"

            def convert(self, model: Model) -> Model:
                def network(call: Call) -> torch.Tensor:
                    clock.now += seconds * len(call.x)
                    return model.network(call) * by

                return replace(model, network=network, remake=None)

        return lambda: Takes(name=name, **more)


def broken() -> Converter:
    """One whose network fails as no `LdmError` does."""

    class Broken(Claims):
        def convert(self, model: Model) -> Model:
            def network(call: Call) -> torch.Tensor:
                raise ZeroDivisionError("of its own")

            return replace(model, network=network, remake=None)

    return Broken(name="broken")


def test_what_draws_nothing_as_it_is_is_not_tuned() -> None:
    clock = Clock()
    registry = plugins(black=clock.converter("black", 0.0, by=math.nan))
    pipe = Pipeline.from_pretrained("shapes", registry=registry, device="cpu", converters=["black"])
    plan = pipe.composition.plan({"prompt": [PROMPT]}, [1], num_inference_steps=2)
    with pytest.raises(NotFiniteError, match="came out not finite"):
        tune(pipe, plan, rounds=1, clock=clock)


def tuned(lossy: bool) -> Tuned:
    """Of a pipeline whose own network takes a second a row."""
    clock = Clock()
    registry = plugins(
        slow=clock.converter("slow", 1.0),
        half=clock.converter("half", -0.5),
        third=clock.converter("third", -0.3),
        jealous=clock.converter("jealous", -0.2, hates="half"),
        worse=clock.converter("worse", 0.2),
        lossy=clock.converter("lossy", -0.1, by=0.9, lossless=False),
        liar=clock.converter("liar", -0.9, by=0.9),
        black=clock.converter("black", -0.95, by=math.nan),
        kept=clock.converter("kept", -0.9),
        heavy=clock.converter("heavy", 20.0),
        broken=broken,
    )
    pipe = Pipeline.from_pretrained("shapes", registry=registry, device="cpu", converters=["slow"])
    plan = pipe.composition.plan({"prompt": [PROMPT]}, [1], num_inference_steps=2)
    return tune(pipe, plan, lossy=lossy, rounds=1, clock=clock)


@pytest.mark.parametrize("lossy", some_of([False, True], 0, 2))
def test_what_is_measured_to_pay_is_put_together(lossy: bool) -> None:
    result = tuned(lossy)
    trials = {trial.name.removeprefix("swift:"): trial for trial in result.trials}
    assert [name for name, trial in trials.items() if trial.taken] == [
        "half", "third", *(["lossy"] if lossy else [])
    ]  # fmt: skip
    assert trials["half"].factor == pytest.approx(0.5)
    assert trials["third"].factor == pytest.approx(0.7)
    assert result.factor == pytest.approx(0.1 if lossy else 0.2)
    assert result.seconds == pytest.approx(2 * 2.0)  # steps, and rows: it is guided
    assert "moves it by" in trials["liar"].verdict
    assert trials["black"].verdict == "what it draws is not finite"
    assert trials["broken"].verdict == (
        "not here: the converter 'broken' of the package swift 1.0 failed at step 1 of 2: "
        "ZeroDivisionError: of its own"
    )
    assert "cannot stand beside half" in trials["jealous"].verdict
    assert trials["worse"].verdict == "not faster here"
    assert trials["heavy"].verdict == (  # 20 runs
        "not here: its first run takes longer than the 80 s that it may."
    )
    assert trials["kept"].verdict.startswith("not measured: it saves where an input comes again")
    assert (result.error > 0.01) is lossy
    names = [entry["name"] for entry in result.pipe.recipe["converters"]]
    assert names == ["slow", "swift:half", "swift:third", *(["swift:lossy"] if lossy else [])]


def test_what_changes_nothing_is_not_measured() -> None:
    """Such as `stored_weights`, where weights are kept as they are computed with."""
    pipe = Pipeline.from_pretrained("shapes", device="cpu")
    plan = pipe.composition.plan({"prompt": [PROMPT]}, [1], num_inference_steps=1)
    (trial,) = tune(pipe, plan, only=["stored_weights"], rounds=1).trials
    assert trial.verdict == "not here: it changes nothing of the model as it is"
    assert math.isnan(trial.factor)


def test_what_paid_by_chance_is_not_written() -> None:
    """A converter that is fast in its first two runs alone."""
    clock, calls = Clock(), count()

    def lucky() -> Converter:
        class Lucky(Claims):
            def convert(self, model: Model) -> Model:
                def network(call: Call) -> torch.Tensor:
                    clock.now += -0.5 if next(calls) < 2 else 0.5
                    return model.network(call)

                return replace(model, network=network, remake=None)

        return Lucky(name="lucky")

    registry = plugins(slow=clock.converter("slow", 1.0), lucky=lucky)
    pipe = Pipeline.from_pretrained("shapes", registry=registry, device="cpu", converters=["slow"])
    plan = pipe.composition.plan({"prompt": [PROMPT]}, [1], num_inference_steps=1)
    result = tune(pipe, plan, only=["lucky"], rounds=1, clock=clock)
    assert result.pipe is pipe
    assert (result.factor, [trial.taken for trial in result.trials]) == (1.0, [False])
    assert result.trials[0].verdict == "not faster when measured again: 1.25 of the time"


def endless() -> Converter:
    """One whose network never answers."""

    class Endless(Claims):
        def convert(self, model: Model) -> Model:
            def network(call: Call) -> torch.Tensor:
                while True:
                    time.sleep(0.01)

            return replace(model, network=network, remake=None)

    return Endless(name="endless")


def test_what_takes_too_long_is_left_and_named(tmp_path: Path, capsys: Any) -> None:
    pipe = Pipeline.from_pretrained(
        "shapes", registry=plugins(endless=endless), device="cpu", num_inference_steps=1
    )
    out = tmp_path / "tuned.toml"
    with pytest.raises(LdmError, match="nothing was measured"):
        next(tune_command(pipe, PROMPT, only=["endless"], rounds=1, limit=0.5, out=out))
    printed = capsys.readouterr()
    assert "tried swift:endless: not here: its first run takes longer than the 0.5 s" in printed.out
    assert "measuring a run as it is" in printed.err
    assert "trying swift:endless (1 of 1; " in printed.err


def test_the_command_writes_a_recipe_that_composes(tmp_path: Path, capsys: Any) -> None:
    pipe = Pipeline.from_pretrained("shapes", device="cpu", num_inference_steps=1)
    out = tmp_path / "tuned.toml"
    assert [*tune_command(pipe, PROMPT, only=["chunked"], rounds=1, out=out)] == [out]
    text = out.read_text(encoding="utf-8")
    assert text.startswith("# Measured by `ldm tune` on ")
    assert compose({}, installed(), out).recipe["num_inference_steps"] == 1
    assert "together" in capsys.readouterr().out
    with pytest.raises(LdmError, match=r"is named 'chunkd'\. Did you mean 'chunked'"):
        next(tune_command(pipe, PROMPT, only=["chunkd"], rounds=1, out=tmp_path / "other.toml"))
    with pytest.raises(LdmError, match="is there already"):
        next(tune_command(pipe, PROMPT, only=["chunked"], rounds=1, out=out))
    with pytest.raises(LdmError, match=r"\.toml file"):
        next(tune_command(pipe, PROMPT, only=["chunked"], rounds=1, out=tmp_path / "tuned.json"))


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
values = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(texts, values, max_size=4))
def test_a_recipe_is_written_as_it_is_read(table: dict[str, Any]) -> None:
    """Python's own reader is the judge."""
    assert tomllib.loads(as_toml(table, ["two\nlines"])) == table


def test_a_whole_recipe_comes_back(tmp_path: Path) -> None:
    layer = as_layer(
        {
            "model": 'a "b" \\ c',
            "scheduler": {"name": "ddim", "eta": 1e-7},
            "converters": ["channels", {"name": "x:y", "parts": ["network"], "n": 3}],
            "loras": ["ink.safetensors:0.8"],
        }
    )
    file = tmp_path / "tuned.toml"
    file.write_text(as_toml(layer), encoding="utf-8")
    assert read_recipe(file) == layer


def test_a_part_made_in_python_is_refused() -> None:
    with pytest.raises(LdmError, match="made in Python"):
        as_toml({"scheduler": {"name": lambda x: x}})
