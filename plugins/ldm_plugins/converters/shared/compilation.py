"""Programs that torch.compile makes: what they need, and modules whose forward is one."""

from __future__ import annotations

import inspect
import shutil
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from os import environ
from typing import Any, Literal
from weakref import WeakKeyDictionary

from ldm_core.contracts import PlaceNames
from ldm_core.errors import LdmError, LdmWarning, did_you_mean
from ldm_core.model import place as placement
from ldm_plugins.converters.shared.reclassed import parted, with_mixin

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

    backends = torch._dynamo.list_backends(None)
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
    if device.type == "cuda":
        check_triton()


def check_triton() -> None:
    """See that what torch.compile writes for CUDA can be compiled.

    Raises:
        LdmError: it cannot.
    """
    if find_spec("triton") is None:
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
    compiler: Any = torch.compile
    made: Callable[..., Any] = compiler(function, **options, **own)
    return made


def with_program(module: Any, options: Mapping[str, Any], made: dict[type, type]) -> None:
    """Let a module's forward be a program.

    It becomes one of a class made for that, so that a copy of the module, such as a placement or a
    guidance makes, has the program too; what torch's own ``Module.compile`` sets, a copy loses. In
    a copy whose layers do something else than their class says, as guidance makes them, that may be
    what no program can do; such a one runs as it is, which is said. What a layer does more than its
    class, such as leaving itself out, stays before the program.

    Args:
        module: of a copy that is nobody else's; is changed.
        options: of ``torch.compile``.
        made: the classes that were made for others, by their own; is added to.
    """
    mixin, cls = parted(type(module))
    if cls not in made:
        compiled, altered = program(cls.forward, options), Altered()

        def forward(self: Any, *args: Any, **named: Any) -> Any:
            return (cls.forward if altered(self) else compiled)(self, *args, **named)

        body = {"forward": forward, "__module__": cls.__module__, "__doc__": cls.__doc__}
        made[cls] = type(cls.__name__, (cls,), {**body, "__qualname__": cls.__qualname__})
    module.__class__ = made[cls] if mixin is None else with_mixin(mixin, made[cls])


class Altered:
    """Whether layers of a module were given another forward than that of their class; seen when it
    is first called."""

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()

    def __call__(self, module: Any) -> bool:
        seen = self._seen.get(module)
        if seen is None:
            inner = [own for own in module.modules() if own is not module]
            seen = self._seen[module] = any("forward" in vars(own) for own in inner)
            if seen:
                warnings.warn(
                    f"layers of a {type(module).__name__} do something else in a branch of the "
                    "guidance, and there it runs as it is, not compiled.",
                    LdmWarning,
                    stacklevel=2,
                )
        return seen


def blocks_of(cls: Any) -> tuple[str, ...]:
    """The classes of the blocks that a network repeats, by name, as Diffusers says."""
    from diffusers import ModelMixin

    if not issubclass(cls, ModelMixin):
        return ()
    return tuple(cls._repeated_blocks or ())
