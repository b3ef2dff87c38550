"""Calls recorded once for each signature, and played again on other numbers: CUDA graphs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_plugins.converters.shared.watched_weights import Addresses

if TYPE_CHECKING:
    from torch import Tensor, nn

Play = Callable[[], None]
Record = Callable[[Callable[[], Any]], tuple[Play, Any]]
"""``record(run) -> play, outputs``: the run recorded, and where ``play()`` puts its outputs."""
WARM_UPS = 3
"""Runs before a recording, in which libraries choose their kernels and take their workspace."""


class Recording(NamedTuple):
    """A call that can be played again.

    Attributes:
        inputs: the tensors that it reads, which stay where they are.
        outputs: what it gives, which is overwritten by the next play.
    """

    inputs: list[Tensor]
    play: Play
    outputs: Any


class Graphs:
    """Plays calls of one function that were recorded before, of as many signatures as are kept.

    A signature is all that a call is given but the numbers in its tensors: their shapes, types and
    devices, and every other argument; and what is in force, such as an attention kernel. The least
    recently used is let go. One thread at a time: a recording has its inputs and outputs in one
    place. A copy has no recordings, since its weights may lie elsewhere; and where the weights come
    to lie elsewhere, or others are put in their place, all recordings are let go, since each reads
    them where they were.

    Args:
        most: signatures that are kept.
        in_force: what else a recording depends on.
    """

    def __init__(
        self, record: Record, most: int, in_force: Callable[[], Hashable] = lambda: None
    ) -> None:
        self._record = record
        self._most = most
        self._in_force = in_force
        self._kept: OrderedDict[Hashable, Recording] = OrderedDict()
        self._weights: Addresses | None = None
        self._one_at_a_time = Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Graphs:
        return Graphs(self._record, self._most, self._in_force)

    def __len__(self) -> int:
        return len(self._kept)

    def call(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        named: dict[str, Any],
        module: nn.Module,
    ) -> Any:
        """What the function gives; its tensors are the caller's own.

        Args:
            function: a call of the module.
            args, named: what it is given.
            module: always the same one.
        """
        from torch import Tensor
        from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

        leaves, tree = tree_flatten((tuple(args), named))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        signature = (str(tree), tuple(map(_kind, leaves)), self._in_force())
        with self._one_at_a_time:
            if self._weights is None or self._weights.changed:
                self._kept.clear()
                self._weights = Addresses(module)
            recording = self._kept.pop(signature, None)
            if recording is None:
                own = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
                arguments, options = tree_unflatten(own, tree)
                while len(self._kept) >= self._most:
                    self._kept.popitem(last=False)
                play, outputs = self._record(lambda: function(*arguments, **options))
                recording = Recording([own[i] for i in places], play, outputs)
            self._kept[signature] = recording
            for place, held in zip(places, recording.inputs, strict=True):
                held.copy_(leaves[place])
            recording.play()
            return tree_map_only(Tensor, Tensor.clone, recording.outputs)


def _kind(leaf: Any) -> Hashable:
    """What of a call's argument is no number in a tensor."""
    from torch import Tensor

    if isinstance(leaf, Tensor):
        return (tuple(leaf.shape), leaf.dtype, leaf.device, leaf.stride())
    return leaf if isinstance(leaf, Hashable) else id(leaf)


def on_cuda(run: Callable[[], Any]) -> tuple[Play, Any]:
    """A run recorded as a CUDA graph (NVIDIA, CUDA programming guide, "CUDA graphs")."""
    import torch

    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run()
    return graph.replay, outputs
