"""Values of other packages looked at without running their code.

What modules hold is looked at where nobody knows whose it is, and an object may do anything when it
is asked for its class, or compared: `isinstance` reads ``__class__``, which a proxy or a lazy
module makes up.
"""

from __future__ import annotations

import re
from types import NoneType
from typing import Any, TypeGuard, TypeVar

from ldm_core.machine import asked_to_stop

T = TypeVar("T")
LOOKED_BY = ("__eq__", "__getattribute__", "__hash__")
"""Methods by which classes are told apart and looked into."""
PLAIN = (bool, int, float, str, bytes, NoneType, re.Pattern)
"""What Python itself compares."""


def is_a(value: Any, kinds: type[T] | tuple[type[T], ...]) -> TypeGuard[T]:
    """Whether a value is of one of these classes, whatever it says of its class itself."""
    return issubclass(type(value), kinds)


def are_told_apart(kind: type) -> bool:
    """Whether classes of a kind are told apart and looked into as usual, by no code of its own."""
    own = (vars(one) for one in type.mro(kind) if one not in (type, object))
    return not any(name in there for there in own for name in LOOKED_BY)


def are_identical(now: Any, before: Any) -> bool:
    """Whether two values are one, or plain and equal, or lists, tuples or tables of such. An object
    of another package is not asked: it may say that it equals what it stands in the place of."""
    if now is before:
        return True
    kind = type(now)
    if kind is not type(before):
        return False
    if kind is dict:
        now, before = [*now.items()], [*before.items()]
    elif kind not in (list, tuple):
        return kind in PLAIN and bool(now == before)
    return len(now) == len(before) and all(map(are_identical, now, before))


def are_same(now: Any, before: Any) -> bool:
    """Whether two tables or lists hold the same; what fails when it is compared is not."""
    try:
        return bool(now == before)
    except BaseException as error:  # even an end of the program
        if asked_to_stop(error):
            raise
        return False
