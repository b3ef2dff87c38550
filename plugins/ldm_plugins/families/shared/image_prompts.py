"""IP-Adapters in a UNet, and the image encoders beside them."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Model, Part, Place
from ldm_core.errors import LdmError
from ldm_core.model.copied import follow_originals
from ldm_core.model.loading import check_finite, reading
from ldm_core.model.modules import shallow_copy
from ldm_core.model.reading import read_json
from ldm_plugins.families.shared.shared_parts import SharedParts
from ldm_plugins.shared.ip_adapter_names import LAYERS, PROJECTION, own_name
from ldm_plugins.shared.quiet import quiet
from ldm_plugins.shared.unet_blocks import check_blocks

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor, nn

KEPT = 4
Scale = float | list[float] | Mapping[str, Any]
Tensors = Mapping[str, Mapping[str, "Tensor"]]
"""Those of an adapter by what they are of, ``image_proj`` or ``ip_adapter``, and by name."""


class ImagePrompts:
    """Ability ``image_prompt`` of models with a UNet (Ye et al. 2023, arXiv:2308.06721, Section
    3.2.2): cross-attention layers with keys and values of their own for pictures, in a copy of the
    network that shares its weights. The latest few copies are kept.

    Args:
        device: where embeddings go.
    """

    network = "unet"
    encoder = "CLIPVisionModelWithProjection"

    def __init__(self, place: Place, device: torch.device) -> None:
        self._parts = SharedParts(place)
        self._device = device
        self._adapted: OrderedDict[tuple[Any, ...], Model] = OrderedDict()
        self._one_at_a_time = Lock()

    def adapted(self, model: Model, files: Sequence[Path], scales: Sequence[Scale]) -> Model:
        """See `ldm_core.contracts.abilities.ImagePromptAbility`.

        Raises:
            LdmError: a file's layers do not fit the network.
        """
        part = model.parts[self.network]
        for scale in scales:
            if isinstance(scale, Mapping):
                check_blocks("the scale of image_prompt is", scale, part.module)
        which = json.dumps(list(scales), sort_keys=True)
        about = ((file, file.stat()) for file in files)
        same = (part.module, *((f, stat.st_size, stat.st_mtime_ns) for f, stat in about))
        with self._one_at_a_time:
            other = self._adapted.pop((*same, which), None)
            if other is None:
                changed = self._with_layers(part, files, scales, same)
                other = model.replaced({self.network: changed})
            self._adapted[(*same, which)] = other
            while len(self._adapted) > KEPT:
                self._adapted.popitem(last=False)
        follow_originals([other.parts[self.network]])
        return other

    def _with_layers(
        self, part: Part, files: Sequence[Path], scales: Sequence[Scale], same: tuple[Any, ...]
    ) -> Part:
        """A copy of the network with the files' layers, from a copy of other scales where there is
        one."""
        others = [model for key, model in self._adapted.items() if key[:-1] == same]

        def adapted(network: nn.Module) -> nn.Module:
            module = shallow_copy(network)
            if not others:
                read_layers(module, files, self.put_layers)
            self.set_scales(module, scales)
            return module.eval().requires_grad_(False)

        return (others[0].parts[self.network] if others else part).altered(adapted)

    def put_layers(self, network: Any, adapters: Sequence[Tensors]) -> None:
        """Put the layers of adapters into a network, by Diffusers' loader."""
        network._load_ip_adapter_weights(list(adapters), low_cpu_mem_usage=False)

    def set_scales(self, network: nn.Module, scales: Sequence[Scale]) -> None:
        """Set the factors of what the layers of adapters add; a block that a table does not name
        has 0."""
        set_unet_scales(network, scales)

    def embed(
        self, encoder: Path, pictures: Sequence[Image], pooled: bool
    ) -> tuple[Tensor, Tensor]:
        """See `ldm_core.contracts.abilities.ImagePromptAbility`. Nothing is a vector of zeros, or
        what the encoder makes of grey pixels, its zero."""
        import torch

        part = self._parts.read(encoder, self.encoder)
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


def set_unet_scales(unet: nn.Module, scales: Sequence[Scale]) -> None:
    """Set the factors of what the layers of adapters add in a UNet."""
    from diffusers.models import attention_processor as processors

    kinds = (
        processors.IPAdapterAttnProcessor,
        processors.IPAdapterAttnProcessor2_0,
        processors.IPAdapterXFormersAttnProcessor,
    )
    tables = any(isinstance(scale, Mapping) for scale in scales)
    for layer in unet.modules():
        if isinstance(layer, kinds):
            layer.scale = [0.0 if isinstance(scale, Mapping) else scale for scale in scales]
    if tables:
        from diffusers.loaders import IPAdapterMixin

        holder: Any = IPAdapterMixin()
        holder.unet = unet
        holder.set_ip_adapter_scale([{**s} if isinstance(s, Mapping) else s for s in scales])


def read_layers(
    network: Any, files: Sequence[Path], put: Callable[[Any, Sequence[Tensors]], None]
) -> None:
    """Put the layers of IP-Adapter files into a network.

    Args:
        put: ``put(network, adapters)``, which does.
    Raises:
        LdmError: they do not fit.
    """
    from safetensors.torch import load_file

    what = "the IP-Adapter " + " and ".join(f"'{file}'" for file in files)
    hint = "it was made for a model of another kind or size."
    adapters: list[Tensors] = []
    with reading(what, hint, "does not fit the network"), quiet(what):
        for file in files:
            tensors = load_file(file)
            check_finite(f"the IP-Adapter '{file}'", tensors)
            parts: dict[str, dict[str, Tensor]] = {PROJECTION: {}, LAYERS: {}}
            for name, tensor in tensors.items():
                part, _, rest = (own_name(name) or name).partition(".")
                parts.setdefault(part, {})[rest] = tensor
            adapters.append(parts)
        put(network, adapters)
