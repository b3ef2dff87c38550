"""How torch computes where nobody says it, kept as it was while plugin modules are imported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class Arithmetic:
    """Torch's defaults as they were when this was made, or as torch has them where it was not
    imported yet. It is not imported for it."""

    def __init__(self) -> None:
        self._before = {name: get() for name, (get, _, _) in _settings().items()}

    def put_back(self, changed: list[str]) -> None:
        """Have them as they were, and say what was not."""
        for name, (get, put, usual) in _settings().items():
            before = self._before.get(name, usual)
            if get() != before:
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
    }
