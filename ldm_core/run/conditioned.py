"""A network under conditions that another package's conditioning made: where it cannot answer to
them, that is the conditioning's failure, and not its own or its folder's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ldm_core.contracts import Call, Condition, Conditioning, Network
from ldm_core.errors import LdmError, PartError, with_class
from ldm_core.run.guards import described
from ldm_core.run.part_errors import is_of_libraries


def answering(
    network: Network, others: Sequence[Conditioning], made: Mapping[str, Conditioning]
) -> Network:
    """The network, as it is where no conditioning is another package's.

    Args:
        others: conditionings of other packages.
        made: which conditioning gave each key of a condition.
    """
    if not others:
        return network

    def answered(call: Call) -> Tensor:
        try:
            return network(call)
        except LdmError:
            raise
        except Exception as error:
            part, given = _given(call.condition, others, made)
            if part is None or not is_of_libraries(error):
                raise
            what = f"the network cannot answer under the condition that it gave, {given}"
            raise PartError(part, f"{what}: {with_class(error)}") from error

    return answered


def _given(
    condition: Condition, others: Sequence[Conditioning], made: Mapping[str, Conditioning]
) -> tuple[Conditioning | None, str]:
    """Which of the others gave a part of a condition, or was to, and what it gave, in words."""
    for part in others:
        own = {key: value for key, value in condition.items() if made.get(key) is part}
        if own or part.ability is not None:
            words = (f"'{key}', {described(value)}" for key, value in own.items())
            return part, " and ".join(words) or "nothing of this branch"
    return None, ""
