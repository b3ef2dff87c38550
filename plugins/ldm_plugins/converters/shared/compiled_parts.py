"""Parts of a model with programs of OpenVINO in their place."""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from ldm_core.contracts import Part
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.shared.programs import Programs
from ldm_plugins.converters.shared.structure import is_altered

DECODING = ("autoencoder", "decoder")
UNKNOWN = (
    "AsymmetricAutoencoderKL",
    "AutoencoderKLQwenImage",
    "AutoencoderKLWan",
    "ConsistencyDecoderVAE",
    "PaellaVQModel",
)
"""Autoencoders whose decoder enlarges by an operation that OpenVINO has no rule for
(nearest-exact), is given more than latents, or is no module of its own."""
NETWORKS = ("UNet2DModel",)
"""What stands in an autoencoder's place and is none, as unCLIP's networks that enlarge do."""


def in_place(part: Part, dtype: str, folder: Path) -> Part:
    """The part with programs in its place; what is made of it, such as a network with the
    layers of an image prompt, gets its own.

    Args:
        dtype: in which they compute.
        folder: where graphs and programs are kept.
    """
    cls = type(part.module).__name__
    if part.role in DECODING and cls not in NETWORKS:
        if cls in UNKNOWN:
            raise LdmError(f"OpenVINO cannot convert the decoder of a {cls}.")
        return replace(part, module=_decoding(part.module, dtype, folder))

    def again(other: Part) -> Part:
        if is_altered(other.module):
            warnings.warn(
                "openvino leaves the network to torch whose layers are altered for another "
                "branch; the model's own is compiled.",
                LdmWarning,
                stacklevel=2,
            )
            return other
        return in_place(other, dtype, folder)

    return replace(
        part,
        module=_with_programs(part.module, dtype, folder),
        beneath=part,
        place=again,
    )


def _decoding(autoencoder: Any, dtype: str, folder: Path) -> Any:
    """A copy of an autoencoder, so that its switches, such as those of tiles, go on to work."""
    decoder = dict(autoencoder.named_children()).get("decoder")
    if decoder is None:
        raise LdmError(
            f"the {type(autoencoder).__name__} has no layer named decoder, which is what "
            "openvino compiles of an autoencoder.",
            'say by parts = ["network"], say, on which others openvino acts.',
        )
    copied: Any = shallow_copy(autoencoder, autoencoder.children())
    copied.decoder = _with_programs(decoder, dtype, folder, copied=True)
    return copied


def _with_programs(module: Any, dtype: str, folder: Path, copied: bool = False) -> Any:
    """A copy of a module, of the same tensors and layers, that computes by programs; whoever asks
    for its config or layers finds them, and those that are put in their place are what computes."""
    other: Any = shallow_copy(module, module.children())
    other.forward = Programs(copy(other), dtype, folder, copied)
    return other


def check_weights(part: Part) -> None:
    """See that weights are plain numbers of the type that OpenVINO is given.

    Raises:
        LdmError: they are not.
    """
    import torch

    plain = (torch.Tensor, torch.nn.Parameter)
    for weight in part.module.parameters():
        if type(weight) not in plain or weight.dtype != torch.float32:
            kind = str(weight.dtype).removeprefix("torch.")
            raise LdmError(
                f"openvino takes plain weights in float32, and the {type(part.module).__name__} "
                f"has some of the kind {type(weight).__name__}, {kind}."
            )
