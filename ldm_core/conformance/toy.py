"""Toy models for checks: tiny, of fixed random weights, of every kind of path and prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ldm_core.composition.compose import assemble
from ldm_core.composition.composition import Composition
from ldm_core.contracts import (
    Call,
    Condition,
    Family,
    LatentSpace,
    Model,
    ModelInfo,
    Part,
    PartInfo,
    Place,
)
from ldm_core.contracts.abilities import Sizes, Span, TextAbility
from ldm_core.errors import LdmError
from ldm_core.model import place as places
from ldm_core.numerics.noise_schedule import FlowSchedule, NoiseSchedule, VPSchedule, vp_schedule
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import PredictionType, as_prediction_type
from ldm_core.plugins.registry import Registry
from ldm_core.run.pipeline import Pipeline
from ldm_core.run.weights import Weights

SIDE = 8
WORDS = 8
"""The window of the toy text encoder."""
CLASSES = ("circle", "square", "star, pentagram", "tree")
NETWORK = PartInfo("network", "ToyNetwork", "network")


@dataclass(frozen=True)
class Toy:
    """One toy model: pixels of 8x8, three channels.

    Attributes:
        prediction_type: what its network returns.
        path: ``vp`` or ``flow``.
        abilities: what it can be conditioned by: ``text``, ``class_label``, ``size``,
            ``guidance_embeds``.
    """

    prediction_type: str
    path: str
    abilities: frozenset[str] = frozenset({"text"})

    def __str__(self) -> str:
        condition = " and ".join(sorted(self.abilities)) or "nothing"
        return f"a toy model ({self.prediction_type}, {self.path}, conditioned by {condition})"

    @property
    def schedule(self) -> NoiseSchedule:
        return FlowSchedule() if self.path == "flow" else vp_schedule("linear", 0.0001, 0.02)

    @property
    def info(self) -> ModelInfo:
        needs = self.abilities & {"text", "class_label"}
        return ModelInfo(
            family="toy",
            source=str(self),
            folder=Path("toy model without a folder"),
            noise_schedule=self.schedule,
            prediction_type=as_prediction_type(self.prediction_type),
            latents=LatentSpace.of_picture(3),
            default_extent={"height": SIDE, "width": SIDE},
            abilities=self.abilities,
            defaults={
                "num_inference_steps": 4,
                "scheduler": "ldm-core:euler",
                # flow starts where the signal is zero, others a little below
                "spacing": "ldm-core:trailing",
                "guidance": "ldm-core:none",
                "attention": "ldm-core:native",
                "encoder": "ldm-core:pixels",
                "decoder": "ldm-core:pixels",
                "conditioning": [f"ldm-core:{name}" for name in sorted(needs)],
            },
            classes=CLASSES if "class_label" in self.abilities else (),
            needs=needs,
            parts=(NETWORK,),
        )

    def model(self, place: Place | None = None) -> Model:
        """The model itself; the same weights each time."""
        place = place or Place(torch.device("cpu"), torch.float32, torch.float32)
        network = place.put(ToyNetwork().to(place.dtype), NETWORK)
        part = Part(network, "network", place.device, place.compute_dtype)
        return _made(self.info, {"network": part}, place)

    def pipeline(self, registry: Registry) -> Pipeline:
        """A pipeline on it, with no guidance."""
        composition = _composition(self, registry)
        weights = Weights.of(self.model(places.resolve(composition.recipe)))
        return Pipeline(composition, weights, weights)


_compositions: WeakKeyDictionary[Registry, dict[Toy, Composition]] = WeakKeyDictionary()


def _composition(toy: Toy, registry: Registry) -> Composition:
    """Made once for a registry; each pipeline has weights of its own."""
    made = _compositions.setdefault(registry, {})
    if toy not in made:
        place = {"device": "cpu", "dtype": "float32"}
        made[toy] = assemble(toy.info, registry, ToyFamily(toy), {}, place, ())
    return made[toy]


TOYS = (
    Toy("epsilon", "vp"),
    Toy("flow", "flow"),
    Toy("v_prediction", "vp", frozenset({"class_label"})),
    Toy("sample", "vp", frozenset()),
    Toy("flow", "flow", frozenset({"text", "size", "guidance_embeds"})),
)
"""Those that checks are made on."""


class ToyFamily(Family):
    """Knows one toy model, and no folder."""

    def __init__(self, toy: Toy) -> None:
        self._toy = toy

    def matches(self, index: Mapping[str, Any]) -> bool:
        return False

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        return self._toy.info

    def load(self, info: ModelInfo, place: Place) -> Model:
        return self._toy.model(place)


class ToyNetwork(nn.Module):
    """Estimates x0 of rows from x, its noise level and what it is told; row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 8, 3, padding=1)
        self.condition = nn.Linear(8, 8)
        self.out = nn.Conv2d(8, 3, 3, padding=1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for tensor in self.parameters():
                tensor.copy_(0.4 * torch.randn(tensor.shape, generator=generator))

    def forward(self, x: Tensor, alpha: Tensor, sigma: Tensor, features: Tensor) -> Tensor:
        """x0 like x, (rows, 3, height, width).

        Args:
            alpha, sigma: (rows, 1, 1, 1).
            features: (rows, 8), what the condition comes to.
        """
        variance = alpha.square() / 4 + sigma.square()  # of data of deviation 1/2
        inner = self.mix(x / variance.sqrt()) + self.condition(features)[:, :, None, None]
        answer: Tensor = alpha / 4 / variance * x + 0.5 * torch.tanh(self.out(torch.tanh(inner)))
        return answer


def _made(info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
    """The model of these parts."""
    part, prediction, level = parts["network"], info.prediction_type, _Level(info.noise_schedule)
    module = part.module

    def network(call: Call) -> Tensor:
        alpha, sigma = (v[:, None, None, None] for v in level(call.t))
        features = _features(call.condition, len(call.x))
        values = (value.to(part.device, part.dtype) for value in (call.x, alpha, sigma, features))
        x0 = module(*values).to(call.x)
        return _output(prediction, x0, call.x, alpha, sigma)

    return Model(
        info=info,
        network=network,
        abilities={name: of() for name, of in ABILITIES.items() if name in info.abilities},
        parts=parts,
        place=place,
        remake=lambda others, place: _made(info, others, place),
    )


class _Level:
    """alpha and sigma of timesteps (rows,), each (rows,), by tensors alone."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        self._alphas = None
        if isinstance(schedule, VPSchedule):
            self._alphas = torch.tensor(schedule.alphas, dtype=torch.float32)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        if self._alphas is None:
            return 1 - t / 1000, t / 1000
        table = self._alphas.to(t.device)
        low = t.long().clamp(max=len(table) - 2)
        alpha = torch.lerp(table[low], table[low + 1], t - low)
        return alpha, (1 - alpha.square()).sqrt()


def _output(of: PredictionType, x0: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What a network of a prediction type returns for an x0, by `PredictionType.target`."""
    noise = (x - alpha * x0) / sigma.clamp(min=1e-4)
    return of.target(x0, noise, alpha, sigma)


def _features(condition: Condition, rows: int) -> Tensor:
    """What a condition comes to, (rows, 8): whatever its keys and shapes, row by row."""
    sums = torch.zeros(rows, 8)
    for number, key in enumerate(sorted(condition)):
        value = condition[key]
        flat = value.detach().float().cpu().reshape(len(value), -1).nan_to_num(neginf=-1.0)
        places = torch.arange(flat.shape[1], dtype=torch.float32)
        phase = float(len(key) + number)
        waves = torch.stack([torch.sin(places * (k + 1) * 0.37 + phase + k) for k in range(8)])
        # row by row: a product of matrices rounds otherwise in larger batches
        sums += torch.stack([(waves * row).sum(1) for row in flat])
    return torch.tanh(sums)


class ToyText(TextAbility):
    """A vector for each of eight words, by its letters; of what is no word, zeros."""

    joins_windows = True
    any_length = frozenset({"text"})

    def encode(self, texts: Sequence[str | None]) -> Condition:
        states = torch.zeros(len(texts), WORDS, 4)
        for row, text in enumerate(texts):
            for place, word in enumerate((text or "").split()[:WORDS]):
                letters = torch.tensor([float(ord(letter) % 97) for letter in word])
                states[row, place] = torch.sin(letters.sum() * torch.arange(1.0, 5.0))
        return {"text": states}

    def overflow(self, text: str) -> str:
        return " ".join(text.split()[WORDS:])

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        spans, start = [], 0
        for word in text.split()[:WORDS]:
            start = text.index(word, start)
            spans.append((start, start + len(word)))
            start += len(word)
        return {"text": [*spans, *[(0, 0)] * (WORDS - len(spans))]}


class ToyClasses:
    """A number for each class; -1 for none."""

    def encode(self, labels: Sequence[int | None]) -> Condition:
        for label in labels:
            if label is not None and not 0 <= label < len(CLASSES):
                raise LdmError(f"there is no class {label}.")
        return {"label": torch.tensor([-1 if label is None else label for label in labels])}


class ToySizes:
    """The six numbers of a picture's sizes."""

    def encode(self, sizes: Sequence[Sizes]) -> Condition:
        return {"sizes": torch.tensor([[*s.original, *s.crop, *s.target] for s in sizes]) / SIDE}


class ToyScale:
    """That the network is told a scale."""


ABILITIES: Mapping[str, Any] = {
    "text": ToyText,
    "class_label": ToyClasses,
    "size": ToySizes,
    "guidance_embeds": ToyScale,
}


def middle(schedule: NoiseSchedule) -> list[Point]:
    """Points where signal and noise are of one order, so that nothing is lost to rounding."""
    return [schedule.at_ratio(ratio) for ratio in (2.0, 1.0, 0.5)]
