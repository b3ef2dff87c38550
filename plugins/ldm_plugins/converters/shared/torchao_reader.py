"""torchao's quantiser of Diffusers, which takes convolutions too where a format has them."""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from diffusers import TorchAoConfig
from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AUTO_QUANTIZER_MAPPING
from diffusers.quantizers.torchao import TorchAoHfQuantizer
from torch import Tensor, nn
from torchao.quantization import quantize_

from ldm_plugins.converters.shared.weight_formats import int8_convolution


class Method(str, Enum):
    """The name by which Diffusers finds the quantiser."""

    TORCHAO = "ldm_torchao"


class Config(TorchAoConfig):
    """What Diffusers' ``from_pretrained`` is told.

    Args:
        quant_type: torchao's config for linear layers.
        convolutions: whether two-dimensional ones are kept in eight bits.
    """

    def __init__(self, quant_type: Any, convolutions: bool) -> None:
        super().__init__(quant_type)
        self.quant_method = Method.TORCHAO
        self.convolutions = convolutions


class Quantiser(TorchAoHfQuantizer):
    """Each weight is quantised as it comes from the file, so that one alone is held in full."""

    def check_if_quantized_param(
        self,
        model: Any,
        param_value: Tensor,
        param_name: str,
        state_dict: dict[str, Any],
        **options: Any,
    ) -> bool:
        if self._convolution(model, param_name) is not None:
            return True
        quantised: bool = super().check_if_quantized_param(
            model, param_value, param_name, state_dict, **options
        )
        return quantised

    def create_quantized_param(
        self,
        model: Any,
        param_value: Tensor,
        param_name: str,
        target_device: Any,
        *args: Any,
        **options: Any,
    ) -> None:
        module = self._convolution(model, param_name)
        if module is None:
            super().create_quantized_param(
                model, param_value, param_name, target_device, *args, **options
            )
            return
        module.weight = nn.Parameter(param_value.to(target_device), requires_grad=False)
        quantize_(module, int8_convolution(), filter_fn=lambda module, name: True)

    def _convolution(self, model: Any, param_name: str) -> nn.Conv2d | None:
        """The convolution whose weight is to be quantised; None where the name is another's."""
        name, _, kind = param_name.rpartition(".")
        kept = any(part in param_name.split(".") for part in self.modules_to_not_convert)
        module = model.get_submodule(name) if self.quantization_config.convolutions else None
        wanted = isinstance(module, nn.Conv2d) and kind == "weight" and not kept
        return module if wanted and isinstance(module, nn.Conv2d) else None


AUTO_QUANTIZER_MAPPING[Method.TORCHAO.value] = Quantiser
AUTO_QUANTIZATION_CONFIG_MAPPING[Method.TORCHAO.value] = Config


def counts(module: nn.Module) -> tuple[int, int]:
    """How many weights of a module's layers are quantised, and how many could have been: those of
    linear layers and of two-dimensional convolutions."""
    layers = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    plain = (torch.Tensor, nn.Parameter)
    return sum(type(layer.weight) not in plain for layer in layers), len(layers)
