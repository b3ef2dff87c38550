"""ldm: latent-diffusion pipelines whose every choice is a plugin picked by name."""

TYPE_CHECKING = False
"""As `typing` has it. Nothing is imported here: the command line has not left the folder that it is
run in, where a module of that name could lie."""

if TYPE_CHECKING:
    from typing import Any

    from ldm_core.errors import LdmError as LdmError
    from ldm_core.errors import NotFiniteError as NotFiniteError
    from ldm_core.jobs.job import Job as Job
    from ldm_core.plugins.hookspecs import hookimpl as hookimpl
    from ldm_core.run.chain import chain as chain
    from ldm_core.run.output import Output as Output
    from ldm_core.run.pipeline import Pipeline as Pipeline

_HOMES = {
    "chain": "ldm_core.run.chain",
    "Job": "ldm_core.jobs.job",
    "LdmError": "ldm_core.errors",
    "NotFiniteError": "ldm_core.errors",
    "hookimpl": "ldm_core.plugins.hookspecs",
    "Output": "ldm_core.run.output",
    "Pipeline": "ldm_core.run.pipeline",
}
__all__ = ["Job", "LdmError", "NotFiniteError", "Output", "Pipeline", "chain", "hookimpl"]


def __getattr__(name: str) -> "Any":
    """Import what is asked for, when it is asked for: listing plugins must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ldm_core' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
