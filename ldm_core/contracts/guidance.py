"""Guidance: combine the network's answers for several branches into one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts.family import ModelInfo
from ldm_core.contracts.network import POSITIVE, Network
from ldm_core.contracts.record import as_instance, check_takes
from ldm_core.contracts.run import Evaluation, Run
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    from torch import Tensor

Branches = Callable[[Point], tuple[str, ...]]
Combine = Callable[[Mapping[str, "Tensor"], Evaluation], "Tensor"]


@dataclass(frozen=True)
class Bound:
    """A guidance for one run.

    Attributes:
        branches: ``branches(point)``, the conditions under which the network is asked there, by
            the names of `ldm_core.contracts.BRANCHES` or of `inputs`. Others are not computed.
        combine: ``combine(outputs, at)``, one network output from those of the branches, each
            (batch, ...), same shape.
        networks: by branch, what is asked in place of the model's network.
        inputs: by branch, inputs that take the place of the request's: such a branch is encoded
            like the positive one; an empty table is the positive condition itself.
        gives_x0: what `combine` returns is an x0 estimate, not a network output.
    """

    branches: Branches
    combine: Combine
    networks: Mapping[str, Network] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    gives_x0: bool = False

    def __post_init__(self) -> None:
        check_takes(self.branches, ("point",), "Bound's 'branches'")
        check_takes(self.combine, ("outputs", "at"), "Bound's 'combine'")

    def output(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        """What `combine` makes, as a network output."""
        combined = self.combine(outputs, at)
        return at.output(combined) if self.gives_x0 else combined

    def x0(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        """What `combine` makes, as an x0 estimate."""
        combined = self.combine(outputs, at)
        return combined if self.gives_x0 else at.x0(combined)


class Guidance:
    """No guidance: the network's answer to the positive condition. Others override.

    One that keeps nothing from call to call overrides `branches` and `combine`; one that needs
    more of a run, or keeps something, overrides `bind`.
    """

    @property
    def embedded_scale(self) -> float | None:
        """The scale that is told to a network that was distilled to take it, as the condition
        ``guidance`` (rows,); None for none. The model needs the ability ``guidance_embeds``."""
        return None

    @property
    def estimates_x0(self) -> bool:
        """Whether its answers stand for estimates of x0, which may be clipped; false where they
        only lead a scheduler's step to where it should end."""
        return True

    @property
    def altered_attention(self) -> tuple[int | str, ...]:
        """Where it asks a network whose self-attention is another: numbers of a transformer's
        blocks, or names of the network's parts. A conditioning whose own layers lie there may
        refuse it."""
        return ()

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        """Options of its factory with which it does not guide: its answer is then that of the
        positive branch, as with ``{"scale": 1.0}``. None where there are none; empty where it does
        not say, and the kit expects it of a scale of 1 or of 0."""
        return {}

    def fit(self, info: ModelInfo) -> Guidance:
        """The guidance for a model; raise `LdmError` with the reason where it does not fit."""
        return self

    def files(self) -> Sequence[Path]:
        """What it reads beyond the model's files, once it is fitted: files, and folders of models;
        the manifest holds their hashes."""
        return ()

    def branches(self, point: Point) -> tuple[str, ...]:
        """Names of the branches needed at this point, of `ldm_core.contracts.BRANCHES`:
        ``("positive", "negative")``, or ``"unconditional"`` in place of the second where the
        network's answer is wanted to which nothing is said, whatever a person leads away from."""
        return (POSITIVE,)

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        """One network output from those of the branches, each (batch, ...), same shape."""
        return outputs[POSITIVE]

    def bind(self, run: Run) -> Bound:
        """The guidance for one run."""
        return Bound(self.branches, self.combine)


class ModelsOwn(Guidance):
    """The default of an option that takes a guidance: the one that the model's family and folder
    choose, which takes its place when composing."""

    def __repr__(self) -> str:
        return "the model's own"


MODELS_OWN = ModelsOwn()


def as_guidance(part: Any) -> Guidance:
    """A guidance, once it is seen to be one; `LdmError` for anything else."""
    return as_instance(Guidance, part, "guidance")
