"""Where the weights of a model's parts could lie, and what each way takes of memory and of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ldm_core.run.memory.live_bytes import Peak
from ldm_core.run.memory.shape_walk import Walk

GRAIN = {
    "whole": "part",
    "model_offload": "part",
    "group_offload": "two",
    "group_offload to disk": "layer",
    "sequential_offload": "layer",
}
"""How much of a part is where it computes, by the placement."""
COST = {
    "whole": 0.0,
    "model_offload": 1.0,
    "group_offload": 1.2,
    "sequential_offload": 4.0,
    "group_offload to disk": 2.0,
}
"""Of bringing a byte, in about: by layers with the next one coming meanwhile, one by one, from a
file. An order of slowness, no seconds."""
ON_DEVICE = ("whole", "model_offload", "group_offload", "sequential_offload")
ON_PROCESSOR = ("whole", "group_offload to disk")
DECODING = {"": 0.0, "vae_slicing": 0.01, "vae_tiling": 0.05}
"""Ways of decoding, each with what it costs: a share of bringing all weights once."""
LOSSY = ("vae_tiling",)


@dataclass(frozen=True)
class Candidate:
    """One way of placing a model.

    Attributes:
        placements: of each part that has weights.
        decoding: a converter of the autoencoder's; empty for none.
        peak: bytes, weights and all, at the most.
        at: the part that computes then.
        cost: bytes that are brought in a run, the slower ways counted several times.
    """

    placements: Mapping[str, str]
    decoding: str
    peak: int
    at: str
    cost: float

    @property
    def lossless(self) -> bool:
        """Pictures stay what they are, but for rounding."""
        return self.decoding not in LOSSY

    @property
    def converters(self) -> list[dict[str, Any]]:
        """The entries of a recipe that say so; none where all weights stay where they compute."""
        entries: list[dict[str, Any]] = [{"name": self.decoding}] if self.decoding else []
        for placement in dict.fromkeys(self.placements.values()):
            parts = [part for part, own in self.placements.items() if own == placement]
            name, _, where = placement.partition(" to ")
            if name == "whole":
                continue
            entry: dict[str, Any] = {"name": name, **({"to": where} if where else {})}
            if len(parts) < len(self.placements):
                entry["parts"] = parts
            entries.append(entry)
        return entries

    @property
    def words(self) -> str:
        """The candidate in a few words."""
        ways = [self.decoding] if self.decoding else []
        for placement in dict.fromkeys(self.placements.values()):
            parts = [part for part, own in self.placements.items() if own == placement]
            of = "" if len(parts) == len(self.placements) else f" ({', '.join(parts)})"
            ways.insert(0, placement + of)
        return " + ".join(reversed(ways)) if len(ways) > 1 else "".join(ways)


def candidates(
    walk: Walk, calls: Mapping[str, int], placements: Sequence[str], images: int
) -> Iterator[Candidate]:
    """Every way of placing a model, in no order.

    Args:
        calls: how often each part is called in a run.
        placements: those that there are on the device.
        images: of a batch.
    """
    everything = sum(walk.weights.values())
    for kinds in product(placements, repeat=len(walk.weights)):
        chosen = dict(zip(walk.weights, kinds, strict=True))
        brought = sum(
            COST[kind] * walk.weights[part] * (1 if kind == "model_offload" else calls[part])
            for part, kind in chosen.items()
        )
        for decoding, peaks in walk.decoding.items():
            if decoding == "vae_slicing" and images == 1:
                continue
            at, peak = _peak(walk, chosen, peaks)
            cost = brought + DECODING[decoding] * everything
            yield Candidate(chosen, decoding, peak, at, cost)


def _peak(walk: Walk, chosen: Mapping[str, str], decoding: Mapping[str, Peak]) -> tuple[str, int]:
    """The most that is held at once, and the part that computes then."""
    most = ("", 0)
    for peaks in (walk.before, decoding):
        for part, peak in peaks.items():
            size = _idle(walk.weights, chosen, part)
            size += peak.live if part == "" else peak.held[GRAIN[chosen[part]]]
            most = max(most, (part, size), key=lambda entry: entry[1])
    return most


def _idle(weights: Mapping[str, int], chosen: Mapping[str, str], computing: str) -> int:
    """What parts hold that do not compute: what stays, and the last of those that take turns."""
    others = {part: size for part, size in weights.items() if part != computing}
    stay = sum(size for part, size in others.items() if chosen[part] == "whole")
    turns = [size for part, size in others.items() if chosen[part] == "model_offload"]
    mine = computing and chosen[computing] == "model_offload"
    return stay + (0 if mine else max(turns, default=0))
