"""Programs that torch.compile makes: what they need, and modules whose forward is one."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from os import environ
from typing import Any, Literal

from ldm_core.contracts import PlaceNames
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model import place as placement

Mode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
INDUCTOR = "inductor"
COMPILERS = ("c++", "g++", "clang++")
MOST = 64
"""Programs of one network, such as one for each size; beyond that torch says that there are too
many."""


def check_backend(backend: str, place: PlaceNames) -> None:
    """See that a backend is there, and what it needs.

    Raises:
        LdmError: torch has none of this name, or it needs a compiler that this machine lacks.
    """
    import torch

    backends = torch._dynamo.list_backends(None)  # type: ignore[no-untyped-call]
    if backend not in backends:
        raise LdmError(
            f"torch.compile has no backend '{backend}'.{did_you_mean(backend, backends)}",
            f"there are {', '.join(sorted(backends))}; '{INDUCTOR}' is the usual one.",
        )
    if backend != INDUCTOR:
        return
    names = {"device": place.device, "dtype": place.dtype, "compute_dtype": place.compute_dtype}
    device = placement.resolve(names).device
    if not any(map(shutil.which, (environ.get("CXX") or COMPILERS[0], *COMPILERS))):
        raise LdmError(
            f"torch.compile writes C++ on this machine and finds no compiler for it; looked for "
            f"{', '.join(COMPILERS)}.",
            "install one, such as the package g++, or leave the converter out.",
        )
    if device.type == "cuda" and find_spec("triton") is None:
        raise LdmError(
            "torch.compile writes Triton for this device, and the package triton is missing.",
            "`pip install triton`, or leave the converter out.",
        )


def program(function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    """A function as a program of its own, whose recompilations count for it alone.

    Args:
        options: of ``torch.compile``.
    """
    import torch

    limits = {"recompile_limit": MOST, "isolate_recompiles": True}
    takes = inspect.signature(torch.compile).parameters
    own = {name: value for name, value in limits.items() if name in takes}  # from torch 2.12 on
    made: Callable[..., Any] = torch.compile(function, **options, **own)
    return made


def with_program(module: Any, options: Mapping[str, Any], made: dict[type, type]) -> None:
    """Let a module's forward be a program.

    It becomes one of a class made for that, so that a copy of the module, such as a placement or a
    guidance makes, has the program too; what torch's own ``Module.compile`` sets, a copy loses.

    Args:
        module: of a copy that is nobody else's; is changed.
        options: of ``torch.compile``.
        made: the classes that were made for others, by their own; is added to.
    """
    cls = type(module)
    if cls not in made:
        compiled = program(cls.forward, options)

        def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
            return compiled(self, *args, **kwargs)

        body = {"forward": forward, "__module__": cls.__module__, "__doc__": cls.__doc__}
        made[cls] = type(cls.__name__, (cls,), {**body, "__qualname__": cls.__qualname__})
    module.__class__ = made[cls]
