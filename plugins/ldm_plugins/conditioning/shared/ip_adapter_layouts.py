"""What an IP-Adapter's tensors say of it, and whether a network takes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ldm_core.errors import LdmError
from ldm_core.values import is_number
from ldm_plugins.conditioning.shared.unet_attentions import cross_attentions

Shapes = Mapping[str, tuple[int, ...]]
Scale = float | list[Any] | Mapping[str, Any]
CLIP, SIGLIP = "CLIPVisionModelWithProjection", "SiglipVisionModel"
WHOLE = {CLIP: "CLIPModel", SIGLIP: "SiglipModel"}
"""The model that such an encoder is the tower of pictures of, as its authors publish it."""
MANY_TOKENS = 65536
"""Diffusers takes so high a projection of Flux to give 16 tokens of a picture, and others 4."""


class Reads(NamedTuple):
    """What an adapter reads of a picture.

    Attributes:
        pooled: one projected vector a picture; otherwise the encoder's states.
        width: of the vectors or states.
    """

    pooled: bool
    width: int


class Layout(ABC):
    """How the adapters of a kind of network are laid out.

    Attributes:
        encoder: the class of the image encoder that goes with them.
        several: an image may look at several pictures, and a network have several adapters.
        masks: a picture may hold for a part of the image.
        scale: the factor of what an adapter adds where none is chosen, which is Diffusers'.
    """

    encoder = CLIP
    several = True
    masks = False
    scale = 1.0

    @abstractmethod
    def reads(self, source: str, shapes: Shapes) -> Reads:
        """What an adapter reads; raise `LdmError` where it is of another kind."""

    @abstractmethod
    def misfit(self, shapes: Shapes, network: Mapping[str, Any]) -> str | None:
        """In what an adapter does not fit a network, by its config; None where it fits."""

    @abstractmethod
    def check_scale(self, scale: Scale, network: Mapping[str, Any]) -> None:
        """Raise `LdmError` where a scale is not of the kind that such a network takes."""

    def blocks(self, network: Mapping[str, Any]) -> int:
        """In the self-attention of how many of a transformer's first blocks the layers lie."""
        return 0


class UNetLayout(Layout):
    """Of a network with cross-attention (Ye et al. 2023, arXiv:2308.06721)."""

    masks = True

    def reads(self, source: str, shapes: Shapes) -> Reads:
        kinds = {"proj.weight": True, "proj_in.weight": False}
        # a face adapter's own projection, which Diffusers reads too, takes no picture
        names = [*kinds, *(["proj.0.weight"] if "image_proj.proj.3.weight" in shapes else [])]
        for name in names:
            if f"image_proj.{name}" in shapes:
                return Reads(kinds.get(name, False), width_of(source, shapes, name))
        raise LdmError(
            f"the IP-Adapter '{source}' reads no pictures as CLIP sees them; FaceID adapters, "
            "which read what a face recognition network says, are not known here."
        )

    def misfit(self, shapes: Shapes, network: Mapping[str, Any]) -> str | None:
        own, wanted = layers(shapes), cross_attentions(network)
        if own == wanted:
            return None
        return f"it has {_in_words(own)}, and the network's cross-attention has {_in_words(wanted)}"

    def check_scale(self, scale: Scale, network: Mapping[str, Any]) -> None:
        if isinstance(scale, list):
            raise LdmError(
                "the scale of image_prompt for a UNet is a number, or a table by block such as "
                '{"up": {"block_0": [0, 1, 0]}}, not a list.'
            )


class FluxLayout(Layout):
    """Of Flux and Chroma (XLabs 2024): keys and values in each block of two streams."""

    def reads(self, source: str, shapes: Shapes) -> Reads:
        return Reads(True, width_of(source, shapes, "proj.weight"))

    def misfit(self, shapes: Shapes, network: Mapping[str, Any]) -> str | None:
        inner = network.get("num_attention_heads", 24) * network.get("attention_head_dim", 128)
        text = network.get("joint_attention_dim", 4096)
        own, wanted = layers(shapes), [(inner, text)] * _count(network, 19)
        if own != wanted:
            return f"it has {_in_words(own)}, and the network's blocks take {_in_words(wanted)}"
        high = shapes["image_proj.proj.weight"][0]
        tokens = 16 if high == MANY_TOKENS else 4
        if high != tokens * text:
            return f"its projection gives {high} values, and {tokens} tokens take {tokens * text}"
        return None

    def blocks(self, network: Mapping[str, Any]) -> int:
        return _count(network, 19)

    def check_scale(self, scale: Scale, network: Mapping[str, Any]) -> None:
        count = _count(network, 19)
        if isinstance(scale, Mapping):
            raise LdmError(
                "the scale of image_prompt for Flux or Chroma is a number, or a list of one for "
                f"each of the network's {count} blocks of two streams, not a table."
            )
        if isinstance(scale, list) and (len(scale) != count or not all(map(is_number, scale))):
            raise LdmError(
                f"the scale of image_prompt should have a number for each of the network's {count} "
                f"blocks of two streams, not {scale!r}."
            )


class StableDiffusion3Layout(Layout):
    """Of Stable Diffusion 3 and 3.5 (InstantX 2024): a resampler that is told the time, and keys
    and values beside the picture's own in each layer."""

    encoder = SIGLIP
    several = False
    scale = 0.5

    def reads(self, source: str, shapes: Shapes) -> Reads:
        return Reads(False, width_of(source, shapes, "proj_in.weight"))

    def misfit(self, shapes: Shapes, network: Mapping[str, Any]) -> str | None:
        inner = network.get("num_attention_heads", 18) * network.get("attention_head_dim", 64)
        count = _count(network, 18) + len(network.get("dual_attention_layers") or ())
        own, wanted = layers(shapes), [(inner, inner)] * count
        if own != wanted:
            return f"it has {_in_words(own)}, and the network's attention has {_in_words(wanted)}"
        if (gives := shapes.get("image_proj.proj_out.weight", (0,))[0]) != inner:
            return f"its resampler gives states of width {gives}, and the network takes {inner}"
        return None

    def blocks(self, network: Mapping[str, Any]) -> int:
        return _count(network, 18)

    def check_scale(self, scale: Scale, network: Mapping[str, Any]) -> None:
        if isinstance(scale, list | Mapping):
            raise LdmError(
                "the scale of image_prompt for Stable Diffusion 3 is one number for all layers."
            )


LAYOUTS: Mapping[str, Layout] = {
    "UNet2DConditionModel": UNetLayout(),
    "UNetMotionModel": UNetLayout(),
    "FluxTransformer2DModel": FluxLayout(),
    "ChromaTransformer2DModel": FluxLayout(),
    "SD3Transformer2DModel": StableDiffusion3Layout(),
}
"""By the class of the network."""


def width_of(source: str, shapes: Shapes, name: str) -> int:
    """The width of what a layer of an adapter's projection reads."""
    shape = shapes.get(f"image_proj.{name}")
    if shape is None:
        raise LdmError(
            f"the IP-Adapter '{source}' was made for another kind of model: it has no "
            f"image_proj.{name}."
        )
    if len(shape) != 2:
        raise LdmError(
            f"the IP-Adapter '{source}' is damaged: its image_proj.{name} should be a matrix, and "
            f"is of shape {list(shape)}."
        )
    return shape[1]


def layers(shapes: Shapes) -> list[tuple[int, ...]]:
    """The (width, width of what is read) of an adapter's layers, in order."""
    suffix = ".to_k_ip.weight"
    named = {
        name.removeprefix("ip_adapter.").removesuffix(suffix): shape
        for name, shape in shapes.items()
        if name.startswith("ip_adapter.") and name.endswith(suffix)
    }
    return [named[key] for key in sorted((k for k in named if k.isdecimal()), key=int)]


def _count(network: Mapping[str, Any], default: int) -> int:
    count: int = network.get("num_layers", default)
    return count


def _in_words(own: Sequence[tuple[int, ...]]) -> str:
    widths = " and ".join(str(width) for width in sorted({shape[-1] for shape in own}))
    return f"{len(own)} layers of {sum(s[0] for s in own)} values for texts of width {widths}"
