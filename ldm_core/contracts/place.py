"""Where a model is and in which precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn

M = TypeVar("M", bound="nn.Module")


@dataclass(frozen=True)
class Part:
    """One component of a model.

    Attributes:
        module: a network, autoencoder or text encoder; or a tokenizer, which has no weights.
        role: ``network``, ``autoencoder``, ``text``, ``decoder`` (which decodes in the
            autoencoder's place), ``side`` (a network beside the model's own, such as a ControlNet),
            or ``other``.
        device: where it computes, wherever its weights lie meanwhile; what it is given goes there.
        dtype: the type in which it computes.
        beneath: the part as it was before a placement brought its weights elsewhere, or another
            program computed it; None of one that is neither.
        place: what did that to it.
    """

    module: Any = field(repr=False)
    role: str
    device: torch.device
    dtype: torch.dtype
    beneath: Part | None = field(default=None, repr=False)
    place: Callable[[Part], Part] | None = field(default=None, repr=False)

    @property
    def at_rest(self) -> Any:
        """The module to read numbers from beside its calls, such as the statistics of latents: not
        one whose weights are elsewhere, or nowhere, until it is called. Its tensors may lie on
        another device than the part computes on, and it is not to be called."""
        return (self.beneath or self).module

    def altered(self, change: Callable[[Any], Any]) -> Part:
        """The part with another module that is made of its own, such as a copy with other layers.

        The change sees the module without what a placement or a compiler put around it, which is
        then put around the other module too.

        Args:
            change: ``change(module) -> module``; leaves the given one as it is.
        """
        beneath = self.beneath or self
        other = replace(beneath, module=change(beneath.module))
        return other if self.place is None else self.place(other)


@dataclass(frozen=True)
class PartInfo:
    """What is known of a part before its weights are read.

    Attributes:
        name: in the folder.
        cls: the name of its class.
        role: as of `Part`.
    """

    name: str
    cls: str
    role: str


def _no_options(part: PartInfo) -> Mapping[str, Any]:
    return {}


def _where_it_computes(part: PartInfo) -> torch.device | None:
    return None


@dataclass(frozen=True)
class Place:
    """Where a model's parts are put when they are read, and in which precision.

    Attributes:
        device: where they compute.
        dtype: the type in which weights are kept.
        compute_dtype: the type in which is computed with them: the same, or float32.
        loading: what the reader of a part is told beside that, as converters say.
        later: what is done to parts that are read after the model, such as side networks: what
            the model's converters did to its own.
        reads_to: the device to which a part's weights are read, where that is another than the one
            on which it computes, as placements say; else None.
    """

    device: torch.device
    dtype: torch.dtype
    compute_dtype: torch.dtype
    loading: Callable[[PartInfo], Mapping[str, Any]] = _no_options
    later: tuple[Callable[[Part], Part], ...] = ()
    reads_to: Callable[[PartInfo], torch.device | None] = _where_it_computes

    def put(self, module: M, part: PartInfo | None = None) -> M:
        """A component in its place: on the device, its weights as they are kept, frozen.

        Args:
            module: just read, in this dtype, and nobody else's yet.
            part: which one it is, so that the weights of one that is offloaded are not moved to
                the device as a whole.
        """
        device = None if part is None else self.reads_to(part)
        module.to(device or self.device).eval().requires_grad_(False)
        return module
