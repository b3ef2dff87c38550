"""Classes of Diffusers and Transformers by their names."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ldm_core.errors import LdmError

BESIDE_A_PIPELINE = {"LDMBertModel": "diffusers.pipelines.latent_diffusion"}
"""Classes that a library does not offer at its top, with the module that has them."""


def find_class(name: str) -> Any:
    """A class of Diffusers or Transformers; tokenizers in their fast form where there is one.

    Raises:
        LdmError: neither has it.
    """
    names = [name if name.endswith("Fast") else f"{name}Fast", name] if "Token" in name else [name]
    for library in ("diffusers", "transformers", *filter(None, [BESIDE_A_PIPELINE.get(name)])):
        for candidate in names:
            cls = getattr(import_module(library), candidate, None)
            if cls is not None:
                return cls
    raise LdmError(f"neither diffusers nor transformers has a class {name}.")
