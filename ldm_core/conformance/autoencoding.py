"""Encoders and decoders on a model folder: what goes in, and what the model's own make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ldm_core.conformance.checks import NotApplicable, Subject
from ldm_core.conformance.grounds import SEEDS, Ground, choice, on_folder, quietly, tried
from ldm_core.contracts import Medium, Model
from ldm_core.numerics.seeded_noise import SeededNoise

SPREAD = (2 / 3, 3 / 2)
"""Between which factors the spread of what it makes may lie, to what the model's own makes."""


@dataclass(frozen=True)
class Halves:
    """A model folder with an encoder or decoder, and the model's own.

    Attributes:
        own: the folder as it is.
        other: with the plugin in the place of its own.
    """

    own: Ground
    other: Ground

    @property
    def model(self) -> Model:
        return self.own.pipe.model

    def pictures(self, images: tuple[int, ...] = (0, 1, 2)) -> Tensor:
        """Smooth random pictures (images, channels, height, width) in [-1, 1], as large as the
        model draws."""
        info = self.own.pipe.composition.info
        extent = self.own.pipe.composition.extent()
        return smooth_pictures(info.image_channels, extent["height"], extent["width"], images)

    def latents(self, ground: Ground, images: tuple[int, ...] = (0, 1, 2)) -> Any:
        """What the encoder of a ground makes of the pictures."""
        return self.encoded(ground, self.pictures(images), images)

    def encoded(self, ground: Ground, data: Tensor, images: tuple[int, ...] = (0, 1, 2)) -> Any:
        """What the encoder of a ground makes of data of some images."""
        parts = ground.pipe.composition
        shape = parts.info.latents.shape(parts.extent())
        noise = SeededNoise([SEEDS[i] for i in images], shape, self.model.latents_device)
        with torch.no_grad(), quietly():
            return parts.encoder.encode(self.model, data, noise)

    def decoded(self, ground: Ground, x0: Tensor) -> Medium:
        """What the decoder of a ground makes of latents."""
        with torch.no_grad(), quietly():
            return ground.pipe.composition.decoder.medium(self.model, x0)


def halves(subject: Subject) -> Halves:
    """The model folder with the plugin and without.

    Raises:
        NotApplicable: there is no folder, it does not draw pictures, or the plugin refuses it.
    """
    own = on_folder(subject)
    parts = own.pipe.composition
    if parts.decoder.kind != "image" or {*parts.info.latents.names} != {"height", "width"}:
        raise NotApplicable(f"is checked on pictures, and {own.name} draws {parts.decoder.kind}")
    kind = subject.plugin.kind
    other, refusal = tried(own.replaced, **{kind: choice(subject)})
    pair = None if other is None else Halves(own, other)
    if pair is not None:
        _, refusal = tried(_used, pair, kind)
    if refusal or pair is None:
        raise NotApplicable(f"refuses {own.name}: {refusal}")
    return pair


def _used(pair: Halves, kind: str) -> None:
    if kind == "encoder":
        pair.latents(pair.other)
    else:
        parts = pair.other.pipe.composition
        with torch.no_grad(), quietly():
            parts.decoder.decode(pair.model, pair.latents(pair.own))


def smooth_pictures(channels: int, height: int, width: int, images: tuple[int, ...]) -> Tensor:
    """Random pictures of few waves, each by its number, (images, channels, height, width) in
    [-1, 1]."""
    each = []
    for image in images:
        generator = torch.Generator().manual_seed(100 + image)
        coarse = torch.randn((1, channels, 4, 4), generator=generator)
        size = (height, width)
        each.append(torch.nn.functional.interpolate(coarse, size, mode="bicubic"))
    return torch.tanh(torch.cat(each))


def ratio(one: Tensor, other: Tensor) -> float:
    """Of the standard deviations of two tensors."""
    return float(one.std() / other.std().clamp(min=1e-12))


def rms(one: Tensor, other: Tensor) -> float:
    """Root mean square of the difference of two tensors."""
    return float((one - other).square().mean().sqrt())
