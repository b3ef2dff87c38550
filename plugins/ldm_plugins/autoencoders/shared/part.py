"""The autoencoder among a model's parts."""

from __future__ import annotations

from ldm_core.contracts import Model, Part
from ldm_core.errors import LdmError
from ldm_plugins.shared.codecs import HINT, check_class, without_autoencoder


def autoencoder_of(model: Model, codec: str) -> Part:
    """The model's autoencoder.

    Args:
        codec: the name of the encoder or decoder that asks.
    Raises:
        LdmError: it has none, or one that this one is not for.
    """
    part = model.part("autoencoder")
    if part is None:
        raise without_autoencoder(model.info)
    return _checked(part, codec)


def decoder_of(model: Model, codec: str) -> Part:
    """What decodes the model's latents: a decoder that was put beside the autoencoder, or the
    autoencoder itself. Each has its own normalisation in its config.

    Args:
        codec: as of `autoencoder_of`.
    Raises:
        LdmError: it has neither, or one that this decoder is not for.
    """
    part = model.part("decoder")
    return autoencoder_of(model, codec) if part is None else _checked(part, codec)


def check_kind(codec: str, part: Part, fits: bool) -> None:
    """See that an autoencoder of a class that no table has gave what an encoder needs.

    Raises:
        LdmError: it did not.
    """
    if not fits:
        cls = type(part.module).__name__
        raise LdmError(f"'{codec}' is not for an autoencoder of the class {cls}.", HINT)


def _checked(part: Part, codec: str) -> Part:
    cls = type(part.module)
    check_class(codec, [base.__name__ for base in cls.__mro__], cls.__name__)
    return part
