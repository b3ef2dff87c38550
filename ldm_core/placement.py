"""Where a model runs and in which precision; Accelerate knows the device of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.errors import LdmError, did_you_mean

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")


def check(device: str, dtype: str) -> None:
    """Refuse names that torch does not know, without importing it.

    Raises:
        LdmError: unknown device or dtype.
    """
    kinds = ("auto", "cpu", "cuda", "mps", "xpu")
    if device.partition(":")[0] not in kinds:
        raise LdmError(f"no device named '{device}'. There are {', '.join(kinds)}, or cuda:1.")
    if dtype not in DTYPES:
        raise LdmError(
            f"no dtype named '{dtype}'.{did_you_mean(dtype, DTYPES)} "
            f"There are {', '.join(DTYPES)}; latents stay float32 with all of them."
        )


def resolve(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """The device and dtype of these names.

    Args:
        device: ``auto`` is this process's device as Accelerate chooses it: CUDA, then MPS, then
            CPU; under a launcher, each process has its own.
        dtype: of the network's weights; latents stay float32.
    Raises:
        LdmError: unknown names, or a device that is not there.
    """
    import torch

    check(device, dtype)
    precision: torch.dtype = getattr(torch, dtype)
    if device == "auto":
        from accelerate import PartialState

        return PartialState().device, precision
    place = torch.device(device)
    try:
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise LdmError(
            f"the device '{device}' is not available here: {str(error).splitlines()[0]}",
            "leave the device out to use what there is.",
        ) from None
    return place, precision
