"""Networks in a GGUF file, whose weights stay packed and are widened a layer at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Place
from ldm_core.errors import LdmError
from ldm_core.model.gguf_header import SUFFIX

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

KERNELS = "DIFFUSERS_GGUF_CUDA_KERNELS"
"""Where this is set, Diffusers fetches a program from the Hub and runs it."""


def is_gguf(file: Path) -> bool:
    return file.suffix == SUFFIX


def read_gguf(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names, packed ones as Diffusers' GGUFParameter.

    Raises:
        LdmError: Diffusers is set to run a program of the Hub for them.
    """
    if os.environ.get(KERNELS, "").lower() in ("1", "true", "yes"):
        raise LdmError(
            f"{KERNELS} is set, by which Diffusers runs a program of the Hub, which is not done "
            "here.",
            "take it out of the environment.",
        )
    from diffusers.models.model_loading_utils import load_gguf_checkpoint

    tensors: dict[str, Tensor] = load_gguf_checkpoint(str(file))
    return tensors


def gguf_options(place: Place) -> Mapping[str, Any]:
    """What Diffusers' ``from_single_file`` is told."""
    from diffusers import GGUFQuantizationConfig

    compute = place.compute_dtype
    return {
        "torch_dtype": compute,
        "quantization_config": GGUFQuantizationConfig(compute_dtype=compute),
    }


def unpack_outside_of_linear_layers(module: nn.Module, dtype: torch.dtype) -> None:
    """Widen packed weights where Diffusers has no layer that does it when called, such as those of
    convolutions and norms."""
    from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter, dequantize_gguf_tensor
    from torch import nn

    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            if isinstance(weight, GGUFParameter) and not isinstance(part, GGUFLinear):
                plain = dequantize_gguf_tensor(weight).to(dtype)
                setattr(part, name, nn.Parameter(plain, requires_grad=False))


def numbers_of(tensor: Tensor) -> int:
    """How many numbers a tensor stands for, packed or not."""
    from diffusers.quantizers.gguf.utils import GGUFParameter

    if isinstance(tensor, GGUFParameter):
        return math.prod(tensor.quant_shape)
    return tensor.numel()
