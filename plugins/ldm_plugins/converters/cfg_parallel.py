"""The branches of guidance on two devices at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import ismethod
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import (
    Call,
    Converter,
    Model,
    ModelInfo,
    Network,
    Part,
    Phase,
    Place,
    PlaceNames,
    Run,
    RunHooks,
)
from ldm_core.errors import LdmError
from ldm_core.model.place import check_names
from ldm_plugins.converters.shared.placement import stay_at_home
from ldm_plugins.converters.shared.rows import part_of
from ldm_plugins.converters.shared.watched_weights import Originals

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

HOW_MANY = "cfg_parallel computes on two devices, such as devices = ['cuda:0', 'cuda:1']"


def cfg_parallel(*, devices: list[str] | None = None) -> Converter:
    """Ask the network for half of the branches of guidance on each of two devices, at once.

    Each device has the network's weights; one that is named twice has them once. Where they are
    changed after they were copied, a run says so. A call of a single
    branch is split by images, where there are several. Everything else, such as a ControlNet, stays
    where the model is.

    Args:
        devices: two names, such as cuda:0 and cuda:1, which they are where left out.
    """
    return CfgParallel(tuple(devices or ("cuda:0", "cuda:1")))


@dataclass(frozen=True)
class CfgParallel(Converter):
    """
    Attributes:
        devices: names of two.
        originals: of which it copied the weights to another device.
    """

    devices: tuple[str, ...]
    originals: Originals = field(
        default_factory=partial(Originals, "cfg_parallel"), repr=False, compare=False
    )
    phase = Phase.PLACEMENT
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        if len(self.devices) != 2:
            raise LdmError(f"{HOW_MANY}, not on {len(self.devices)}.")
        for name in self.devices:
            if name == "auto":
                raise LdmError(f"{HOW_MANY}: 'auto' is one alone.")
            check_names({"device": name})
        return replace(self, originals=Originals("cfg_parallel"))

    def beside(self, others: Sequence[Converter]) -> None:
        stay_at_home("cfg_parallel", others)
        if any(other.by_table for other in others):
            raise LdmError(
                "cfg_parallel shares the rows of a call by their branches, and one program for all "
                "steps has tensors alone; leave one of the two out."
            )

    def prepare(self, info: ModelInfo) -> None:
        for name in self.devices:
            _device(name)

    def convert(self, model: Model) -> Model:
        for name, part in _networks(model).items():
            if _wrapped(part.module):
                raise LdmError(
                    f"cfg_parallel keeps weights where they compute, and another converter moves "
                    f"those of the {name} or has wrapped it; leave one of the two out."
                )
        return self._split(model)

    def _split(self, model: Model) -> Model:
        """The model whose network is one on each device; so are those that are made of it."""
        remake = model.remake
        devices = [_device(name) for name in self.devices]
        networks = [_network_on(model, device, self.originals) for device in devices]
        first, second = networks
        network = model.network if first is None or second is None else Halves(first, second)
        if remake is None:
            return replace(model, network=network)

        def remade(parts: Mapping[str, Part], place: Place) -> Model:
            return self._split(remake(parts, place))

        return replace(model, network=network, remake=remade)

    def bind(self, run: Run) -> RunHooks:
        self.originals.check()
        return RunHooks()


@dataclass(frozen=True)
class Halves:
    """A network that asks two others for half of the rows each, at once.

    Attributes:
        first, second: each takes what is anywhere, and gives its answer where x is.
    """

    first: Network
    second: Network

    def __call__(self, call: Call) -> Tensor:
        import torch

        here, there = halves(call)
        if not there:
            return self.first(call)
        later = Elsewhere(self.second, part_of(call, there))
        with ThreadPoolExecutor(1, thread_name_prefix="ldm-cfg-parallel") as threads:
            answer = threads.submit(copy_context().run, later)
            one = self.first(part_of(call, here))
            other = answer.result()
        whole = torch.empty((len(call.rows), *one.shape[1:]), dtype=one.dtype, device=one.device)
        whole[here], whole[there] = one, other
        return whole


class Elsewhere:
    """A call of a network in another thread, under what torch keeps for each thread."""

    def __init__(self, network: Network, call: Call) -> None:
        import torch

        self._network, self._call = network, call
        self._grad = torch.is_grad_enabled()

    def __call__(self) -> Tensor:
        import torch

        from ldm_core.run.attention import as_in_context

        x = self._call.x
        device: Any = torch.cuda.device(x.device) if x.is_cuda else nullcontext()
        with device, torch.set_grad_enabled(self._grad), as_in_context():
            return self._network(self._call)


def halves(call: Call) -> tuple[list[int], list[int]]:
    """The rows of a call in two parts: by branches, the first half of them in the first part; those
    of a single one by images. The second part is empty where there is one row."""
    branches = list(dict.fromkeys(row.branch for row in call.rows))
    rows = range(len(call.rows))
    if len(branches) == 1:
        middle = (len(rows) + 1) // 2
        return list(rows[:middle]), list(rows[middle:])
    first = set(branches[: (len(branches) + 1) // 2])
    here = [row for row in rows if call.rows[row].branch in first]
    return here, [row for row in rows if call.rows[row].branch not in first]


def _networks(model: Model) -> dict[str, Part]:
    return {name: part for name, part in model.parts.items() if part.role == "network"}


def _wrapped(module: nn.Module) -> bool:
    """Whether some layer does something else than its class says, as hooks make it."""
    return not all(
        ismethod(layer.forward) and layer.forward.__func__ is type(layer).forward
        for layer in module.modules()
    )


def _network_on(model: Model, device: torch.device, originals: Originals) -> Network | None:
    """The model's network on a device; None where its layers do something that a copy would not."""
    moved = {name: p for name, p in _networks(model).items() if p.device != device}
    if not moved:
        return model.network
    if any(_wrapped(part.module) for part in moved.values()):
        return None
    others = {name: _moved(part, device) for name, part in moved.items()}
    for part in moved.values():
        originals.note(part.module)
    return model.replaced(others).network


def _moved(part: Part, device: torch.device) -> Part:
    """A part of the same values on another device; the weights are copied once, straight there."""
    from torch import nn

    def copied(tensor: Tensor) -> Tensor:
        there = tensor.detach().to(device)
        parameter = isinstance(tensor, nn.Parameter)
        return nn.Parameter(there, requires_grad=False) if parameter else there

    tensors = [*part.module.parameters(), *part.module.buffers()]
    module = deepcopy(part.module, {id(tensor): copied(tensor) for tensor in tensors})
    return replace(part, module=module, device=device)


def _device(name: str) -> torch.device:
    """A device with its number, once it is seen to be there.

    Raises:
        LdmError: it is not.
    """
    import torch

    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise LdmError(
            f"cfg_parallel: the device '{name}' is not available here: "
            f"{str(error).splitlines()[0]}",
            "`devices` names two that are.",
        ) from None
