"""Pictures that memory did not suffice for, which wait for a process that has more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ldm_core.errors import MachineError
from ldm_core.jobs.batching import Batch, Picture

TRIES = 3
"""So many batches of lines that choose alike may not fit, and the others are tried too."""
SHOWN = 20
"""So many lines are named."""


class Aside:
    """What one process could not make for lack of memory, and goes on without.

    Args:
        batches: of the job.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self._refused: Counter[int] = Counter()
        self._pictures: dict[int, tuple[Picture, MachineError]] = {}

    def __contains__(self, picture: Picture) -> bool:
        return picture.index in self._pictures

    def put(self, batch: Batch, pictures: Sequence[Picture], refusal: MachineError) -> None:
        """Go on without these pictures of a batch; after so many batches without any like them."""
        self._refused[id(batch.group)] += 1
        if self._refused[id(batch.group)] > TRIES:
            pictures = [p for b in self._batches if b.group is batch.group for p in b.pictures]
        self._pictures.update({picture.index: (picture, refusal) for picture in pictures})

    def check(self, states: Mapping[int, int] | Sequence[int]) -> None:
        """See that other processes have made them.

        Args:
            states: of the job's pictures by their index, as of a ledger; 0 of one that is missing.
        Raises:
            MachineError: some are missing, with their lines.
        """
        left = [(p, error) for p, error in self._pictures.values() if not states[p.index]]
        if not left:
            return
        numbers = sorted({picture.line for picture, _ in left})
        shown = ", ".join(map(str, numbers[:SHOWN]))
        more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
        first = left[0][1]
        name = "line" if len(numbers) == 1 else "lines"
        raise MachineError(f"{name} {shown}{more}: {first.message}", first.hint) from first
