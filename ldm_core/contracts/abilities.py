"""Abilities: what a family's model can be conditioned by, and how a conditioning asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ldm_core.contracts.family import Model
from ldm_core.contracts.network import Call, Condition, Unequal
from ldm_core.contracts.run import Run, RunHooks
from ldm_core.errors import LdmError

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
        any_length: the keys of the condition in which a text may have any number of tokens,
            dimension 1, the same in all of them; others keep the length of the family's window.
        reads_references: the text encoder sees the reference pictures too, so that the texts of an
            image are encoded by `encode_beside`.

    `ModelInfo.abilities` says ``clip_skip`` where `skipping` is there, ``max_sequence_length``
    where `windowed` is, and ``prompt_2``, ``prompt_3`` and so on where `joined` is, of as many text
    encoders.
    """

    joins_windows: bool = False
    any_length: Set[str] = frozenset()
    reads_references: bool = False

    @abstractmethod
    def encode(self, texts: Sequence[str | None]) -> Condition | Unequal:
        """The network's condition for each text; None where there is none, which most families
        take for the empty text. Padding does not depend on the other texts."""

    def encode_beside(
        self, texts: Sequence[str | None], references: Sequence[Sequence[Image]]
    ) -> Condition | Unequal:
        """As `encode`, of texts that are read together with pictures; asked in its place where
        `reads_references` is true.

        Args:
            references: the pictures of each text's image, of any sizes, as many as there are of
                that image; all of them empty in a run without.
        """
        return self.encode(texts)

    @abstractmethod
    def overflow(self, text: str) -> str:
        """The end of the text that the encoder's window would cut off; empty where it fits."""

    def for_negative(self) -> TextAbility:
        """What encodes the texts that guidance leads away from: itself, but for a family that puts
        words of its own before the prompt alone."""
        return self

    def skipping(self, layers: int) -> TextAbility:
        """What encodes the same texts without the last layers of its CLIP encoders.

        Raises:
            LdmError: they have no so many layers, or none of them is a CLIP.
        """
        raise LdmError("this model's text encoder cannot leave out layers.")

    def windowed(self, length: int) -> TextAbility:
        """What encodes the same texts in a window of so many tokens, in place of the one that the
        network was trained with.

        Raises:
            LdmError: the encoder or the network takes no other.
        """
        raise LdmError("this model's texts have a single length.")

    def joined(self, conditions: Sequence[Condition]) -> Condition:
        """The condition of texts of which each text encoder reads its own.

        Args:
            conditions: for each of the text encoders, in order, the one under which all of them
                read its texts.
        """
        raise LdmError("this model's text encoders all read the same text.")

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


Weight = float | tuple[float, ...]
"""Of what a side network gives, or of each of the pictures that it reads."""


class SideNetwork(Protocol):
    """A network beside the model's own that reads a picture, and gives the other residuals."""

    @property
    def guess(self) -> bool:
        """Whether it speaks to the positive branch alone, whatever is asked."""
        ...

    def read(self, pictures: Tensor) -> Condition:
        """Its features of pictures (batch, channels, height, width) in [0, 1] that depend on
        neither x nor t; batch first in each tensor. The channels of all the pictures that it reads
        for an image lie one behind the other, and behind them, of a network that reads one, those
        of a mask."""
        ...

    def __call__(self, call: Call, features: Condition, weight: Weight, guess: bool) -> Condition:
        """What the model's network takes beside its condition, a row for each of the call; that of
        several side networks is summed.

        Args:
            call: what the model's network is asked.
            features: what `read` gave, a row for each of the call.
            weight: factor of the residuals; a network that reads several pictures may be given one
                for each.
            guess: smaller residuals in the outer layers, for a prompt that says nothing.
        """
        ...


class ControlAbility(Protocol):
    """Ability ``control``: how a family reads a network that is asked beside its own."""

    def load(
        self, folder: Path, name: str, mode: int | tuple[int, ...] | None = None
    ) -> SideNetwork:
        """The side network in a folder, of the class of this name.

        Args:
            mode: which of its kinds of picture a network for several reads, or the kind of each
                where it reads several at once; not handed over where it reads one.
        """
        ...


class FirstFrameAbility(Protocol):
    """Ability ``first_frame``: how a family lets its network see the frame with which a video
    begins. One that may be shown the last frame too has the ability ``last_frame`` beside it; one
    that must be shown both has ``first_and_last_frame`` in place of the two; one that was trained
    on first frames as H.264 leaves them has ``compressed_frames`` beside it."""

    def encode(self, run: Run, first: Tensor, last: Sequence[Tensor | None]) -> Condition:
        """The network's condition for each video.

        Args:
            first: (batch, channels, height, width) in [-1, 1].
            last: (channels, height, width) of each video that is to end with it.
        """
        ...

    def finish(self, run: Run, x: Tensor, first: Tensor) -> Tensor:
        """The final latents, from where the scheduler ended: with the first frame in its place,
        where the network was shown that in x and does not draw it."""
        ...

    def silenced(self, condition: Condition) -> Condition:
        """The condition of the branches that guidance leads away from, of that of the positive one:
        the same, of networks that were trained to see the frames there too."""
        return condition


@dataclass(frozen=True, eq=False)
class Keyframe:
    """What a video shows at a place in time.

    Attributes:
        frame: where it begins, from 0.
        frames: how many there are of it: one of a picture.
        strength: how much of it is kept, from 0 to 1 for all.
        read: gives its pixels, (channels, frames, height, width) in [-1, 1].
    """

    frame: int
    frames: int
    strength: float
    read: Callable[[], Tensor]


class KeyframesAbility(Protocol):
    """Ability ``keyframes``: how a family lets its network see pictures and pieces of video
    anywhere in a video. Those at its beginning may be kept in part; the others are whole."""

    def encode(self, run: Run, keyframes: Sequence[Sequence[Keyframe]]) -> Condition | Unequal:
        """The network's condition for each video's keyframes, the same under every branch."""
        ...

    def bind(
        self, run: Run, keyframes: Sequence[Sequence[Keyframe]], noise_scale: float
    ) -> RunHooks:
        """What is done in a run beside: x where it shows them, and what the network sees.

        Args:
            noise_scale: of the noise that what is kept whole has before each evaluation, times the
                square of sigma.
        """
        ...


class ImagePromptAbility(Protocol):
    """Ability ``image_prompt``: how a family lets its network look at pictures.

    The network of an adapted model takes the condition ``image_embeds`` (batch, pictures, ...) and,
    where pictures hold for a part alone, ``image_masks`` (batch, pictures, height, width); of the
    second adapter ``image_embeds_1`` and ``image_masks_1``, and so on.
    """

    def adapted(
        self,
        model: Model,
        files: Sequence[Path],
        scales: Sequence[float | list[float] | Mapping[str, Any]],
    ) -> Model:
        """The model with the layers of adapters; shares its weights and leaves it as it was.

        Args:
            scales: of each adapter, the factor of what its layers add, or one for each of the
                network's blocks, or a table of them by the blocks' names.
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


class ReferenceAbility(Protocol):
    """Ability ``reference``: how a family shows its network pictures beside the one that it draws.

    `ModelInfo.most_references` says how many an image may have, `ModelInfo.check_reference` of
    which sizes, and `ModelInfo.needs` whether it must have one.
    """

    def encode(self, references: Sequence[Sequence[Image]]) -> Condition | Unequal:
        """The network's condition for each image's pictures, which are of any sizes; nothing for
        an image that has none. The same under every branch.

        Args:
            references: of each image, as many as it has.
        Raises:
            LdmError: the network cannot see a picture of such a size.
        """
        ...


class PictureTokensAbility(Protocol):
    """Ability ``picture_tokens``: how a family reads pictures as words of a prompt.

    The states go behind those of the text, key ``text`` of the condition; the text as a whole is
    said by the key ``pooled``.
    """

    def states(self, folder: Path, pictures: Sequence[Image]) -> Tensor:
        """(pictures, tokens, width) of states such as the text encoder's.

        Args:
            folder: of what reads them, which was seen to fit the network.
        """
        ...


class DecodeNoiseAbility(Protocol):
    """Ability ``decode_noise``: a family's decoder takes the last step of denoising itself."""

    def mix(self, x: Tensor, noise: Tensor, scale: float) -> Tensor:
        """Final latents (batch, channels, ...) with so large a share of noise in what the
        autoencoder calls its latents.

        Args:
            noise: unit Gaussian, like x.
        """
        ...


class LowResolutionAbility(Protocol):
    """Ability ``low_resolution``: how a family shows its network the picture that it enlarges."""

    def encode(self, run: Run, pictures: Tensor, noise_levels: Sequence[int | None]) -> Condition:
        """The network's condition for each picture, the same under every branch.

        Args:
            pictures: (batch, channels, height, width) in [-1, 1].
            noise_levels: how noisy each is to be made, as a timestep; None for the model's own.
        Raises:
            LdmError: the network knows no such level.
        """
        ...
