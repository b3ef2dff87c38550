"""Which repositories of the Hugging Face Hub may be asked for.

In Python all of them. The command line allows those that the person typed; a name that stands in a
recipe file, a picture or a model's own folder is taken from the Hub's cache, without a connection,
unless the person allows it (``--allow-hub``, or the answer on a terminal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ldm_core.errors import LdmError


@dataclass(frozen=True)
class HubPermission:
    """Which repositories may be asked for.

    Attributes:
        names: ids ``owner/name`` that may be.
        everything: every repository may be.
        ask: ``ask(id)`` says whether another one may be; none may where it is not given.
    """

    names: frozenset[str] = frozenset()
    everything: bool = False
    ask: Callable[[str], bool] | None = None

    def allows(self, id: str) -> bool:
        return self.everything or id in self.names or (self.ask is not None and self.ask(id))


class NotAskedError(LdmError):
    """A repository is not in the Hub's cache, and the Hub may not be asked for it."""


EVERYTHING = HubPermission(everything=True)
_permission = ContextVar("hub_permission", default=EVERYTHING)


@contextmanager
def hub_permission(permission: HubPermission) -> Iterator[None]:
    """Ask the Hub within the block for what the permission allows, and for nothing else. It holds
    in the thread that enters the block, and in what copies its context."""
    token = _permission.set(permission)
    try:
        yield
    finally:
        _permission.reset(token)


def only_from_hub(*names: str) -> AbstractContextManager[None]:
    """``with only_from_hub("owner/name"):`` asks the Hub within the block for these repositories
    alone; all others are taken from its cache, or refused."""
    return hub_permission(HubPermission(frozenset(names)))


def may_ask(id: str) -> bool:
    """Whether the Hub may be asked for a repository."""
    return _permission.get().allows(id)
