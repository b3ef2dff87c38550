"""Where a model is and in which precision; Accelerate knows the device of this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Place, PlaceNames
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model.launched import launched, numbered, own_device, sharing

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
DTYPES = ("float32", "bfloat16", "float16")
ON_CUDA = "bfloat16 (float16 on a card without it)"


def check_names(layer: Mapping[str, Any]) -> None:
    """Refuse names in a recipe's layer that torch does not know, without importing it.

    Raises:
        LdmError: unknown device or dtype.
    """
    names_device(layer.get("device", "auto"))
    types = ("auto", *DTYPES)
    for key in ("dtype", "compute_dtype"):
        if layer.get(key, "auto") not in types:
            raise LdmError(
                f"no {key} named '{layer[key]}'.{did_you_mean(layer[key], types)} "
                f"There are {', '.join(types)}; latents stay float32 with all of them."
            )


def names_device(name: str) -> None:
    """Refuse a device that torch does not know, without importing it.

    Raises:
        LdmError: it is unknown.
    """
    if name.partition(":")[0] not in DEVICES:
        raise LdmError(f"no device named '{name}'. There are {', '.join(DEVICES)}, or cuda:1.")


def check(recipe: Mapping[str, Any]) -> None:
    """Refuse what `check_names` refuses, and types that do not go together.

    Raises:
        LdmError: it should compute in a type that loses what the weights are kept with.
    """
    check_names(recipe)
    place = names(recipe)
    if "auto" not in (place.dtype, place.compute_dtype) and place.compute_dtype not in (
        "float32",
        place.dtype,
    ):
        both = "float32" if place.dtype == "float32" else f"{place.dtype} or float32"
        raise LdmError(
            f"weights kept in {place.dtype} cannot be computed with in {place.compute_dtype}: the "
            f"compute_dtype is {both}, or auto.",
            f"dtype = '{place.compute_dtype}' keeps them in {place.compute_dtype} too.",
        )


def names(recipe: Mapping[str, Any]) -> PlaceNames:
    """Device, dtype and compute_dtype of a recipe by their names; needs no torch."""
    return PlaceNames(
        device=recipe.get("device", "auto"),
        dtype=recipe.get("dtype", "auto"),
        compute_dtype=recipe.get("compute_dtype", "auto"),
    )


def describe(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Device, dtype and compute_dtype of a recipe, in words; needs no torch."""
    place = names(recipe)
    kind, dtype, compute = place.device.partition(":")[0], place.dtype, place.compute_dtype
    if dtype == "auto":
        if compute != "auto":
            dtype = compute
        else:
            dtype = compute = {
                "auto": f"float32 on a CPU, {ON_CUDA} on CUDA",
                "cuda": ON_CUDA,
            }.get(kind, "float32")
    elif compute == "auto":
        compute = _auto(kind, dtype)
        if kind == "auto" and dtype != "float32":
            compute = f"float32 on a CPU, {dtype} elsewhere"
    return {"device": place.device, "dtype": dtype, "compute_dtype": compute}


def resolve(recipe: Mapping[str, Any]) -> Place:
    """The place that a recipe names.

    The device ``auto`` is this process's as Accelerate chooses it: CUDA, then MPS, then CPU; under
    a launcher, each process has that of its local rank, and joins no process group for it; so has
    it of ``cuda`` and every other name without a number. The
    dtype ``auto`` is the compute_dtype where that is chosen, and else bfloat16 on CUDA, float16 on
    a card without it, and float32 on all others. The
    compute_dtype ``auto`` is float32 on the CPU, where arithmetic in half precision is slow, or
    fast on some processors alone, and the dtype elsewhere.

    Raises:
        LdmError: what `check` refuses, or a device that is not there.
    """
    import torch

    check(recipe)
    place = names(recipe)
    device = _device(place.device)
    dtype, compute = place.dtype, place.compute_dtype
    if dtype == "auto":
        dtype = _auto_dtype(device) if compute == "auto" else compute
    if compute == "auto":
        compute = _auto(device.type, dtype)
    types = {name: getattr(torch, name) for name in DTYPES}
    return Place(device, types[dtype], types[compute])


def free_bytes(recipe: Mapping[str, Any]) -> int | None:
    """The memory that is free on the CUDA device of a recipe; None where it is on another, or
    torch, without which no run begins, is not loaded."""
    import sys

    if "torch" not in sys.modules or names(recipe).device.partition(":")[0] not in ("auto", "cuda"):
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    device = resolve(recipe).device
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + kept)


def sharers(recipe: Mapping[str, Any], on_device: bool) -> int:
    """How many processes of a launcher compute where a recipe does, this one among them.

    Args:
        on_device: on one of CUDA's, of which each process has its own where there are several.
    """
    if not on_device or ":" in names(recipe).device:
        return sharing()
    import torch

    return sharing(torch.cuda.device_count())


def _auto_dtype(device: torch.device) -> str:
    """The dtype where none is chosen."""
    if device.type != "cuda":
        return "float32"
    import torch

    with torch.cuda.device(device):
        own = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if own else "float16"


def _auto(device_type: str, dtype: str) -> str:
    """The compute_dtype where none is chosen."""
    return "float32" if device_type == "cpu" else dtype


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        if process := launched():
            return own_device(process)
        from accelerate import PartialState

        device: torch.device = PartialState().device
        return device
    place = torch.device(name)
    process = launched()
    if process and place.index is None and place.type != "cpu":
        place = numbered(place.type, process)
    try:
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise LdmError(
            f"the device '{name}' is not available here: {str(error).splitlines()[0]}",
            "leave the device out to use what there is.",
        ) from None
    return place
