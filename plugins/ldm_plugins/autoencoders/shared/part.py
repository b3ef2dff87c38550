"""The autoencoder among a model's parts."""

from __future__ import annotations

from ldm_core.contracts import Model, Part
from ldm_core.errors import LdmError


def autoencoder_of(model: Model) -> Part:
    """The model's autoencoder.

    Raises:
        LdmError: it has none.
    """
    part = model.part("autoencoder")
    if part is None:
        raise LdmError(
            f"the model '{model.info.source}' has no autoencoder; the encoder and the decoder that "
            "go with it are 'pixels'."
        )
    return part


def decoder_of(model: Model) -> Part:
    """What decodes the model's latents: a decoder that was put beside the autoencoder, or the
    autoencoder itself. Each has its own normalisation in its config.

    Raises:
        LdmError: it has neither.
    """
    return model.part("decoder") or autoencoder_of(model)


def check_kind(encoder: str, part: Part, fits: bool) -> None:
    """See that an encoder was asked of an autoencoder that it is for.

    Raises:
        LdmError: it was not.
    """
    if not fits:
        raise LdmError(
            f"the encoder '{encoder}' is not for an autoencoder of the class "
            f"{type(part.module).__name__}.",
            "leave the encoder out: the model's own is then taken.",
        )
