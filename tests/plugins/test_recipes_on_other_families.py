"""A recipe written for one family on every other: it runs by changing the model line, and every
part of it acts, or a message says why not. So do the plugins of another package."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import OF_WEIGHTS, compose
from ldm_core.composition.full_recipe import recipe_in_full
from ldm_core.contracts import (
    Conditioning,
    Converter,
    Evaluation,
    Guidance,
    Input,
    Model,
    Phase,
    Run,
    RunHooks,
)
from ldm_core.errors import NotFiniteError, PluginError
from ldm_core.media.manifest import recipe_of
from ldm_core.numerics.point import Point
from ldm_core.plugins.registry import Plugin, Registry, discover
from projects import entries_of
from tiny.covering import some_of

ASKED: Counter[str] = Counter()
"""How often each part of the package was called."""
STEPS = 2


def walk(x: Any, grid: Any, denoise: Any, noise: Any, *, gain: float = 0.9) -> Any:
    """Euler's method, x0 scaled."""
    for here, there in pairwise(grid):
        ASKED["scheduler"] += 1
        x0 = gain * denoise(x, here)
        x = there.alpha * x0 + there.sigma / here.sigma * (x - here.alpha * x0)
    return x


def even(schedule: Any, steps: int, *, skipped: int = 1) -> Sequence[Point]:
    """Evenly spaced timesteps, the noisiest left out."""
    ASKED["spacing"] += 1
    first, last = schedule.first, schedule.last
    count = steps + skipped
    times = [round(last - (last - first) * n / count) for n in range(skipped, count + 1)]
    return [schedule.at(t) for t in times]


@dataclass(frozen=True)
class Lean(Guidance):
    scale: float

    def branches(self, point: Point) -> tuple[str, ...]:
        return ("positive", "negative")

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        ASKED["guidance"] += 1
        return outputs["negative"].lerp(outputs["positive"], self.scale)


def lean(*, scale: float = 3.0) -> Guidance:
    return Lean(scale)


@dataclass(frozen=True)
class Dim(Conditioning):
    usual: float

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {"dim": Input(float, self.usual, each=False)}

    def bind(self, run: Run) -> RunHooks:
        (share,) = {*run.request.inputs["dim"]}

        class Hooks(RunHooks):
            def finish(self, x: Tensor) -> Tensor:
                ASKED["conditioning"] += 1
                return x * (1 - share)

        return Hooks()


def dim(*, usual: float = 0.25) -> Conditioning:
    return Dim(usual)


def kernel(q: Any, k: Any, v: Any, mask: Any, scale: Any, *, times: float = 0.9) -> Any:
    ASKED["attention"] += 1
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        )
    return times * scores.softmax(-1).nan_to_num() @ v  # where a mask leaves nothing


def shrink(denoise: Any, *, by: float = 0.9) -> Any:
    def inner(x: Tensor, point: Point) -> Tensor:
        ASKED["denoisers"] += 1
        return by * denoise(x, point)

    return inner


def pooled(model: Model, data: Tensor, noise: Any, *, by: float = 0.5) -> Tensor:
    """The mean of the pixels around, in each channel of the latent."""
    ASKED["encoder"] += 1
    extent = {"height": data.shape[-2], "width": data.shape[-1]}
    channels, *sides = model.info.latents.shape(extent)
    return by * functional.adaptive_avg_pool2d(data, sides).mean(1, True).repeat(1, channels, 1, 1)


def spread(model: Model, x0: Tensor, *, by: float = 0.5) -> Tensor:
    """The mean of the channels, in the pixels around."""
    ASKED["decoder"] += 1
    info = model.info
    extent = info.latents.extent(x0.shape[1:])
    grey = by * x0.mean(1, True).clamp(-1, 1)
    large = functional.interpolate(grey, (extent["height"], extent["width"]))
    return large.repeat(1, info.image_channels, 1, 1)


@dataclass(frozen=True)
class Softer(Converter):
    by: float
    phase = Phase.WEIGHTS
    lossless = False

    def convert(self, model: Model) -> Model:
        def network(call: Any) -> Tensor:
            ASKED["converters"] += 1
            answer: Tensor = self.by * model.network(call)
            return answer

        return replace(model, network=network)


def softer(*, by: float = 0.9) -> Converter:
    return Softer(by)


@contextmanager
def count(grid: Any, *, every: int = 1) -> Iterator[Callable[[Any], None]]:
    def tell(step: Any) -> None:
        ASKED["observers"] += step.call % every == 0

    yield tell


PARTS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "scheduler": ("scheduler", walk, {"gain": 0.8}),
    "spacing": ("spacing", even, {"skipped": 2}),
    "guidance": ("guidance", lean, {"scale": 2.0}),
    "conditioning": ("conditioning", dim, {"usual": 0.5}),
    "attention": ("attention", kernel, {"times": 0.8}),
    "denoisers": ("denoiser", shrink, {"by": 0.8}),
    "encoder": ("encoder", pooled, {"by": 0.4}),
    "decoder": ("decoder", spread, {"by": 0.4}),
    "converters": ("converter", softer, {"by": 0.8}),
    "observers": ("observer", count, {"every": 2}),
}
"""By key of a recipe: the kind, the plugin and options that a recipe sets."""


EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "ldm-res"
OF_EXAMPLE: dict[str, dict[str, Any]] = {
    "scheduler": {"name": "ldm-res:res_2m", "order": 1},
    "spacing": {"name": "ldm-res:laplace", "mean": 0.5, "width": 2.0},
    "guidance": {"name": "ldm-res:rising", "scale": 2.0},
    "conditioning": {"name": "ldm-res:kaleidoscope"},
    "attention": {"name": "ldm-res:exact"},
    "denoisers": {"name": "ldm-res:held", "spread": 0.5},
    "encoder": {"name": "ldm-res:mirrored"},
    "decoder": {"name": "ldm-res:mirrored"},
    "converters": {"name": "ldm-res:pruned", "share": 0.1},
    "observers": {"name": "ldm-res:changes"},
}
"""What a recipe chooses of the example package, by key."""
OWN = "the example's"
NO_AUTOENCODER = "has no KL-autoencoder, which 'mirrored' needs"
REFUSED = {
    ("decoder", "DDPM"): NO_AUTOENCODER,
    ("decoder", OWN): NO_AUTOENCODER,
    ("attention", OWN): "reaches no layer of the network",
}
"""Which of those a family refuses, and why: pixels have no autoencoder, and a convolution no
attention. All others are drawn with."""
REASONS = {
    "spacing": ("walks points of its own, so no spacing can be chosen with it",),
    "conditioning": ("'kaleidoscope' turns pictures", "only a square picture has four folds"),
    "decoder": (NO_AUTOENCODER,),
}
"""Why a further family may refuse a plugin of the example, by key; of others none is refused."""
KINDS = (*tiny.FOLDERS, OWN)
FURTHER = tuple(tiny.MORE_FOLDERS)
FOLDERS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}
CONDITION = {"LDM": "none", "DDPM": "none, pixels", OWN: "none, pixels", "DiT": "class"} | {
    "SDXL": "text and size",
    "SDXL refiner": "text and size",
}
"""What the network of a family is told; others, text."""
DISTILLED = ("LCM", "Flux dev")
"""Those whose recipe gives the scale of guidance to the network."""
LARGER = ("LDM text", "Flux dev", "Flux schnell")
"""Those that draw larger pictures than the one with the hole that a recipe's inputs hold."""


def is_refused(kind: str, other: str) -> bool:
    """Whether a family must refuse the recipe of another."""
    return (
        CONDITION.get(kind, "text") != CONDITION.get(other, "text")
        or (kind == "SD inpainting" and other != kind)  # needs a picture with a hole
        or (other == "SD inpainting" and kind in LARGER)
        or (other in DISTILLED and kind not in DISTILLED)
    )


SEVERAL = ("conditioning", "denoisers", "observers", "converters")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """What is installed, the example, and the parts above."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)
        entries = entries_of(EXAMPLE, tmp_path_factory.mktemp("site"))
        registry = discover([*entry_points(group="ldm"), *entries], disable=[], allow=[])
        assert not registry.failures
        registry.plugins += [
            Plugin(kind, key, "ldm-mine", "0.1", target) for key, (kind, target, _) in PARTS.items()
        ]
        yield registry


@dataclass(frozen=True)
class Family:
    """A folder of each kind, its pipeline, and the recipe that one of its pictures holds."""

    folder: Path
    pipe: Pipeline
    inputs: dict[str, Any]
    recipe: dict[str, Any]


@pytest.fixture(scope="module")
def families(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Family]:
    made: dict[str, Family] = {}

    def family(kind: str) -> Family:
        if kind not in made:
            home = tmp_path_factory.mktemp("kind")
            example = kind == OWN
            folder = EXAMPLE / "ldm_res" / "models" / "gauss" if example else home / "model"
            if not example:
                FOLDERS[kind].write(folder)
            pipe = Pipeline.from_pretrained(folder, num_inference_steps=STEPS, registry=registry)
            inputs = {} if example else FOLDERS[kind].inputs_in(home)
            manifest = draw(pipe, inputs).manifests[0]
            recipe = recipe_of(manifest, registry)
            own = {k: v for k, v in recipe.items() if k not in OF_WEIGHTS}
            made[kind] = Family(folder, pipe, inputs, own)
        return made[kind]

    return family


def draw(pipe: Pipeline, inputs: dict[str, Any]) -> Any:
    """One picture, of the inputs that the pipeline takes."""
    taken = {*pipe.composition.inputs, *pipe.composition.info.latents.names}
    first = {
        name: value[0] if isinstance(value, list) else value
        for name, value in inputs.items()
        if name in taken
    }
    return pipe(seed=1, output_type="pt", **first)


def tried(family: Family, choices: Mapping[str, Any], inputs: dict[str, Any]) -> str | None:
    """None where a recipe draws on a family; else why it does not."""
    registry = family.pipe.composition.registry
    try:
        pipe = family.pipe.replace(**choices)
        by_line = compose({"model": str(family.folder), **choices}, registry)
        assert recipe_in_full(by_line) == recipe_in_full(pipe.composition)
        for key, choice in choices.items():  # nothing of it is passed over
            said = choice if isinstance(choice, list) else [choice]
            there = pipe.recipe[key] if isinstance(choice, list) else [pipe.recipe[key]]
            assert there == said, key
        images = draw(pipe, {**inputs, **family.inputs}).images
    except (NotFiniteError, PluginError):
        raise
    except LdmError as refusal:
        return refusal.message
    assert len(images) == 1
    assert images.isfinite().all()
    return None


def test_every_family_is_among_those_that_are_tried(registry: Registry, tmp_path: Path) -> None:
    """A family that comes has a folder here, so that none is left out."""
    folders = [kind.write(tmp_path / str(n)) for n, kind in enumerate(FOLDERS.values())]
    folders += [file.parent for file in EXAMPLE.rglob("model_index.json")]
    indexes = [json.loads((folder / "model_index.json").read_text()) for folder in folders]
    families = registry.of_kind("family")
    assert len(families) > 30
    known = {f.id for f in families if any(f.loaded().matches(index) for index in indexes)}
    assert {family.id for family in families} == known


@pytest.mark.parametrize("kind", KINDS)
def test_another_familys_recipe_runs_or_says_why_not(
    families: Callable[[str], Family], kind: str
) -> None:
    family, seen = families(kind), []
    for other in KINDS:
        theirs = families(other)
        if theirs.recipe not in seen:  # some write the same one
            seen.append(theirs.recipe)
            refusal = tried(family, theirs.recipe, theirs.inputs)
            assert (refusal is not None) == is_refused(kind, other), (other, refusal)


@pytest.mark.parametrize("kind", some_of(KINDS, 0, 3))
def test_another_packages_plugins_act_or_say_why_not(
    families: Callable[[str], Family], kind: str
) -> None:
    family = families(kind)
    for key, (_, _, options) in PARTS.items():
        choice: Any = {"name": f"ldm-mine:{key}", **options}
        if key in SEVERAL:
            choice = [*family.recipe.get(key, []), choice]
        ASKED.clear()
        refusal = tried(family, {key: choice, "num_inference_steps": STEPS}, {})
        if key == "encoder" and refusal is None:  # which is asked for data alone
            pixels = torch.zeros(1, family.pipe.composition.info.image_channels, 16, 16)
            family.pipe.replace(encoder=choice).encode(pixels)
        assert (refusal is None) == bool(ASKED[key]), (key, refusal)


@pytest.mark.parametrize("kind", some_of(KINDS, 1, 3))
def test_the_examples_plugins_run_or_say_why_not(
    families: Callable[[str], Family], kind: str
) -> None:
    family = families(kind)
    for key, choice in OF_EXAMPLE.items():
        entry = [*family.recipe.get(key, []), choice] if key in SEVERAL else choice
        refusal = tried(family, {key: entry, "num_inference_steps": STEPS}, {})
        reason = REFUSED.get((key, kind))
        assert (refusal is None) == (reason is None), (key, refusal)
        assert reason is None or reason in str(refusal)


@pytest.mark.slow
@pytest.mark.parametrize("kind", tiny.MORE_FOLDERS)
def test_so_it_is_with_the_further_families(families: Callable[[str], Family], kind: str) -> None:
    """Every recipe, each part and the example's: drawn with, or an error of ours that says why."""
    family = families(kind)
    assert tried(family, family.recipe, family.inputs) is None
    refusals = [tried(family, families(o).recipe, families(o).inputs) for o in (*KINDS, *FURTHER)]
    assert any(refusal is None for refusal in refusals)
    acted = set()
    of_pictures = () if family.pipe.composition.decoder.kind == "image" else ("encoder", "decoder")
    for key, (_, _, options) in PARTS.items():
        if key in of_pictures:  # those above are for pictures alone
            continue
        choice: Any = {"name": f"ldm-mine:{key}", **options}
        if key in SEVERAL:
            choice = [*family.recipe.get(key, []), choice]
        ASKED.clear()
        refusal = tried(family, {key: choice, "num_inference_steps": STEPS}, {})
        if key != "encoder":  # which no text asks
            assert (refusal is None) == bool(ASKED[key]), (key, refusal)
        acted |= {key} if ASKED[key] else set()
    assert {"scheduler", "denoisers", "converters", "observers"} <= acted
    for key, choice in OF_EXAMPLE.items():
        if key in of_pictures:
            continue
        entry = [*family.recipe.get(key, []), choice] if key in SEVERAL else choice
        refusal = tried(family, {key: entry, "num_inference_steps": STEPS}, {})
        assert refusal is None or any(r in refusal for r in REASONS.get(key, ())), (key, refusal)
