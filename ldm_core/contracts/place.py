"""Where a model is and in which precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    """

    module: Any = field(repr=False)
    role: str
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class PartInfo:
    """What is known of a part before its weights are read: its name in the folder, class, role."""

    name: str
    cls: str
    role: str


def _no_options(part: PartInfo) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Place:
    """Where a model's parts are put when they are read, and in which precision.

    Attributes:
        dtype: the type in which weights are kept.
        compute_dtype: the type in which is computed with them: the same, or float32.
        loading: what the reader of a part is told beside that, as converters say.
        later: what is done to parts that are read after the model, such as side networks: what
            the model's converters did to its own.
    """

    device: torch.device
    dtype: torch.dtype
    compute_dtype: torch.dtype
    loading: Callable[[PartInfo], Mapping[str, Any]] = _no_options
    later: tuple[Callable[[Part], Part], ...] = ()

    def put(self, module: M) -> M:
        """A component in its place: on the device, its weights as they are kept, frozen.

        Args:
            module: just read, in this dtype, and nobody else's yet.
        """
        module.to(self.device).eval().requires_grad_(False)
        return module
