"""`ldm compare`: the same pictures with each choice of values, side by side."""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from ldm_pipelines.comparing.calling import compare as compare
    from ldm_pipelines.comparing.comparison import Cell as Cell
    from ldm_pipelines.comparing.comparison import Comparison as Comparison
    from ldm_pipelines.comparing.comparison import Shot as Shot

_HOMES = {
    "compare": "calling",
    "Cell": "comparison",
    "Comparison": "comparison",
    "Shot": "comparison",
}
__all__ = ["Cell", "Comparison", "Shot", "compare"]


def __getattr__(name: str) -> "Any":
    """Import what is asked for, when it is asked for: listing commands must import no picture."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
