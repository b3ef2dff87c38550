"""What the deep part of a network made of a row, kept from one call to a later one.

A network whose blocks know of it (`cached_unet`, `cached_transformer`) reads the frame of the call
that is under way in its thread: either it computes in whole and leaves its deep features there, or
it takes those that lie there. Without a frame it computes as it always did. Whose features they
are, and when they are computed anew, is a matter of a run, and stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from ldm_core.contracts import BRANCHES, Call, Network, Row, RunHooks
from ldm_core.errors import LdmError
from ldm_plugins.converters.shared.rows import part_of

if TYPE_CHECKING:
    from torch import Tensor

Key = tuple[int, str]
"""Image and branch of a row."""


class Frame:
    """Of one call.

    Attributes:
        rows: how many the call has.
        reuses: the deep part is not computed, its features are taken.
        features: of the deep part, a row for each of the call; None where none were left.
        owner: whose they are, where a model has several networks.
        left: they were computed in this call.
        parted: more than once, each for a part of the rows.
        entry: what went into the deep part, while it computes.
    """

    def __init__(
        self, rows: int, features: Tensor | None = None, owner: object | None = None
    ) -> None:
        self.rows = rows
        self.reuses = features is not None
        self.features = features
        self.owner = owner
        self.left = False
        self.parted = False
        self.entry: Sequence[Tensor] | None = None

    def leave(self, features: Tensor, owner: object | None = None) -> None:
        """Keep what was computed in this call."""
        self.parted = self.left
        self.features, self.owner, self.left = features, owner, True


_frame: ContextVar[Frame | None] = ContextVar("frame", default=None)


def current() -> Frame | None:
    """The frame of the call that is under way in this thread; None of one without a cache."""
    return _frame.get()


class Seen(NamedTuple):
    """What is known of a row when it is called.

    Attributes:
        row: whose it is now.
        times: how many calls at this very point came before.
        age: how many calls before this one its features were computed; None where there are none.
    """

    row: Row
    times: int
    age: int | None


Due = Callable[[Seen], bool]
"""``due(seen)``, whether a row that has features is to be computed in whole nevertheless."""


class _Kept:
    """The features of one image under one branch.

    Attributes:
        batch, place: the tensor that they lie in, as it was computed, and which row they are.
        owner: which network made them.
        age: calls since then.
        visits: how often each point was called at.
    """

    def __init__(self) -> None:
        self.batch: Tensor | None = None
        self.place = 0
        self.owner: object | None = None
        self.age = 0
        self.visits: dict[object, int] = {}

    def seen(self, row: Row) -> Seen:
        times = self.visits.get(row.point, 0)
        self.visits[row.point] = times + 1
        self.age += 1
        return Seen(row, times, None if self.batch is None else self.age)


class KeptFeatures(RunHooks):
    """Features of one run.

    Args:
        due: when they are computed anew.
        name: of the converter, for messages.
        reused: a call as it is asked where its features are used again.
    """

    def __init__(self, due: Due, name: str, reused: Callable[[Call], Call]) -> None:
        self._due = due
        self._name = name
        self._reused = reused

    def network(self, network: Network) -> Network:
        kept: dict[Key, _Kept] = {}

        def cached(call: Call) -> Tensor:
            import torch

            mine = [kept.setdefault((row.image, row.branch), _Kept()) for row in call.rows]
            seen = [one.seen(row) for one, row in zip(mine, call.rows, strict=True)]
            anew = [s.age is None or self._due(s) for s in seen]
            if all(anew):
                return self._computed(network, call, mine)
            if not any(anew):
                return self._with_features(network, call, mine)
            here = [place for place, due in enumerate(anew) if due]
            there = [place for place, due in enumerate(anew) if not due]
            one = self._computed(network, part_of(call, here), [mine[place] for place in here])
            rest = [mine[place] for place in there]
            other = self._with_features(network, part_of(call, there), rest)
            whole = torch.empty((len(anew), *one.shape[1:]), dtype=one.dtype, device=one.device)
            whole[here], whole[there] = one, other
            return whole

        return cached

    def _with_features(self, network: Network, call: Call, mine: Sequence[_Kept]) -> Tensor:
        """The answer of the network with features that were kept; of one that is not theirs, such
        as that below a boundary, that of the whole network."""
        owners = {one.owner for one in mine}
        if len(owners) > 1:
            return self._computed(network, call, mine)
        frame = Frame(len(call.rows), _features(mine), *owners)
        output = _asked(network, self._reused(call), frame)
        if frame.left:
            self._keep(frame, call, mine)
        return output

    def _computed(self, network: Network, call: Call, mine: Sequence[_Kept]) -> Tensor:
        """The answer of the whole network, whose features are kept."""
        frame = Frame(len(call.rows))
        output = _asked(network, call, frame)
        self._keep(frame, call, mine)
        return output

    def _keep(self, frame: Frame, call: Call, mine: Sequence[_Kept]) -> None:
        features = frame.features
        if features is None and any(row.branch in BRANCHES for row in call.rows):
            raise LdmError(
                f"the converter '{self._name}' reaches no block of the network: another converter "
                "has put another program in its place.",
                "leave one of the two out.",
            )
        if features is not None and (frame.parted or len(features) != len(mine)):
            raise LdmError(
                f"the converter '{self._name}' keeps features of whole calls, and another "
                "converter parts them.",
                "leave one of the two out.",
            )
        for place, one in enumerate(mine):
            one.batch, one.place, one.owner, one.age = features, place, frame.owner, 0


def _asked(network: Network, call: Call, frame: Frame) -> Tensor:
    """The network's answer within a frame."""
    token = _frame.set(frame)
    try:
        return network(call)
    finally:
        _frame.reset(token)


def _features(mine: Sequence[_Kept]) -> Tensor:
    """Those of these rows, (rows, ...)."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    batches = [one.batch for one in mine]
    first = batches[0]
    assert first is not None
    places = [one.place for one in mine]
    if all(batch is first for batch in batches):
        return first if places == list(range(len(first))) else first[places]
    rows = [batch[one.place] for one, batch in zip(mine, batches, strict=True) if batch is not None]
    if len({row.shape for row in rows}) == 1:
        return torch.stack(rows)
    return pad_sequence(rows, batch_first=True)  # of captions of other lengths
