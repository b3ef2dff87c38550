"""How the extent of what is drawn becomes a latent's shape: pictures, video and sound alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from ldm_core.arguments import check_fields
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.values import brief, is_whole

AtLeastOne = Annotated[int, Field(ge=1)]
AtLeastNone = Annotated[int, Field(ge=0)]
Extent = Mapping[str, int]
"""How large something is: ``{"height": 512, "width": 512}``, ``{"samples": 441000}``."""


@dataclass(frozen=True)
class Axis:
    """One axis of a latent.

    Attributes:
        name: of the extent, such as height, width, frames or samples.
        stride: so many pixels, frames or samples share one place of the latent.
        unit: the places must be a multiple of it, such as the side of a network's patch.
        causal: the first entry has a place of its own: n of them have (n - 1) / stride + 1.
        most: as many places as the network knows at most; None without a limit.
        ahead: so many places before the first are drawn with the others and thrown away when the
            latent is decoded; they fill up the unit.
    """

    name: str
    stride: AtLeastOne
    unit: AtLeastOne = 1
    causal: bool = False
    most: AtLeastOne | None = None
    ahead: AtLeastNone = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def places(self, length: int) -> int:
        """The latent's places along this axis for so many pixels, frames or samples."""
        own = (length - 1) // self.stride + 1 if self.causal else length // self.stride
        return self.ahead + own

    def length(self, places: int) -> int:
        """The pixels, frames or samples that so many places stand for; undoes `places`."""
        own = places - self.ahead
        return (own - 1) * self.stride + 1 if self.causal else own * self.stride

    @property
    def shortest(self) -> int:
        """The least length that a latent can have."""
        return self.length((self.ahead // self.unit + 1) * self.unit)

    def fits(self, length: int) -> bool:
        """Whether a latent can have this length."""
        places = self.places(length)
        fills = places > self.ahead and places % self.unit == 0
        return fills and self.length(places) == length

    def nearest(self, length: float) -> int:
        """The length nearest to this one that a latent can have."""
        first = self.shortest
        step = self.stride * self.unit
        return first + step * max(0, round((length - first) / step))

    def rule(self) -> str:
        """Which lengths there are, in words."""
        step = self.stride * self.unit
        if not self.causal and self.ahead % self.unit == 0:
            return f"a multiple of {step}"
        return f"{self.shortest} and then every {step}" if step > 1 else "at least 1"


@dataclass(frozen=True)
class LatentSpace:
    """The latents of a model: (channels, an axis for each of ``axes``), in this order.

    A family whose latents are of another kind, such as two in one tensor, overrides `shape`, and
    `beside_each_other` where they are.

    Attributes:
        channels: how many.
        axes: in the order in which they come behind the channels.
    """

    channels: AtLeastOne
    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def of_picture(
        cls, channels: int, stride: int = 1, patch: int = 1, most: int | None = None
    ) -> LatentSpace:
        """Latents of pictures whose sides shrink alike.

        Args:
            stride: pixels a side that share one place.
            patch: the places a side must be a multiple of it.
            most: as many places a side at most.
        """
        sides = (Axis(name, stride, patch, most=most) for name in ("height", "width"))
        return cls(channels, tuple(sides))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the axes."""
        return tuple(axis.name for axis in self.axes)

    @property
    def beside_each_other(self) -> tuple[str, ...]:
        """What one tensor holds beside each other, such as a video and its sound, so that not every
        number lies at a place of the axes; empty where it holds one thing."""
        return ()

    def check_one(self, what: str, hint: str = "") -> None:
        """See that a tensor holds one thing.

        Args:
            what: takes it for one, such as "the guidance 'renormed'".
            hint: what to do in its place.
        Raises:
            LdmError: it holds several.
        """
        if self.beside_each_other:
            raise LdmError(
                f"{what} takes latents for one thing, and in this model's "
                f"{' and '.join(self.beside_each_other)} lie beside each other in one tensor: it "
                "would mix them.",
                hint,
            )

    def axis(self, name: str) -> Axis:
        """The axis of this name.

        Raises:
            LdmError: these latents have none.
        """
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise LdmError(f"this model's latents have no {name}; they have {', '.join(self.names)}.")

    def shape(self, extent: Extent) -> tuple[int, ...]:
        """The shape of one latent, without the batch."""
        return (self.channels, *(axis.places(extent[axis.name]) for axis in self.axes))

    def extent(self, shape: Sequence[int]) -> dict[str, int]:
        """The extent that a latent of this shape, without the batch, stands for."""
        sizes = zip(self.axes, shape[1:], strict=True)
        return {axis.name: axis.length(places) for axis, places in sizes}

    def check_rate(self, frame_rate: float) -> None:
        """Raise `LdmError` for a frame rate at which latents would have another shape than `shape`
        says, such as those of a sound that lasts as long as the video."""

    @property
    def follows_rate(self) -> bool:
        """Whether latents of videos at another frame rate are others, see `at_rate`: a tensor of
        them then says not all that decoding needs."""
        return False

    def at_rate(self, frame_rate: float) -> LatentSpace:
        """The latents of videos at this frame rate, where those have another shape than `shape`
        says; these themselves else."""
        return self

    def check(self, extent: Extent, default: Extent) -> None:
        """See that the model can draw this extent.

        Args:
            default: the model's own, for the message.
        Raises:
            LdmError: an axis is missing or unknown, or has a length that no latent has.
        """
        for name in extent:
            if name not in self.names:
                raise LdmError(
                    f"this model draws no '{name}'.{did_you_mean(name, self.names)} "
                    f"It draws {', '.join(self.names)}."
                )
        self.check_fits(extent, default)
        for axis in self.axes:
            length = extent[axis.name]
            if axis.most is not None and axis.places(length) > axis.most:
                raise LdmError(
                    f"{describe(extent)} does not fit this model: the {axis.name} "
                    f"should be at most {axis.length(axis.most)}, for which it has positions."
                )

    def check_fits(self, extent: Extent, default: Extent) -> None:
        """See that a latent can have each length of an extent, whatever the network knows.

        Raises:
            LdmError: an axis is missing, or has a length that no latent has.
        """
        for axis in self.axes:
            if axis.name not in extent:
                raise LdmError(f"this model draws a number of {axis.name}, and none is given.")
            length = extent[axis.name]
            if not is_whole(length):
                raise LdmError(f"the {axis.name} must be a whole number, not {brief(length)}.")
            if not axis.fits(length):
                raise LdmError(
                    f"{describe(extent)} does not fit this model: {self._rule(axis)}, as in "
                    f"{describe(default).removeprefix('the size ')}."
                )

    def _rule(self, axis: Axis) -> str:
        """What lengths an axis may have, in words; of a picture, both sides in one."""
        alike = len({replace(a, name="") for a in self.axes}) == 1
        if alike and {*self.names} == {"height", "width"}:
            return f"width and height must be multiples of {axis.stride * axis.unit}"
        return f"its {axis.name} must be {axis.rule()}"


@dataclass(frozen=True)
class LatentShape:
    """The shape of one latent with the names of its axes, for what depends on how large it is.

    Attributes:
        channels: how many.
        places: along each axis, by its name, in the latent's order.
    """

    channels: int
    places: Mapping[str, int]

    @classmethod
    def of(cls, space: LatentSpace, extent: Extent) -> LatentShape:
        """The shape of a latent of this extent."""
        places = {axis.name: axis.places(extent[axis.name]) for axis in space.axes}
        return cls(space.channels, places)


def describe(extent: Extent) -> str:
    """An extent in words: a picture as width x height, anything else by its axes."""
    if {*extent} == {"height", "width"}:
        return f"the size {extent['width']}x{extent['height']}"
    return ", ".join(f"{name} {length}" for name, length in extent.items())
