"""IP-Adapters in a UNet2DConditionModel, and the image encoders beside them."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Model, Part, Place
from ldm_core.errors import LdmError
from ldm_core.model.loading import check_finite, reading
from ldm_core.model.modules import shallow_copy
from ldm_core.model.reading import read_json
from ldm_plugins.families.shared.shared_parts import SharedParts
from ldm_plugins.shared.quiet import quiet
from ldm_plugins.shared.unet_blocks import check_blocks

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn

KEPT = 4


class ImagePrompts:
    """Ability ``image_prompt`` of models with a UNet2DConditionModel (Ye et al. 2023,
    arXiv:2308.06721, Section 3.2.2): cross-attention layers with keys and values of their own for
    pictures, in a copy of the network that shares its weights. The latest few copies are kept.

    Args:
        device: where embeddings go.
    """

    def __init__(self, place: Place, device: torch.device) -> None:
        self._parts = SharedParts(place)
        self._device = device
        self._adapted: OrderedDict[tuple[Any, ...], Model] = OrderedDict()
        self._one_at_a_time = Lock()

    def adapted(self, model: Model, file: Path, scale: float | Mapping[str, Any]) -> Model:
        """See `ldm_core.contracts.abilities.ImagePromptAbility`.

        Raises:
            LdmError: the file's layers do not fit the network.
        """
        part, about = model.parts["unet"], file.stat()
        if isinstance(scale, Mapping):
            check_blocks("the scale of image_prompt is", scale, part.module)
        which = json.dumps(scale, sort_keys=True)
        same = (part.module, file, about.st_size, about.st_mtime_ns)
        with self._one_at_a_time:
            other = self._adapted.pop((*same, which), None)
            if other is None:
                other = model.replaced({"unet": self._with_layers(part, file, scale, same)})
            self._adapted[(*same, which)] = other
            while len(self._adapted) > KEPT:
                self._adapted.popitem(last=False)
        return other

    def _with_layers(
        self, part: Part, file: Path, scale: float | Mapping[str, Any], same: tuple[Any, ...]
    ) -> Part:
        """A copy of the network with the file's layers, from a copy of another scale where there
        is one."""
        others = [model for key, model in self._adapted.items() if key[:-1] == same]

        def adapted(network: nn.Module) -> nn.Module:
            module = shallow_copy(network)
            if not others:
                read_layers(module, file)
            set_scale(module, scale)
            return module.eval().requires_grad_(False)

        return (others[0].parts["unet"] if others else part).altered(adapted)

    def embed(
        self, encoder: Path, pictures: Sequence[Image], pooled: bool
    ) -> tuple[Tensor, Tensor]:
        """See `ldm_core.contracts.abilities.ImagePromptAbility`. Nothing is a vector of zeros, or
        what the encoder makes of grey pixels, its zero."""
        import torch

        part = self._parts.read(encoder, "CLIPVisionModelWithProjection")
        net = part.module
        pixels = processor_of(encoder, net)(list(pictures), return_tensors="pt").pixel_values
        pixels = pixels.to(part.device, part.dtype)
        if pooled:
            embeds: Tensor = net(pixels).image_embeds.to(self._device)
            return embeds, torch.zeros_like(embeds)
        states: Tensor = net(pixels, output_hidden_states=True).hidden_states[-2]
        grey = torch.zeros_like(pixels[:1])
        nothing: Tensor = net(grey, output_hidden_states=True).hidden_states[-2]
        return states.to(self._device), nothing.expand_as(states).to(self._device)


def processor_of(encoder: Path, net: Any) -> Any:
    """What scales and crops pictures for an encoder: that of a folder, or CLIP's for its size."""
    # the one in PIL, so that pictures do not depend on whether torchvision is installed
    try:
        from transformers import CLIPImageProcessorPil as CLIPImageProcessor
    except ImportError:  # in versions that have this one alone
        from transformers import CLIPImageProcessor

    if (encoder / "preprocessor_config.json").is_file():
        with quiet(f"the image encoder in {encoder}"):
            return read_processor(CLIPImageProcessor, encoder, net.config.image_size)
    side = net.config.image_size
    return CLIPImageProcessor(size=side, crop_size=side)


def read_processor(cls: Any, encoder: Path, side: int) -> Any:
    """What scales and crops pictures, from an encoder's folder, once it made one of the right size.

    Args:
        side: of the pictures that the encoder takes.
    Raises:
        LdmError: it cannot be read, or gives pictures of another size.
    """
    from PIL import Image

    file = encoder / "preprocessor_config.json"
    config = read_json(file)
    for key in ("size", "crop_size"):
        table = config.get(key, side)
        sides = table.values() if isinstance(table, dict) else [table]
        if not all(type(n) is int and 1 <= n <= 4 * side for n in sides):
            raise LdmError(f"{file}: {key} should be of about {side} pixels, not {table!r}.")
    with reading(f"{file}"):
        processor = cls.from_pretrained(encoder, local_files_only=True)
        grey = Image.new("RGB", (side, side), "grey")
        pixels = processor([grey], return_tensors="pt").pixel_values
    if tuple(pixels.shape) != (1, 3, side, side) or not pixels.isfinite().all():
        raise LdmError(
            f"{file} makes pictures of shape {list(pixels.shape[1:])}, and the encoder takes "
            f"{[3, side, side]} of finite numbers."
        )
    return processor


def set_scale(unet: nn.Module, scale: float | Mapping[str, Any]) -> None:
    """Set the factor of what the layers of an IP-Adapter add in a network; a block that a table
    does not name has 0."""
    from diffusers.models import attention_processor as processors

    kinds = (
        processors.IPAdapterAttnProcessor,
        processors.IPAdapterAttnProcessor2_0,
        processors.IPAdapterXFormersAttnProcessor,
    )
    for layer in unet.modules():
        if isinstance(layer, kinds):
            layer.scale = [0.0 if isinstance(scale, Mapping) else scale]
    if isinstance(scale, Mapping):
        from diffusers.loaders import IPAdapterMixin

        holder: Any = IPAdapterMixin()
        holder.unet = unet
        holder.set_ip_adapter_scale({**scale})


def read_layers(unet: Any, file: Path) -> None:
    """Put the layers of an IP-Adapter file into a network, by Diffusers' loader.

    Raises:
        LdmError: they do not fit.
    """
    from safetensors.torch import load_file

    what = f"the IP-Adapter '{file}'"
    hint = "it was made for a model of another kind or size."
    parts: dict[str, dict[str, Any]] = {"image_proj": {}, "ip_adapter": {}}
    with reading(what, hint, "does not fit the network"), quiet(what):
        tensors = load_file(file)
        check_finite(what, tensors)
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = tensor
        unet._load_ip_adapter_weights([parts], low_cpu_mem_usage=False)
