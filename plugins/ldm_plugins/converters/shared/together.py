"""Which converters do not go together, said before weights are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ldm_core.contracts import Converter, ModelInfo
from ldm_core.errors import LdmError

EACH_A_PROGRAM = "each makes a program of the network, of which one alone would be used"
WITHIN_LAYERS = (
    "the second looks, within the network's layers, at which call is computed, of which a program "
    "knows nothing"
)


def check_once(name: str, converter: Converter, others: Sequence[Converter]) -> None:
    """See that a converter of this kind is named once.

    Raises:
        LdmError: it is named again.
    """
    if any(type(other) is type(converter) for other in others):
        raise LdmError(f"the converter '{name}' stands in the recipe twice; leave one out.")


def check_apart(
    name: str,
    others: Sequence[Converter],
    reasons: Mapping[type[Converter], tuple[str, str]],
) -> None:
    """See that none of these stands beside a converter.

    Args:
        name: of the converter.
        reasons: by class of another, its name and why the two do not go together.
    Raises:
        LdmError: one does.
    """
    for other in others:
        if type(other) in reasons:
            second, why = reasons[type(other)]
            raise LdmError(
                f"the converters '{name}' and '{second}' do not go together: {why}.",
                "leave one of the two out.",
            )


def check_static(name: str, info: ModelInfo) -> None:
    """See that one program can stand for a model's network, whatever it is given.

    Args:
        name: of the converter that makes it.
    Raises:
        LdmError: none can.
    """
    if info.data_dependent:
        raise LdmError(
            f"the converter '{name}' makes one program of the network, and that of '{info.source}' "
            f"(family {info.family}) computes more or less by what it is given, such as the words "
            "of a caption.",
            "leave it out; 'compile' makes programs of blocks alone, where Diffusers names them.",
        )
