"""Encoders and decoders on a model folder: what goes in, and what the model's own make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldm_core.conformance.checks import NotApplicable, Subject
from ldm_core.conformance.grounds import (
    CLOSE,
    SEEDS,
    Ground,
    apart,
    choice,
    folders_of,
    on_folder,
    quietly,
    see,
    tried,
)
from ldm_core.contracts import Medium, Model, Request, request_of
from ldm_core.numerics.seeded_noise import SeededNoise
from ldm_core.plugins.blame import OWN

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

    def decoded(self, ground: Ground, x0: Tensor, images: tuple[int, ...] = (0, 1, 2)) -> Medium:
        """What the decoder of a ground makes of latents of some images."""
        with torch.no_grad(), quietly():
            decoder = ground.pipe.composition.decoder
            return decoder.medium(self.model, x0, self.request(x0, images))

    def request(self, x0: Tensor, images: tuple[int, ...] = (0, 1, 2)) -> Request:
        """What is asked of latents of some images: nothing, with the seed of each."""
        return request_of(x0, self.model.info.latents, [SEEDS[i] for i in images])


def halves(subject: Subject) -> Halves:
    """The model folder with the plugin and without: that which is named, or else the first that
    takes the plugin of those that its package and then ldm-core ship.

    Raises:
        NotApplicable: there is no folder, or none draws pictures and takes the plugin.
    """
    named = subject.model is not None
    reasons = []
    for folder in [subject.model] if subject.model else _shipped(subject):
        pair, reason = _on(replace(subject, model=folder), named)
        if pair is not None:
            return pair
        reasons.append(reason)
    if named or not reasons:
        raise NotApplicable("; ".join(reasons) or "needs --model FOLDER")
    others = f", and no other of {len(reasons)} that ship takes it" if reasons[1:] else ""
    raise NotApplicable(f"{reasons[0]}{others}; give --model FOLDER")


def _shipped(subject: Subject) -> list[Path]:
    """The model folders that a plugin's own package ships, and then those of ldm-core."""
    own = [one.folder for one in subject.registry.models if one.distribution == OWN]
    return [*dict.fromkeys([*folders_of(subject), *own])]


def _on(subject: Subject, named: bool) -> tuple[Halves | None, str]:
    """The model folder of a subject with the plugin and without, or why not."""
    own = on_folder(subject)
    parts = own.pipe.composition
    if parts.decoder.kind != "image" or {*parts.info.latents.names} != {"height", "width"}:
        return None, f"is checked on pictures, and {own.name} draws {parts.decoder.kind}"
    kind = subject.plugin.kind
    other, refusal = tried(own.replaced, **{kind: choice(subject)})
    pair = None if other is None else Halves(own, other)
    if pair is not None and not named and (medium := _medium(pair.other, kind)) != "image":
        return None, f"is of the kind '{medium}', and {own.name} draws pictures"
    if pair is not None:
        _, refusal = tried(_used, pair, kind)
    return (None, f"refuses {own.name}: {refusal.rstrip('.')}") if refusal else (pair, "")


def _medium(ground: Ground, kind: str) -> str:
    parts = ground.pipe.composition
    return parts.encoder.kind if kind == "encoder" else parts.decoder.kind


def _used(pair: Halves, kind: str) -> None:
    if kind == "encoder":
        pair.latents(pair.other)
    else:
        parts = pair.other.pipe.composition
        with torch.no_grad(), quietly():
            x0 = pair.latents(pair.own)
            parts.decoder.data(pair.model, x0, pair.request(x0))


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


def see_round_trip(errors: Sequence[float], half: str) -> str:
    """See that pictures come back about as well as with the model's own half.

    Args:
        errors: with the model's own, and with the plugin.
        half: ``encoder`` or ``decoder``.
    """
    own, other = errors
    see(
        other <= 1.5 * own + 0.05,
        f"pictures come back with an error of {other:.3g} (root mean square, of a range of 2), and "
        f"with the model's own {half} of {own:.3g}",
    )
    return f"error {other:.3g}, the model's own {own:.3g}"


def see_images_alone(together: Tensor, alone: Callable[[int], Tensor]) -> str:
    """See that each of three images is what ``alone(image)`` makes of it."""
    worst = 0.0
    for image in range(3):
        distance = apart(together[image : image + 1], alone(image))
        worst = max(worst, distance)
        see(distance <= CLOSE, f"image {image + 1} of 3 differs by {distance:.2g} from it alone")
    return f"within {worst:.1g}"
