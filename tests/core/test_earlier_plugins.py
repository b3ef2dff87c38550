"""A package that was written for the hook API 1, as its pages showed it, on the host of now."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ldm_core
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.parts import make
from ldm_core.contracts import LatentSpace, learned_variance
from ldm_core.errors import LdmWarning
from ldm_core.plugins import earlier, moved
from ldm_core.plugins.hookspecs import ENDS
from ldm_core.plugins.registry import Registry, discover, installed
from third_party import Toy, folder_in, gaussian_velocity, registry_of

PLUGIN = """
from ldm_core import hookimpl
from ldm_core.point import Point

ldm_api_version = 1

@hookimpl
def ldm_denoisers(register):
    register("dynamic_threshold", "ldm_old.thresholding:dynamic_threshold")

@hookimpl
def ldm_guidance(register):
    register("interval", "ldm_old.interval:interval")
    register("fitting", "ldm_old.interval:fitting")
    register("bound", "ldm_old.interval:bound")
    register("networks", "ldm_old.interval:networks")

@hookimpl
def ldm_schedulers(register):
    register("twice", "ldm_old.twice:twice")
    register("res_2m", "ldm_old.res:res_2m")
    register("own_points", "ldm_old.twice:own_points")
    register("fussy", "ldm_old.twice:fussy")

@hookimpl
def ldm_spacings(register):
    register("even", "ldm_old.even:even")

@hookimpl
def ldm_observers(register):
    register("counting", "ldm_old.counting:counting")
"""
THRESHOLDING = '''
def dynamic_threshold(denoise, *, percentile: float = 0.995):
    """Dynamic thresholding of x0 (Saharia et al. 2022, arXiv:2205.11487, Section 2.3)."""

    def thresholded(x, point):
        x0 = denoise(x, point)  # (batch, ...)
        limit = x0.flatten(1).abs().quantile(percentile, dim=1).clamp(min=1.0)
        limit = limit.reshape(-1, *[1] * (x0.ndim - 1))
        return x0.clamp(-limit, limit) / limit

    return thresholded
'''
INTERVAL = '''
from dataclasses import dataclass, replace


def interval(*, scale: float = 5.0, low: float = 0.3, high: float = 5.0):
    """Classifier-free guidance on an interval of noise (Kynkaanniemi et al. 2024)."""
    return Interval(scale, low, high)


def fitting(*, scale: float = 5.0):
    return Fitting(scale, 0.0, 1e9)


def bound():
    return BoundInterval()


def networks():
    return Networks()


@dataclass(frozen=True)
class Interval:
    scale: float
    low: float
    high: float

    def branches(self, point):
        inside = self.low < point.ratio <= self.high
        return ("negative", "positive") if inside else ("positive",)

    def combine(self, outputs, at):
        positive = outputs["positive"]
        if "negative" not in outputs:
            return positive
        negative = outputs["negative"]
        return negative + self.scale * (positive - negative)


class Fitting(Interval):
    def for_model(self, info):
        return replace(self, scale=0.0) if info.family == "toy" else self


class BoundInterval:
    def bind(self, run):
        return Interval(2.0 * len(run.request.seeds), 0.0, 1e9)


class Networks:
    def bind(self, run):
        one = Interval(2.0, 0.0, 1e9)
        object.__setattr__(one, "networks", {"negative": run.model.network})
        return one
'''
TWICE = '''
from ldm_core import LdmError
from ldm_core.contracts import Scheduler
from ldm_core.point import CLEAN
from ldm_core.steps import move


def twice(*, inner: Scheduler = "euler", at: float = 0.7):
    """Walk the last part of the grid twice, with noise added in between."""

    def walk(x, grid, denoise, noise):
        x = inner(x, grid, denoise, noise)
        again = grid[int(at * (len(grid) - 1)) :]
        start, end = again[0], grid[-1]
        x = start.alpha / end.alpha * x + start.sigma * noise()
        return inner(x, again, denoise, noise)

    return walk


def own_points(x, grid, denoise, noise, *, k: int = 1):
    return move(x, denoise(x, grid[0]), grid[0], grid[-1])


own_points.own_grid = lambda schedule, steps: [schedule.at(schedule.last), CLEAN]


def fussy(x, grid, denoise, noise):
    return x


def for_model(info):
    raise LdmError(f"fussy is not for the family {info.family}")


fussy.for_model = for_model
'''
EVEN = """
from ldm_core.point import CLEAN


def even(schedule, steps):
    ts = [schedule.last - i * (schedule.last - schedule.first) / steps for i in range(steps)]
    return [*(schedule.at(t) for t in ts), CLEAN]
"""
COUNTING = """
from contextlib import contextmanager

told = []


@contextmanager
def counting(grid):
    yield lambda step: told.append((step.call, step.index))
"""
FILES = {
    "__init__": "",
    "plugin": PLUGIN,
    "thresholding": THRESHOLDING,
    "interval": INTERVAL,
    "twice": TWICE,
    "even": EVEN,
    "counting": COUNTING,
}
RES = '''
import math
from itertools import pairwise

from ldm_core.contracts import Denoise, Grid, Noise
from ldm_core.hookspecs import Register
from ldm_core.steps import move


def res_2m(x, grid: Grid, denoise: Denoise, noise: Noise, *, order: int = 2):
    """Refined exponential solver, multistep (Zhang, Song & Chen 2023, arXiv:2308.02157)."""
    before, x0_before = None, x
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        x = move(x, x0, here, there)
        if order == 2 and before is not None and there.sigma > 0:
            h = there.half_log_snr - here.half_log_snr
            weight = (h + math.expm1(-h)) / (here.half_log_snr - before.half_log_snr)
            x = x + there.alpha * weight * (x0 - x0_before)
        before, x0_before = here, x0
    return x
'''


def packaged(folder: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Registry:
    """What is discovered of a package of these files."""
    (folder / "ldm_old").mkdir()
    for name, text in files.items():
        (folder / "ldm_old" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return discover([EntryPoint("old", "ldm_old.plugin", "ldm")], [], [])


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No package of these tests meets the one of a test before it."""
    earlier._said.clear()
    yield
    names = [n for n in sys.modules if n.partition(".")[0] == "ldm_old" or n in moved.MOVED]
    for name in names:
        del sys.modules[name]
        if name in moved.MOVED:
            delattr(ldm_core, name.rpartition(".")[2])


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline of a toy model beside the old package."""
    registry = packaged(tmp_path, {**FILES, "res": RES}, monkeypatch)
    assert not registry.failures
    family = Toy(
        gaussian_velocity,
        LatentSpace.of_picture(3, 1),
        {"height": 4, "width": 6},
        defaults={"num_inference_steps": 6},
    )
    both = registry_of(family, decoders={"toy": lambda: lambda model, x0: x0})
    both.plugins += registry.plugins
    return Pipeline.from_pretrained(folder_in(tmp_path / "model"), registry=both)


def latents(pipe: Pipeline, **call: Any) -> Tensor:
    images: Tensor = pipe(seed=[3, 4], output_type="latent", **call).images
    return images


@pytest.mark.filterwarnings("ignore::ldm_core.errors.LdmWarning")
@pytest.mark.parametrize(
    ("as_was", "as_is"),
    [
        ({"scheduler": {"name": "res_2m", "order": 1}}, {"scheduler": "ddim"}),
        ({"scheduler": {"name": "twice", "at": 1.0}}, {"scheduler": "euler"}),
        ({"scheduler": {"name": "twice", "at": 1.0, "inner": "heun"}}, {"scheduler": "heun"}),
        (
            {"guidance": {"name": "interval", "scale": 3.0, "low": 0.0, "high": 1e9}},
            {"guidance": {"name": "classifier_free", "scale": 3.0}},
        ),
        (
            {"guidance": "bound"},
            {"guidance": {"name": "classifier_free", "scale": 4.0}},
        ),
        ({"denoisers": [{"name": "dynamic_threshold", "percentile": 1.0}]}, {}),
        ({"observers": ["counting"]}, {}),
    ],
    ids=str,
)
def test_it_draws_what_is_drawn_without_it(
    old: Pipeline, as_was: dict[str, Any], as_is: dict[str, Any]
) -> None:
    left, right = latents(old.replace(**as_was)), latents(old.replace(**as_is))
    if "denoisers" in as_was:  # nothing lies beyond 1 but what is divided by the largest
        size = right.flatten(1).abs().amax(1).clamp(min=1).reshape(-1, 1, 1, 1)
        assert left.abs().amax() <= 1 + 1e-6 < float(size.amax()) + 1
        return
    assert left.allclose(right, atol=1e-5)


@pytest.mark.filterwarnings("ignore::ldm_core.errors.LdmWarning")
def test_points_and_refusals_that_were_attributes_are_kept(old: Pipeline) -> None:
    single = old.replace(scheduler="own_points")
    assert len(single.composition.grid(6)) == 2
    assert latents(single).isfinite().all()
    with pytest.raises(LdmError, match="fussy is not for the family toy"):
        old.replace(scheduler="fussy")
    with pytest.raises(LdmError, match=r"derive from ldm_core\.contracts\.Guidance"):
        latents(old.replace(guidance="networks"))


@pytest.mark.filterwarnings("ignore::ldm_core.errors.LdmWarning")
@pytest.mark.parametrize(
    ("name", "scale"), [("interval", 3.0), ("fitting", 0.0)], ids=["as it is", "for this model"]
)
def test_a_guidance_of_it_combines_its_branches(old: Pipeline, name: str, scale: float) -> None:
    pipe = old.replace(guidance={"name": name, "scale": 3.0})
    outputs: dict[str, Any] = {"positive": torch.tensor(5.0), "negative": torch.tensor(1.0)}
    at: Any = None
    assert pipe.composition.guidance.combine(outputs, at) == 1 + scale * 4


@pytest.mark.filterwarnings("ignore::ldm_core.errors.LdmWarning")
def test_an_even_spacing_of_it_is_walked(old: Pipeline) -> None:
    points = old.replace(spacing="even").composition.grid(4)
    assert [round(point.t) for point in points] == [1000, 750, 500, 251, 0]


def test_it_is_told_all_that_is_to_change_in_one_warning(old: Pipeline) -> None:
    with pytest.warns(LdmWarning) as heard:
        old.replace(guidance="interval", scheduler="twice").replace(guidance="interval")
    [message] = [str(one.message) for one in heard if issubclass(one.category, LdmWarning)]
    assert message == (
        "the package unknown 0 was written for the hook API 1, which ldm-core understands until "
        f"{ENDS['hook API 1'].gone}, and now is 2. To change: state ldm_api = '>=2,<3'; "
        "ldm_core.numerics.point is what ldm_core.point was; "
        "ldm_core.numerics.moves is what ldm_core.steps was; "
        "guidance: derive from ldm_core.contracts.Guidance, call for_model(info) fit(info), and "
        "let bind(run) return a ldm_core.contracts.Bound."
    )


REFUSED = {
    "__init__": "",
    "plugin": PLUGIN.partition("@hookimpl")[0]
    + """
from ldm_core.contracts import Conditioning, Scheduler

@hookimpl
def ldm_conditioning(register):
    register("words", "ldm_old.words:words")

@hookimpl
def ldm_families(register):
    register("mine", "ldm_old.mine:Mine")

@hookimpl
def ldm_schedulers(register):
    register("fussy", "ldm_old.twice:fussy")
""",
    "mine": "from ldm_core.family import Model\n",
    "words": """
class Words:
    ability = None
    inputs = {"words": ""}

    def check(self, request): ...

    def encode(self, run, branches):
        return {}


def words():
    return Words()
""",
    "twice": TWICE,
}


@pytest.mark.filterwarnings("ignore::ldm_core.errors.LdmWarning")
def test_what_cannot_be_used_is_told_what_to_change_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = packaged(tmp_path, REFUSED, monkeypatch)
    assert [plugin.name for plugin in registry.plugins] == ["fussy", "words"]
    [failure] = registry.failures
    with pytest.raises(LdmError) as refused:
        make("conditioning", {"name": "words"}, registry, [], {})
    for message in (failure.reason, str(refused.value)):
        for words in (
            "state ldm_api = '>=2,<3'",
            "ldm_core.contracts is what ldm_core.family was",
            "declare inputs as ldm_core.contracts.Input(type, default, help=...)",
            "ModelInfo takes latents (ldm_core.contracts.LatentSpace)",
        ):
            assert words in message
    with pytest.raises(LdmError, match="ModelInfo takes latents"):
        registry.find("family", "mine")


def test_the_list_of_plugins_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ldm: Any
) -> None:
    registry = packaged(tmp_path, {**FILES, "res": RES}, monkeypatch)
    monkeypatch.setattr(installed(), "plugins", [*installed().plugins, *registry.plugins])
    code, listed, said = ldm("plugins", "list", "--kind", "scheduler")
    assert code == 0
    assert "twice" in listed
    assert said.count("was written for the hook API 1") == 1


def test_names_that_are_gone_are_told_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "__init__": "",
        "plugin": "from ldm_core.contracts import Edit, sees_latent_shape\n" + PLUGIN,
        "even": EVEN,
    }
    [failure] = packaged(tmp_path, files, monkeypatch).failures
    assert "cannot import name 'Edit'" in failure.reason
    for words in (
        "Edit is ldm_core.contracts.RunHooks, whose network(network)",
        "sees_latent_shape is ldm_core.contracts.sees_latent, whose function takes a LatentShape",
        "ldm_core.numerics.point is what ldm_core.point was",
    ):
        assert words in failure.reason


def test_modules_are_one_under_both_names() -> None:
    discover([], [], [])
    import ldm_core.point as old_point  # type: ignore[import-not-found]
    import ldm_core.steps as old_steps  # type: ignore[import-not-found]

    from ldm_core.numerics import moves, point

    assert old_steps.move is moves.move
    assert old_point.CLEAN is point.CLEAN
    with pytest.raises(ModuleNotFoundError, match=r"ldm_core\.stepps"):
        import ldm_core.stepps  # type: ignore[import-not-found] # noqa: F401


def test_every_moved_module_leads_somewhere() -> None:
    from importlib.util import find_spec

    from ldm_core.plugins.moved import MOVED, RENAMED

    for name, home in MOVED.items():
        assert find_spec(home) is not None, (name, home)
    assert installed().plugins
    import ldm_core.contracts

    assert not {*RENAMED} & {*ldm_core.contracts.__all__}
    assert learned_variance in vars(ldm_core.contracts).values()


def test_a_composition_of_an_old_part_alone_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = packaged(tmp_path, {**FILES, "res": RES}, monkeypatch)
    family = Toy(gaussian_velocity, LatentSpace.of_picture(3, 1), {"height": 4, "width": 6})
    both = registry_of(family, decoders={"toy": lambda: lambda model, x0: x0})
    both.plugins += registry.plugins
    model = str(folder_in(tmp_path / "model"))
    with pytest.warns(LdmWarning, match="was written for the hook API 1"):
        compose({"model": model, "scheduler": "twice"}, both)
