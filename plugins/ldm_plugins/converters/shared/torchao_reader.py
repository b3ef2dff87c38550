"""torchao's quantiser of Diffusers, which takes convolutions too where a format has them."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from ldm_plugins.converters.shared.weight_formats import int8_convolution

if TYPE_CHECKING:
    from torch import Tensor, nn


class Method(StrEnum):
    """The name by which Diffusers finds the quantiser; it asks for its ``value`` too."""

    TORCHAO = "ldm_torchao"


def reading_config(quant_type: Any, convolutions: bool) -> Any:
    """What ``from_pretrained`` of a class of Diffusers is told.

    Args:
        quant_type: torchao's config for linear layers.
        convolutions: whether two-dimensional ones are kept in eight bits.
    """
    return _config_class()(quant_type, convolutions)


def counts(module: nn.Module) -> tuple[int, int]:
    """How many weights of a module's layers are quantised, and how many could have been: those of
    linear layers and of two-dimensional convolutions."""
    import torch
    from torch import nn

    layers = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    plain = (torch.Tensor, nn.Parameter)
    return sum(type(layer.weight) not in plain for layer in layers), len(layers)


@cache
def _config_class() -> Any:
    """The class of such configs, which Diffusers is told of together with its quantiser."""
    from diffusers import TorchAoConfig
    from diffusers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    class Config(TorchAoConfig):  # type: ignore[misc]
        def __init__(self, quant_type: Any, convolutions: bool) -> None:
            super().__init__(quant_type)
            self.quant_method = Method.TORCHAO
            self.convolutions = convolutions

    AUTO_QUANTIZER_MAPPING[Method.TORCHAO.value] = _quantiser_class()
    return Config


def _quantiser_class() -> Any:
    from diffusers.quantizers.torchao import TorchAoHfQuantizer
    from torch import nn
    from torchao.quantization import quantize_

    class Quantiser(TorchAoHfQuantizer):  # type: ignore[misc]
        """Each weight is quantised as it comes from the file, so that one alone is held in full."""

        def __init__(self, config: Any, **options: Any) -> None:
            # Diffusers' reader of single files says that their weights are quantised already
            super().__init__(config, **{**options, "pre_quantized": False})

        def check_if_quantized_param(
            self, model: Any, value: Tensor, name: str, state: dict[str, Any], **options: Any
        ) -> bool:
            if self._convolution(model, name) is not None:
                return True
            quantised: bool = super().check_if_quantized_param(model, value, name, state, **options)
            return quantised

        def create_quantized_param(
            self, model: Any, value: Tensor, name: str, device: Any, *rest: Any, **options: Any
        ) -> None:
            module = self._convolution(model, name)
            if module is None:
                super().create_quantized_param(model, value, name, device, *rest, **options)
                return
            module.weight = nn.Parameter(value.to(device), requires_grad=False)
            quantize_(module, int8_convolution(), filter_fn=lambda module, name: True)

        def _convolution(self, model: Any, name: str) -> nn.Conv2d | None:
            """The convolution whose weight is to be quantised; None where the name is another's, or
            of one of each channel by itself, of whose few numbers torchao makes no scales."""
            path, _, kind = name.rpartition(".")
            if not self.quantization_config.convolutions or kind != "weight":
                return None
            if any(part in name.split(".") for part in self.modules_to_not_convert):
                return None
            module = model.get_submodule(path)
            if not isinstance(module, nn.Conv2d) or module.weight.shape[1] == 1:
                return None
            return module

    return Quantiser
