"""Where a model is and in which precision; Accelerate knows the device of this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ldm_core.errors import LdmError, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
DTYPES = ("float32", "bfloat16", "float16")

M = TypeVar("M", bound="nn.Module")


@dataclass(frozen=True)
class Place:
    """Where a model is and in which precision.

    Attributes:
        dtype: the type in which its weights are kept.
        compute_dtype: the type in which it computes with them: the same, or float32.
    """

    device: torch.device
    dtype: torch.dtype
    compute_dtype: torch.dtype

    def put(self, module: M) -> M:
        """A component in its place: on the device, its weights as they are kept, frozen.

        Args:
            module: just read, in this dtype, and nobody else's yet.
        """
        from ldm_core.model.stored_weight import compute_in

        module.to(self.device).eval().requires_grad_(False)
        compute_in(module, self.compute_dtype)
        return module


def check_names(layer: Mapping[str, Any]) -> None:
    """Refuse names in a recipe's layer that torch does not know, without importing it.

    Raises:
        LdmError: unknown device or dtype.
    """
    device = layer.get("device", "auto")
    if device.partition(":")[0] not in DEVICES:
        raise LdmError(f"no device named '{device}'. There are {', '.join(DEVICES)}, or cuda:1.")
    for key, more in (("dtype", ()), ("compute_dtype", ("auto",))):
        known = (*more, *DTYPES)
        if layer.get(key, "float32") not in known:
            raise LdmError(
                f"no {key} named '{layer[key]}'.{did_you_mean(layer[key], known)} "
                f"There are {', '.join(known)}; latents stay float32 with all of them."
            )


def check(recipe: Mapping[str, Any]) -> None:
    """Refuse what `check_names` refuses, and types that do not go together.

    Raises:
        LdmError: it should compute in a type that loses what the weights are kept with.
    """
    check_names(recipe)
    _, dtype, compute = _named(recipe)
    if compute not in ("auto", "float32", dtype):
        raise LdmError(
            f"weights kept in {dtype} cannot be computed with in {compute}: the compute_dtype is "
            f"{'float32' if dtype == 'float32' else f'{dtype} or float32'}, or auto.",
            f"dtype = '{compute}' keeps them in {compute} too.",
        )


def describe(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Device, dtype and compute_dtype of a recipe, in words; needs no torch."""
    device, dtype, compute = _named(recipe)
    if compute == "auto":
        compute = _auto(device.partition(":")[0], dtype)
        if device == "auto" and dtype != "float32":
            compute = f"float32 on a CPU, {dtype} elsewhere"
    return {"device": device, "dtype": dtype, "compute_dtype": compute}


def resolve(recipe: Mapping[str, Any]) -> Place:
    """The place that a recipe names.

    The device ``auto`` is this process's as Accelerate chooses it: CUDA, then MPS, then CPU; under
    a launcher, each process has its own. The compute_dtype ``auto`` is float32 on the CPU, where
    arithmetic in half precision is slow, or fast on some processors alone, and the dtype elsewhere.

    Raises:
        LdmError: what `check` refuses, or a device that is not there.
    """
    import torch

    check(recipe)
    name, dtype, compute = _named(recipe)
    device = _device(name)
    if compute == "auto":
        compute = _auto(device.type, dtype)
    return Place(device, getattr(torch, dtype), getattr(torch, compute))


def _named(recipe: Mapping[str, Any]) -> tuple[str, str, str]:
    """Device, dtype and compute_dtype by their names."""
    defaults = {"device": "auto", "dtype": "float32", "compute_dtype": "auto"}
    device, dtype, compute = (recipe.get(key, default) for key, default in defaults.items())
    return device, dtype, compute


def _auto(device_type: str, dtype: str) -> str:
    """The compute_dtype where none is chosen."""
    return "float32" if device_type == "cpu" else dtype


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        from accelerate import PartialState

        found: torch.device = PartialState().device
        return found
    place = torch.device(name)
    try:
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise LdmError(
            f"the device '{name}' is not available here: {str(error).splitlines()[0]}",
            "leave the device out to use what there is.",
        ) from None
    return place
