"""Encoders and decoders: data to latents, latents to data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.arguments import checks_arguments
from ldm_core.contracts.family import Model
from ldm_core.contracts.medium import Medium
from ldm_core.contracts.record import Record, as_record
from ldm_core.contracts.run import Request, request_of
from ldm_core.errors import PartError
from ldm_core.numerics.callables import Noise
from ldm_core.values import brief

if TYPE_CHECKING:
    from torch import Tensor

Encode = Callable[..., "Tensor"]
"""``encode(model, data, noise) -> x0``: data, such as pixels (batch, channels, height, width) in
[-1, 1], to latents. ``noise()`` serves encoders that sample a posterior."""

Decode = Callable[..., "Tensor | Medium"]
"""``decode(model, x0) -> data``: latents to a `Medium`, or to a tensor of the decoder's kind. One
that sees the request takes it too: ``decode(model, x0, request)``, see
`ldm_core.contracts.sees_request`."""


@dataclass(frozen=True, eq=False)
class Encoder(Record):
    """Data to latents. A plain function becomes one by `as_encoder`.

    Attributes:
        kind: of the data that it takes, as of `Medium`.
    """

    takes: ClassVar[tuple[str, ...]] = ("model", "data", "noise")

    encode: Encode
    kind: str = "image"

    def __call__(self, model: Model, data: Tensor, noise: Noise, **options: Any) -> Tensor:
        return self.encode(model, data, noise, **options)

    @property
    def function(self) -> Callable[..., Any]:
        return self.encode

    def with_function(self, function: Callable[..., Any]) -> Encoder:
        return replace(self, encode=function)


@dataclass(frozen=True, eq=False)
class Decoder(Record):
    """Latents to data. A plain function becomes one by `as_decoder`.

    Attributes:
        kind: of the medium that it gives.
        sees_request: it is also given the `Request`: seeds, inputs, extent.
    """

    takes: ClassVar[tuple[str, ...]] = ("model", "x0")

    decode: Decode
    kind: str = "image"
    sees_request: bool = False

    def __call__(
        self, model: Model, x0: Tensor, *request: Request, **options: Any
    ) -> Tensor | Medium:
        if self.sees_request and not request:
            request = (request_of(x0, model.info.latents),)
        return self.decode(model, x0, *request, **options)

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.takes, "request") if self.sees_request else self.takes

    def data(self, model: Model, x0: Tensor, request: Request | None = None) -> Tensor | Medium:
        """What its function gives of the latents (batch, channels, ...)."""
        return self(model, x0, *((request,) if self.sees_request and request else ()))

    def medium(self, model: Model, x0: Tensor, request: Request | None = None) -> Medium:
        """What the latents (batch, channels, ...) stand for.

        Args:
            request: of which they are; nothing but latents where not given, see `request_of`.
        """
        from torch import Tensor

        data = self.data(model, x0, request)
        if not isinstance(data, Medium | Tensor):
            raise PartError(self, f"a decoder gives a tensor or a Medium, not {brief(data)}.")
        medium = data if isinstance(data, Medium) else Medium(self.kind, data)
        if medium.kind != self.kind:
            raise PartError(
                self,
                f"a decoder that is said to give '{self.kind}' gave '{medium.kind}'; it should say "
                "what it gives, as in @decodes('video').",
            )
        return medium

    @property
    def function(self) -> Callable[..., Any]:
        return self.decode

    def with_function(self, function: Callable[..., Any]) -> Decoder:
        return replace(self, decode=function)


@checks_arguments
def encodes(kind: str) -> Callable[[Encode], Encoder]:
    """Say which kind of data an encoder takes, where it is not pictures."""
    return lambda encode: replace(as_encoder(encode), kind=kind)


@checks_arguments
def decodes(kind: str) -> Callable[[Decode], Decoder]:
    """Say which kind of medium a decoder gives, where it is not pictures."""
    return lambda decode: replace(as_decoder(decode), kind=kind)


def as_encoder(part: Encoder | Encode) -> Encoder:
    """The record of an encoder; `LdmError` for what cannot be called."""
    return as_record(Encoder, part, "an encoder is a function (model, data, noise)")


def as_decoder(part: Decoder | Decode) -> Decoder:
    """The record of a decoder; `LdmError` for what cannot be called."""
    return as_record(Decoder, part, "a decoder is a function (model, x0)")
