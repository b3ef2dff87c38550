"""One part on the device at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from threading import RLock
from typing import Any, ClassVar, Self

from ldm_core.contracts import (
    Converter,
    Model,
    ModelInfo,
    Network,
    Part,
    PlaceNames,
    Run,
    RunHooks,
)
from ldm_plugins.converters.shared.placement import Place, Placement, guarded

NETWORK = "network"


def model_offload(*, parts: list[str] | None = None) -> Converter:
    """Bring a part's weights to the device when it is called, and away when another is.

    By Accelerate's hooks. The device holds the largest part, and side networks beside the network
    that they guide, rather than all of them; each part is brought once a run.

    Args:
        parts: names of the model's components, or roles: network, autoencoder, text, side; all
            where left out.
    """
    return ModelOffload(chosen=None if parts is None else tuple(parts))


class Turn:
    """Which of a model's parts are on the device.

    Attributes:
        lock: held while one of them computes.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self._seat: Any = None
        self._there: list[tuple[bool, Any]] = []

    def take(self, seat: Any, side: bool, hook: Any) -> None:
        """Bring all away that may not be there beside a part.

        Args:
            seat: parts of one seat are there together, but for two networks.
            hook: Accelerate's, of the part.
        """
        stays = [
            (is_side, other)
            for is_side, other in self._there
            if other is not hook and seat is self._seat and (side or is_side)
        ]
        for entry in self._there:
            if entry[1] is not hook and entry not in stays:
                entry[1].offload()
        self._there = [*stays, (side, hook)]
        self._seat = seat

    def end(self) -> None:
        """Bring all away."""
        with self.lock:
            for _, hook in self._there:
                hook.offload()
            self._there = []


@dataclass(frozen=True)
class ModelOffload(Placement):
    """Its parts take turns on the device, each as a whole.

    Attributes:
        turn: which of them are there.
    """

    name: ClassVar[str] = "model_offload"
    turn: Turn = field(default_factory=Turn, repr=False, compare=False)

    def fit(self, info: ModelInfo, place: PlaceNames) -> Self:
        return replace(super().fit(info, place), turn=Turn())

    def bind(self, run: Run) -> RunHooks:
        network = any(
            self.takes(n, p.role) for n, p in run.model.parts.items() if p.role == NETWORK
        )
        return RunHooks() if network else MakesRoom(self.turn)

    def begin(self, model: Model) -> Place:
        turn = self.turn

        def place(part: Part) -> Part:
            hook = offloaded(part)
            seat: Any = NETWORK if part.role in ("network", "side") else part.module
            side = part.role == "side"

            def around(call: Callable[..., Any]) -> Callable[..., Any]:
                @wraps(call)
                def in_turn(*args: Any, **options: Any) -> Any:
                    with turn.lock:
                        turn.take(seat, side, hook)
                        return call(*args, **options)

                return in_turn

            guarded(part, around)
            return part

        return place


class MakesRoom(RunHooks):
    """For a network that stays on the device: what was called before it, such as the last text
    encoder, is brought away, which the network's own turn does elsewhere."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def network(self, network: Network) -> Network:
        self._turn.end()
        return network


def offloaded(part: Part) -> Any:
    """Accelerate's hook that brings a part's module to the device when it is called, and can bring
    it away again: to the very memory where its weights lay before, without a copy."""
    from itertools import chain

    import torch
    from accelerate.hooks import CpuOffload, UserCpuOffloadHook, add_hook_to_module

    class Resting(CpuOffload):  # type: ignore[misc]
        def __init__(self, device: torch.device) -> None:
            super().__init__(execution_device=device)
            self.rest: list[tuple[torch.Tensor, torch.Tensor]] = []

        def init_hook(self, module: torch.nn.Module) -> torch.nn.Module:
            if not self.rest:
                super().init_hook(module)
                tensors = [*chain(module.parameters(), module.buffers())]
                if all(type(tensor.data) is torch.Tensor for tensor in tensors):
                    self.rest = [(tensor, tensor.data) for tensor in tensors]
            for tensor, data in self.rest:
                tensor.data = data
            return module

    hook = Resting(part.device)
    add_hook_to_module(part.module, hook, append=True)
    return UserCpuOffloadHook(part.module, hook)
