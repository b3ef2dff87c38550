"""Kernels from the Hugging Face Hub, which are programs: a few that are known, and each with the
person's permission alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model.hub import is_offline
from ldm_core.model.hub_permission import NotAskedError, may_ask


def check_repository(name: str, known: Mapping[str, int], kernel: str) -> None:
    """See that a kernel may be had from a repository.

    Args:
        name: of the repository, ``owner/name``.
        known: those that a kernel is taken from, with the version of each.
        kernel: what wants it, for messages.
    Raises:
        LdmError: it is none of those, the Hub is not to be asked, or `kernels` is not installed.
    """
    if name not in known:
        raise LdmError(
            f"a kernel from the Hub is a program, and '{name}' is none that {kernel} knows."
            f"{did_you_mean(name, known)} It knows {', '.join(known)}."
        )
    if find_spec("kernels") is None:
        raise LdmError(
            f"{kernel} needs the package kernels for '{name}' of the Hub.",
            "pip install 'ldm-core[kernels]'",
        )
    if is_offline():
        raise LdmError(
            f"{kernel} would take the program '{name}' from the Hub, which is not to be asked: "
            "HF_HUB_OFFLINE is set.",
        )
    if not may_ask(name):
        raise NotAskedError(
            f"{kernel} would take the program '{name}' from the Hub and run it, which nobody "
            "allowed.",
            "--allow-hub allows it; look at the repository first.",
        )


@cache
def function_of(name: str, version: int, function: str) -> Callable[..., Any]:
    """A function of a kernel of the Hub, fetched when it is first asked for.

    Args:
        version: of the repository's kernel, which stays what it is.
    """
    module = import_module("kernels").get_kernel(name, version=version)
    loaded: Callable[..., Any] = module.__dict__[function]
    return loaded
