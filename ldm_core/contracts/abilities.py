"""Abilities: what a family's model can be conditioned by, and how a conditioning asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ldm_core.contracts.family import Model
from ldm_core.contracts.network import Call, Condition, Unequal

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Span = tuple[int, int]
"""The characters (start, end) of a text; an empty span where there are none."""


class TextAbility(ABC):
    """Ability ``text``: how a family encodes prompts.

    Attributes:
        joins_windows: the network only attends to the tokens, wherever they are, so that the
            conditions of several windows can be joined, and seeing all of them twice is seeing
            them once.
    """

    joins_windows: bool = False

    @abstractmethod
    def encode(self, texts: Sequence[str | None]) -> Condition | Unequal:
        """The network's condition for each text; None where there is none, which most families
        take for the empty text. Padding does not depend on the other texts."""

    @abstractmethod
    def overflow(self, text: str) -> str:
        """The end of the text that the encoder's window would cut off; empty where it fits."""

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]] | None:
        """For each key of the condition that runs along tokens, dimension 1, the characters of
        the text that each token stands for. None where this cannot be said, and words cannot be
        weighed."""
        return None


@dataclass(frozen=True)
class Sizes:
    """The sizes that a network learnt of each picture, in pixels.

    Attributes:
        original: (height, width) before the picture was scaled.
        crop: (top, left) of what was cut out of the scaled picture.
        target: (height, width) of what was cut out.

    Source: Podell et al. 2023, arXiv:2307.01952, Section 2.2.
    """

    original: tuple[int, int]
    crop: tuple[int, int]
    target: tuple[int, int]


class SizeAbility(Protocol):
    """Ability ``size``: how a family encodes the sizes of pictures."""

    def encode(self, sizes: Sequence[Sizes]) -> Condition:
        """The network's condition for each picture's sizes."""
        ...


class ClassLabelAbility(Protocol):
    """Ability ``class_label``: how a family encodes classes."""

    def encode(self, labels: Sequence[int | None]) -> Condition:
        """The network's condition for each class, by its number; None for no class at all.

        Raises:
            LdmError: the network was not trained to draw without a class.
        """
        ...


class SideNetwork(Protocol):
    """A network beside the model's own that reads a picture, and gives the other residuals."""

    @property
    def guess(self) -> bool:
        """Whether it speaks to the positive branch alone, whatever is asked."""
        ...

    def read(self, pictures: Tensor) -> Condition:
        """Its features of pictures (batch, channels, height, width) in [0, 1] that depend on
        neither x nor t; batch first in each tensor."""
        ...

    def __call__(self, call: Call, features: Condition, weight: float, guess: bool) -> Condition:
        """What the model's network takes beside its condition, a row for each of the call; that of
        several side networks is summed.

        Args:
            call: what the model's network is asked.
            features: what `read` gave, a row for each of the call.
            weight: factor of the residuals.
            guess: smaller residuals in the outer layers, for a prompt that says nothing.
        """
        ...


class ControlAbility(Protocol):
    """Ability ``control``: how a family reads a network that is asked beside its own."""

    def load(self, folder: Path, name: str) -> SideNetwork:
        """The side network in a folder, of the class of this name."""
        ...


class ImagePromptAbility(Protocol):
    """Ability ``image_prompt``: how a family lets its network look at pictures.

    The network of an adapted model takes the condition ``image_embeds`` (batch, pictures, ...).
    """

    def adapted(self, model: Model, file: Path, scale: float) -> Model:
        """The model with an adapter's layers; shares its weights and leaves it as it was.

        Args:
            scale: factor of what these layers add.
        """
        ...

    def embed(
        self, encoder: Path, pictures: Sequence[Image], pooled: bool
    ) -> tuple[Tensor, Tensor]:
        """An image encoder's embeddings of the pictures and, for the negative branch, of no
        picture; both (pictures, ...).

        Args:
            encoder: its folder.
            pooled: one projected vector a picture, or the states before the last layer.
        """
        ...
