"""How torch computes where nobody says it, kept as it was while plugin modules are imported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

UNKNOWN = object()
"""What a setting is at first that depends on the machine."""
DEVICES = ("cpu", "cuda")
TINY, ONE = 5e-324, 1.0
"""The smallest number there is, and what it is multiplied by."""


class Arithmetic:
    """Torch's defaults as they were when this was made, or as torch has them where it was not
    imported yet. It is not imported for it."""

    def __init__(self) -> None:
        self._before = {name: get() for name, (get, _, _) in _settings().items()}

    def put_back(self, changed: list[str]) -> None:
        """Have them as they were, and say what was not."""
        for name, (get, put, usual) in _settings().items():
            before = self._before.get(name, usual)
            if before is not UNKNOWN and get() != before:
                changed.append(name)
                put(before)


def _settings() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Any]]:
    """Each setting's name, with what reads it, what sets it, and what it is at first."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "torch's default type": (
            torch.get_default_dtype,
            torch.set_default_dtype,
            torch.float32,
        ),
        "where torch makes tensors": (
            torch.get_default_device,
            lambda device: torch.set_default_device(None if device.type == "cpu" else device),
            torch.device("cpu"),
        ),
        "whether torch keeps gradients": (
            torch.is_grad_enabled,
            torch.set_grad_enabled,
            True,
        ),
        "how exactly torch multiplies": (
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
            "highest",
        ),
        "whether torch is deterministic": (
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
            False,
        ),
        "how many threads torch has": (torch.get_num_threads, torch.set_num_threads, UNKNOWN),
        "what torch rounds by itself": (
            lambda: _autocast(torch),
            lambda states: _set_autocast(torch, states),
            (("cpu", False, torch.bfloat16), ("cuda", False, torch.float16)),
        ),
        "whether torch looks for anomalies": (
            torch.is_anomaly_enabled,
            torch.autograd.set_detect_anomaly,
            False,
        ),
        "whether the smallest numbers are zero": (
            lambda: TINY * ONE == 0,
            torch.set_flush_denormal,
            False,
        ),
        "which kernels torch takes": (
            lambda: tuple(get() for get, _ in _kernels(torch)),
            lambda states: [put(on) for (_, put), on in zip(_kernels(torch), states, strict=True)],
            (True, True, True, True, True, True, False, False),
        ),
    }


def _autocast(torch: Any) -> tuple[tuple[str, bool, Any], ...]:
    return tuple(
        (device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
        for device in DEVICES
    )


def _set_autocast(torch: Any, states: tuple[tuple[str, bool, Any], ...]) -> None:
    for device, on, dtype in states:
        torch.set_autocast_enabled(device, on)
        torch.set_autocast_dtype(device, dtype)


def _kernels(torch: Any) -> tuple[tuple[Callable[[], bool], Callable[[bool], Any]], ...]:
    """What says of some kernels whether torch takes them, and what has it take them or not."""
    own, cuda = torch._C, torch.backends.cuda
    return (
        (own._get_mkldnn_enabled, own._set_mkldnn_enabled),
        (own._get_cudnn_enabled, own._set_cudnn_enabled),
        (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        (cuda.math_sdp_enabled, cuda.enable_math_sdp),
        (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
        (own._get_cudnn_benchmark, own._set_cudnn_benchmark),
        (own._get_cudnn_deterministic, own._set_cudnn_deterministic),
    )
