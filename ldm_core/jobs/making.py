"""How the pictures of a batch are made: by a call of a pipeline, or of a function of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Input, Plan
from ldm_core.media.manifest import make_manifests
from ldm_core.model import place
from ldm_core.run.call import CallArguments

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

Call = Mapping[str, Any]
"""What `CallArguments.of` takes: ``seed``, a list of one for each picture; inputs that are each
picture's own, lists too; and what is one for all of them."""
Planned = tuple[Composition, Plan]
"""What is computed at once, and by what."""


class Making:
    """A call of the pipeline itself, as ``ldm generate`` makes it. Others override what they do.

    Attributes:
        name: of the command, for the record of the job.
    """

    name = "generate"

    def inputs(self, composition: Composition) -> Mapping[str, Input]:
        """What a line may give beside what every call takes, by the column's name. Of one whose
        ``each`` is false, lines that differ in it share no batch."""
        return composition.inputs

    def check(self, composition: Composition, call: Call) -> Sequence[Planned]:
        """See that a call can be made, without weights.

        Returns:
            What is then computed at once; nothing where that is seen only when it is made.

        Raises:
            LdmError: it cannot.
        """
        return [(composition, plan_of(composition, arguments_of(composition, call)))]

    def manifests(self, composition: Composition, call: Call) -> list[dict[str, Any]] | None:
        """What the manifests of a call's pictures will be but for their pixels, by which a file
        without an entry in the ledger is known; None where that is seen only once they are made.
        """
        where = place.resolve(composition.recipe)
        plan = plan_of(composition, arguments_of(composition, call))
        return list(make_manifests(composition, plan.request, where))

    def plan(self, composition: Composition, call: Call) -> Plan | None:
        """What a call computes at once; None where that is seen only when it is made."""
        return plan_of(composition, arguments_of(composition, call))

    def ready(self, pipe: Pipeline, call: Call) -> None:
        """What is to be done before a call's time is measured; nothing here."""

    def batches(self, pipe: Pipeline, call: Call) -> Iterator[Output]:
        """The pictures of a call, which may come in several outputs, one after the other."""
        return pipe.batches(**call)


def arguments_of(composition: Composition, call: Call) -> CallArguments:
    """A call by names, as a pipeline takes it."""
    return CallArguments.of(composition.info.latents.names, **call)


def plan_of(composition: Composition, arguments: CallArguments) -> Plan:
    """The plan of a call, all of which is seen to.

    Raises:
        LdmError: it cannot be made.
    """
    seeds, inputs = arguments.images()
    steps, frame_rate = arguments.num_inference_steps, arguments.frame_rate
    return composition.plan(inputs, seeds, arguments.extent, steps, frame_rate)
