"""Ready-made pipelines, training commands and the models that ship with the package.

What measures and compares, from Python: `compare`, `converge`, `evaluate` and `reconstruct`.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from ldm_pipelines.comparing.calling import compare as compare
    from ldm_pipelines.convergence.measuring import converge as converge
    from ldm_pipelines.evaluating.evaluate import evaluate as evaluate
    from ldm_pipelines.evaluating.reconstruction import reconstruct as reconstruct

_HOMES = {
    "compare": "comparing.calling",
    "converge": "convergence.measuring",
    "evaluate": "evaluating.evaluate",
    "reconstruct": "evaluating.reconstruction",
}
__all__ = ["compare", "converge", "evaluate", "reconstruct"]


def __getattr__(name: str) -> "Any":
    """Import what is asked for, when it is asked for: listing commands must import no picture."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
