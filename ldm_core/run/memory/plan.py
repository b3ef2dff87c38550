"""A plan for the memory of a run: the least slow way of placing a model that fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ldm_core.composition import limits
from ldm_core.composition.composition import Composition
from ldm_core.composition.limits import in_words
from ldm_core.composition.memory_size import size_in_bytes
from ldm_core.composition.parts import make
from ldm_core.contracts import Extent, Input, Place, Plan
from ldm_core.errors import LdmError, PluginError
from ldm_core.model import place as places
from ldm_core.model.loading import in_short
from ldm_core.run.memory.live_bytes import Allocator
from ldm_core.run.memory.placements import (
    DECODING,
    ON_DEVICE,
    ON_PROCESSOR,
    Candidate,
    candidates,
)
from ldm_core.run.memory.processor import Processor
from ldm_core.run.memory.shape_walk import Walk, walk


@dataclass(frozen=True)
class MemoryPlan:
    """How a model is placed, and why.

    Attributes:
        budget: bytes.
        free: the budget is what was free on the device, and nobody's choice.
        images, extent: of the batch that it is for.
        walk: what the run takes.
        chosen: the least slow that fits.
        ways: all that there are, the least slow first, whether they fit or not.
    """

    budget: int
    free: bool
    images: int
    extent: Extent
    walk: Walk
    chosen: Candidate
    ways: tuple[Candidate, ...]

    @property
    def others(self) -> tuple[Candidate, ...]:
        """The best of the other ways, the least slow first, whether they fit or not."""
        return _best([way for way in self.ways if way is not self.chosen], self.chosen)

    @property
    def why(self) -> str:
        """The reason for the choice, in a sentence."""
        least = min(self.others, key=lambda other: other.cost, default=None)
        at = f"when the {self.chosen.at} computes" if self.chosen.at else "before the first part"
        head = f"{in_words(self.chosen.peak)} of {in_words(self.budget)} are expected {at}"
        if least is None or least.cost >= self.chosen.cost:
            return f"{head}; nothing is brought and taken away."
        return f"{head}; {least.words} would be faster and take {in_words(least.peak)}." + (
            "" if self.chosen.lossless else " Pictures change a little: nothing lossless fits."
        )

    def as_table(self) -> dict[str, Any]:
        """The plan as plain data, sizes in bytes."""
        return {
            "budget": self.budget,
            "free_on_device": self.free,
            "images": self.images,
            "extent": dict(self.extent),
            "weights": dict(self.walk.weights),
            **_table(self.chosen),
            "why": self.why,
            "others": [{**_table(c), "fits": c.peak <= self.budget} for c in self.others],
        }


def _table(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.words,
        "placements": dict(candidate.placements),
        "converters": candidate.converters,
        "expected_peak": candidate.peak,
        "at": candidate.at,
        "lossless": candidate.lossless,
    }


@dataclass(frozen=True)
class Planner:
    """Makes plans for a composition whose recipe says how much memory there is.

    Attributes:
        place: where it computes.
    """

    composition: Composition
    place: Place

    @classmethod
    def of(cls, composition: Composition) -> Planner:
        """A planner of the device that the recipe names."""
        return cls(composition, places.resolve(composition.recipe))

    def budget(self) -> tuple[int, bool]:
        """Bytes, and whether that is what is free now, shared among a launcher's processes."""
        size = size_in_bytes(self.composition.recipe["memory"])
        if size is not None:
            return size, False
        on_device = places.free_bytes(self.composition.recipe)
        free = limits.available_bytes() if on_device is None else on_device
        return free // places.sharers(self.composition.recipe, on_device is not None), True

    def walked(self, plan: Plan, place: Place | None = None) -> Walk:
        """What a batch takes, walked on shapes.

        Raises:
            LdmError: a part of the run depends on more than shapes.
        """
        parts, where = self.composition, place or self.place
        ways = {name: self._decoding(name) for name in DECODING if self._decodes(name)}
        allocator = Processor() if where.device.type == "cpu" else Allocator()
        try:
            return walk(parts, where, plan, ways, allocator)
        except (RuntimeError, TypeError, ValueError) as error:  # what is no shape's to say
            if isinstance(error, LdmError) and not isinstance(error, PluginError):
                raise
            raise LdmError(
                f"the memory of this run cannot be foreseen: {in_short(error)}",
                "leave 'memory' out, and name a placement among the converters: group_offload.",
            ) from error

    def ways(self, walk: Walk, plan: Plan, place: Place | None = None) -> list[Candidate]:
        """All ways of placing the model, the least slow first, those that change pictures last."""
        where = place or self.place
        on_processor = where.device.type == "cpu"
        kinds: Sequence[str] = ON_PROCESSOR if on_processor else ON_DEVICE
        if on_processor and where.dtype != where.compute_dtype:
            kinds = ("whole",)  # weights that are widened when they are needed lie in no file
        if not all(converter.plain for converter in self.composition.converters):
            kinds = [kind for kind in kinds if not kind.endswith("disk")]
        steps = max(len(plan.grid) - 1, 1)
        calls = {
            part: steps if role in ("network", "side") else 1 for part, role in walk.roles.items()
        }
        found = candidates(walk, calls, kinds, len(plan.request.seeds))
        return sorted(found, key=lambda c: (not c.lossless, c.cost, c.peak))

    def made(
        self,
        plan: Plan,
        budget: tuple[int, bool] | None = None,
        best: Callable[[Candidate, int], bool] = lambda way, size: True,
        walk: Walk | None = None,
    ) -> MemoryPlan:
        """The plan for a batch.

        Args:
            budget: as of `budget`; the recipe's where None.
            best: ``best(way, size)`` says which of the ways that fit are taken before others.
            walk: what the batch takes, where it has been walked before.
        Raises:
            LdmError: nothing fits; it says what would.
        """
        from ldm_core.run.memory.refusal import refusal

        size, free = budget or self.budget()
        walk = self.walked(plan) if walk is None else walk
        ways = self.ways(walk, plan)
        fit = [way for way in ways if way.peak <= size]
        if not fit:
            raise refusal(self, plan, walk, ways, size, free)
        chosen = next((way for way in fit if best(way, size)), fit[0])
        count = len(plan.request.seeds)
        return MemoryPlan(size, free, count, plan.request.extent, walk, chosen, tuple(ways))

    def example(self, images: int = 1, extent: Extent | None = None) -> Plan:
        """A plan of a run of which nothing is asked but what must be."""
        size = self.composition.extent(extent)
        inputs = {
            name: _example(name, one, size)
            for name, one in self.composition.inputs.items()
            if one.required
        }
        return self.composition.plan(inputs, list(range(images)), size)

    def _decoding(self, name: str) -> list[Any]:
        """The converters of a way of decoding.

        Raises:
            LdmError: one does not fit the model.
        """
        if not name:
            return []
        made = make("converters", {"name": name}, self.composition.registry, [], {})
        return [made.fit(self.composition.info, places.names(self.composition.recipe))]

    def _decodes(self, name: str) -> bool:
        """Whether a way of decoding fits the model; sound has no tiles, pixels are no latents."""
        try:
            self._decoding(name)
        except LdmError:
            return False
        return True


def _best(ways: Sequence[Candidate], chosen: Candidate) -> tuple[Candidate, ...]:
    """The ways worth a mention: the fastest, and those that take less the slower they are."""
    front: list[Candidate] = []
    for way in ways:
        if (way.lossless and way.cost < chosen.cost and not front) or (
            way.cost >= chosen.cost and way.peak < min((w.peak for w in front), default=1 << 62)
        ):
            front.append(way)
    return tuple(front[:6])


def _example(name: str, one: Input, extent: Extent) -> Any:
    """A value of an input: its own example, or one by its type alone.

    Raises:
        LdmError: it is a file of what is no picture, and has no example.
    """
    from pathlib import Path

    from PIL import Image

    from ldm_core.contracts.files import parts_of

    if one.example is not None:
        return one.example(extent)
    if Path in parts_of(one.type):
        if not {"width", "height"} <= {*extent}:
            raise LdmError(
                f"the memory of this run cannot be foreseen: its '{name}' is a file of no picture, "
                "and says no example.",
                "leave 'memory' out, and name a placement among the converters: group_offload.",
            )
        return Image.new("RGB", (extent["width"], extent["height"]), "white")
    return {str: "a picture", int: 0, float: 0.0}.get(one.type, 0)
