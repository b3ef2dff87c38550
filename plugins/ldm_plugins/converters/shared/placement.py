"""What converters share that say where weights lie.

Each acts on copies with parameters of their own around the memory of the model's, so that no weight
that another pipeline uses is moved or exchanged; hooks are on the copies alone, and go with them.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ldm_core.contracts import Converter, Model, ModelInfo, Part, PartInfo, Phase, PlaceNames
from ldm_core.errors import LdmError, LdmWarning, did_you_mean
from ldm_core.model.at_home import same_device
from ldm_core.model.modules import movable_copy

if TYPE_CHECKING:
    import torch
    from torch import nn

READ_WHOLE = ("VectorQuantizer", "_AceStepResidualFSQ")
"""Classes of modules that read the weights of the layers in them, without calling these."""
ROLES = ("network", "autoencoder", "decoder", "text", "side")
Place = Callable[[Part], Part]


@dataclass(frozen=True, kw_only=True)
class Placement(Converter):
    """Brings the weights of some parts where they compute, and away again.

    Attributes:
        name: as a recipe has it.
        usual: the roles of the parts that it acts on where none are chosen.
        offloads: weights are read to the processor's memory, and computed with elsewhere.
        chosen: names or roles of the parts that it acts on.
        roles: of the model's parts, by their names; empty where the family does not say.
        names: of the place.
    """

    name: ClassVar[str]
    usual: ClassVar[tuple[str, ...]] = ROLES
    offloads: ClassVar[bool] = True
    chosen: tuple[str, ...] | None = None
    roles: tuple[tuple[str, str], ...] = ()
    names: PlaceNames | None = None
    phase = Phase.PLACEMENT
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Self:
        roles = tuple((part.name, part.role) for part in info.parts)
        fitted = replace(self, roles=roles, names=place)
        if self.chosen is not None and not self.chosen:
            raise LdmError(f"the placement '{self.name}' needs at least one of the parts.")
        if self.offloads and info.file is not None and info.file.suffix.lower() == ".gguf":
            for name, role in roles:
                if role == "network" and fitted.takes(name, role):
                    raise LdmError(
                        f"the placement '{self.name}' would move the {name}, whose weights in "
                        f"'{info.file.name}' are of a kind that cannot be moved so.",
                        'say by parts = ["text", "autoencoder"], say, on which others it acts.',
                    )
        if info.parts:
            fitted.check_parts(info.source, [part.name for part in info.parts])
        return fitted

    def check_parts(self, source: str, names: Iterable[str]) -> None:
        """See that there are the parts that are chosen.

        Raises:
            LdmError: one is neither a part of the model nor a role.
        """
        known = (*names, *ROLES)
        for part in self.chosen or ():
            if part not in known:
                raise LdmError(
                    f"the placement '{self.name}' is to act on '{part}', and the model '{source}' "
                    f"has no such part.{did_you_mean(part, known)}",
                    f"its parts with weights and their roles: {', '.join(known)}.",
                )

    def beside(self, others: Sequence[Converter]) -> None:
        for other in others:
            if isinstance(other, Placement) and (both := self._both(other)):
                raise self._contradiction(other.name, both)

    def _both(self, other: Placement) -> list[str]:
        """Parts that two placements act on, by name, or else roles."""
        pair = (self, other)
        names = [name for name, role in self.roles if all(p.takes(name, role) for p in pair)]
        return names or [
            role
            for role in ROLES
            if all(role in (p.usual if p.chosen is None else p.chosen) for p in pair)
        ]

    def _contradiction(self, other: str, both: Sequence[str]) -> LdmError:
        return LdmError(
            f"the placements '{self.name}' and '{other}' would both act on {', '.join(both)}; a "
            "part has one placement.",
            'say by parts = ["network"], say, on which parts each acts.',
        )

    def check_model(self, model: Model) -> None:
        """What only the model's parts say where its family does not.

        Raises:
            LdmError: as of `check_parts`, or a part has another placement already.
        """
        self.check_parts(model.info.source, model.parts)
        placed = [name for name, part in model.parts.items() if part.beneath is not None]
        both = [name for name in placed if self.takes(name, model.parts[name].role)]
        if both:
            raise self._contradiction("another", both)

    def takes(self, name: str, role: str) -> bool:
        """Whether it acts on a part.

        Args:
            name: empty of one that is read later, such as a side network, which is treated as the
                parts of its role are.
        """
        if self.chosen is None:
            return role in self.usual
        if role in self.chosen or (name in self.chosen and role != "side"):
            return True
        return not name and any(r == role and n in self.chosen for n, r in self.roles)

    def reads_to(self, part: PartInfo) -> str | None:
        return "cpu" if self.offloads and self.takes(part.name, part.role) else None

    def convert(self, model: Model) -> Model:
        self.check_model(model)
        place = self.begin(model)

        def later(part: Part) -> Part:
            return self.placed(part, place) if self.takes("", part.role) else part

        changes = {
            name: self.placed(part, place)
            for name, part in model.parts.items()
            if self.takes(name, part.role)
        }
        self._say_what_is_not_saved(model, changes)
        where = replace(model.place, later=(*model.place.later, later))
        return model.replaced(changes, where)

    @abstractmethod
    def begin(self, model: Model) -> Place:
        """``place(part) -> part``, for a model's parts: the part, whose module is a copy already,
        with its weights where they are to lie and hooks that bring them where it computes."""

    def placed(self, part: Part, place: Place) -> Part:
        """A part whose weights are brought where it computes when it is called; the part itself
        where it has no weights, or a placement already."""
        import torch

        if part.beneath is not None or not isinstance(part.module, torch.nn.Module):
            return part

        def again(other: Part) -> Part:
            own = place(replace(other, module=movable_copy(other.module)))
            return replace(own, beneath=other, place=again)

        return again(part)

    @property
    def saves_on_a_processor(self) -> bool:
        """Whether it takes less memory where the processor computes, in whose memory weights
        are."""
        return False

    def _say_what_is_not_saved(self, model: Model, changes: dict[str, Part]) -> None:
        """Say where offloading takes nothing from a device's memory."""
        parts = [model.parts[name] for name in changes if changes[name].beneath is not None]
        there = [part.device for part in parts if lies_there(part)]
        if not there or self.saves_on_a_processor:
            return
        if there[0].type == "cpu":
            why = (
                "the processor computes, and its memory is where weights are brought to. "
                "group_offload with to='disk' takes less of it."
            )
        else:
            why = (
                f"the weights were read to {there[0]} as a whole for another pipeline, which has "
                f"them still. Load with converters=['{self.name}']."
            )
        warnings.warn(f"'{self.name}' saves no memory here: {why}", LdmWarning, stacklevel=2)


def lies_there(part: Part) -> bool:
    """Whether a part's weights lie where it computes."""
    return any(same_device(weight.device, part.device) for weight in part.module.parameters())


def guarded(part: Part, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put something around all by which a part's module is called.

    Args:
        part: with a module of its own.
        around: ``around(call) -> call``.
    """
    module = part.module
    for name in (
        "forward",
        *(("encode", "decode") if part.role in ("autoencoder", "decoder") else ()),
    ):
        call = getattr(module, name, None)
        if call is not None:
            setattr(module, name, around(call))


def one_at_a_time(part: Part, lock: Any = None) -> Part:
    """A part that one thread at a time calls: hooks exchange the weights of its modules."""
    from functools import wraps

    own = RLock() if lock is None else lock

    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def alone(*args: Any, **options: Any) -> Any:
            with own:
                return call(*args, **options)

        return alone

    guarded(part, around)
    return part


def pieces(module: nn.Module, device: torch.device, whole: Collection[str]) -> Iterator[nn.Module]:
    """The modules in whose layers weights may come and go: all of it, but for what reads weights
    that no call brings, which stay on the device.

    Args:
        whole: classes that read the weights of the layers in them.
    """
    if type(module).__name__ in whole:
        module.to(device)
    elif not any(type(one).__name__ in whole or _is_read(one) for one in module.modules()):
        yield module
    else:
        for tensor in chain(module.parameters(recurse=False), module.buffers(recurse=False)):
            tensor.data = tensor.data.to(device)
        for child in module.children():
            yield from pieces(child, device, whole)


def _is_read(module: nn.Module) -> bool:
    """Whether a module has weights of its own, and nothing by which to be called."""
    from torch.nn import Module

    if type(module).forward is not Module.forward:
        return False
    return any(True for _ in chain(module.parameters(False), module.buffers(False)))


def stay_at_home(name: str, others: Iterable[Converter]) -> None:
    """See that nothing moves a network's weights away from where it computes.

    Args:
        name: of the converter that needs them there.
    Raises:
        LdmError: a placement does.
    """
    for other in others:
        if isinstance(other, Placement) and other.name != "whole":
            roles = other.roles or tuple((role, role) for role in ROLES)
            if any(role == "network" and other.takes(part, role) for part, role in roles):
                raise LdmError(
                    f"{name} keeps the network's weights where they compute, and the placement "
                    f"'{other.name}' moves them; leave one of the two out.",
                    'or say by parts = ["text", "autoencoder"] on which others the placement acts.',
                )
