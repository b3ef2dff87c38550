"""Which encoders and decoders go with the class of an autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from ldm_core.contracts import ModelInfo

CODECS: Mapping[str, tuple[str, ...]] = {
    "AsymmetricAutoencoderKL": ("autoencoder_kl",),
    "AutoencoderDC": ("autoencoder_dc",),
    "AutoencoderKL": ("autoencoder_kl", "autoencoder_kl_by_frame", "mel"),
    "AutoencoderKLCogVideoX": ("autoencoder_kl_video",),
    "AutoencoderKLFlux2": ("autoencoder_kl_flux2",),
    "AutoencoderKLHunyuanVideo": ("autoencoder_kl_video",),
    "AutoencoderKLLTX2Video": ("ltx_2",),
    "AutoencoderKLLTXVideo": ("autoencoder_kl_video",),
    "AutoencoderKLQwenImage": ("autoencoder_kl_frame",),
    "AutoencoderKLTemporalDecoder": ("autoencoder_kl_by_frame",),
    "AutoencoderKLWan": ("autoencoder_kl_video", "autoencoder_kl_frame"),
    "AutoencoderOobleck": ("oobleck",),
    "AutoencoderSAME": ("same",),
    "AutoencoderTiny": ("autoencoder_tiny", "autoencoder_kl"),  # as a decoder beside another
    "ConsistencyDecoderVAE": ("autoencoder_kl",),
    "PaellaVQModel": ("paella",),
    "UNet2DModel": ("super_resolution",),
    "VQModel": ("vq",),
}
"""By the class of an autoencoder, those that read it, the one that is taken by itself first."""
PIXELS = "pixels"
VIDEO = {"autoencoder_kl_by_frame", "autoencoder_kl_video", "ltx_2"}
"""Those of latents (batch, channels, frames, height, width)."""
SOUND = {"mel", "oobleck", "same"}
"""Those of latents of a sound."""
HINT = "leave the encoder and the decoder out: the model's own are then taken."


def codec_of(cls: str | None) -> str:
    """What encodes and decodes by itself with an autoencoder of a class; None is of no
    autoencoder."""
    return PIXELS if cls is None else CODECS[cls][0]


def check_class(codec: str, classes: Collection[str], shown: str) -> None:
    """See that an encoder or decoder was asked of an autoencoder that it is for; what stands in no
    table is not judged.

    Args:
        classes: the names of the autoencoder's class and its bases.
        shown: which one of these is told.
    Raises:
        LdmError: it was not.
    """
    rows = [CODECS[name] for name in classes if name in CODECS]
    if rows and codec not in rows[0]:
        raise LdmError(f"'{codec}' is not for an autoencoder of the class {shown}.", HINT)


def for_models(codec: str) -> Callable[[ModelInfo], None]:
    """The rule of `fits` by which an encoder or decoder is refused, before weights are read, for
    a model whose autoencoder is of another class, or whose latents are of another shape. A model
    that says nothing of its parts is not judged."""

    def check(info: ModelInfo) -> None:
        autoencoders = [part.cls for part in info.parts if part.role == "autoencoder"]
        if not info.parts:
            return
        if not autoencoders and codec != PIXELS:
            raise without_autoencoder(info)
        if autoencoders and codec == PIXELS:
            raise with_autoencoder(info)
        for cls in autoencoders:
            check_class(codec, [cls], cls)
        names = info.latents.names
        draws = "videos" if "frames" in names else "sounds" if "samples" in names else "pictures"
        kind = "videos" if codec in VIDEO else "sounds" if codec in SOUND else "pictures"
        if not autoencoders or kind == draws:
            return
        raise LdmError(
            f"'{codec}' is for {kind}, and '{info.source}' (family {info.family}) draws {draws}.",
            HINT,
        )

    return check


def without_autoencoder(info: ModelInfo) -> LdmError:
    """Why a model of pixels has nothing to encode or decode with."""
    return LdmError(
        f"the model '{info.source}' has no autoencoder; the encoder and the decoder that go with "
        f"it are '{PIXELS}'."
    )


def with_autoencoder(info: ModelInfo) -> LdmError:
    """Why the pixels of a model with an autoencoder are not its latents."""
    return LdmError(
        f"'{PIXELS}' is for models that work on pixels, and '{info.source}' has an autoencoder.",
        HINT,
    )
