"""OpenVINO as a library alone: its import would report itself to its maker, and keep a file of that
in the person's home, unasked."""

from __future__ import annotations

import sys
from typing import Any

TELEMETRY = "openvino_telemetry"
"""A package of its own, without which OpenVINO does nothing of the kind."""


def import_openvino() -> Any:
    """The package ``openvino``; its modules may be imported after this."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    modules: dict[str, Any] = sys.modules
    before = modules.get(TELEMETRY)
    modules[TELEMETRY] = None  # as if it were not installed
    try:
        import openvino
    finally:
        del modules[TELEMETRY]
        if before is not None:
            modules[TELEMETRY] = before
    return openvino
