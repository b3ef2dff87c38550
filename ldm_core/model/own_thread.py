"""Networks built in one thread, without altering torch for the others.

To build a network of which the weights come later, Accelerate, Diffusers, Transformers and PEFT
put other functions in the places of torch's, and set torch's default type: for the whole process,
until the network is built. What another thread builds or computes meanwhile is then without
numbers, without first weights or in half precision; and where two threads read at once, the second
puts back what the first had put there, for good. `protect` puts functions in the places of theirs
that do the same for the thread that reads and nothing for any other, whoever reads.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Watch = Callable[[Any, str, Any], Any]


class _Mine(threading.local):
    """What is asked for each module and each parameter that this thread gives to a module, and the
    type that a network is about to be built in."""

    def __init__(self) -> None:
        self.modules: tuple[Watch, ...] = ()
        self.parameters: tuple[Watch, ...] = ()
        self.dtype: torch.dtype | None = None


_mine = _Mine()
_lock = threading.Lock()
_watched = False
_protected: set[int] = set()


@contextmanager
def registering(module: Watch | None = None, parameter: Watch | None = None) -> Iterator[None]:
    """Have this thread ask before it gives a module another, or a parameter.

    Args:
        module, parameter: take the module, the name and what it is given; what they return, unless
            it is None, is given in its place.
    """
    _watch()
    before = _mine.modules, _mine.parameters
    _mine.modules += () if module is None else (module,)
    _mine.parameters += () if parameter is None else (parameter,)
    try:
        yield
    finally:
        _mine.modules, _mine.parameters = before


def _watch() -> None:
    """Tell torch once for all threads: its list of whom to tell can't change while one goes through
    it."""
    global _watched
    from torch.nn.modules.module import (
        register_module_module_registration_hook,
        register_module_parameter_registration_hook,
    )

    with _lock:
        if not _watched:
            register_module_module_registration_hook(_given_module)
            register_module_parameter_registration_hook(_given_parameter)
            _watched = True


def _given_module(parent: nn.Module, name: str, child: nn.Module | None) -> Any:
    for watch in _mine.modules:
        child = child if (other := watch(parent, name, child)) is None else other
    return child


def _given_parameter(parent: nn.Module, name: str, tensor: Tensor | None) -> Any:
    for watch in _mine.parameters:
        tensor = tensor if (other := watch(parent, name, tensor)) is None else other
    return tensor


def protect() -> None:
    """Have those libraries that are imported alter torch for the thread alone that builds a
    network. Costs nothing once it is done."""
    for name, put in _PUT.items():
        module = sys.modules.get(name)
        if module is not None and id(module) not in _protected:
            with _lock:
                if id(module) not in _protected:
                    put(module)
                    _protected.add(id(module))


def _accelerate(module: ModuleType) -> None:
    """Parameters on another device, which are most often those without numbers."""
    _around(module, "init_on_device", lambda theirs: _on_device_by(theirs, lambda: False))


def _peft(module: ModuleType) -> None:
    """As Accelerate's, which a layer may ask to rest."""

    def rests() -> bool:
        return bool(vars(vars(module)["_init_on_device"]).get("_skip", False))

    _around(module, "_init_on_device", lambda theirs: _on_device_by(theirs, rests))


def _on_device_by(theirs: Any, rests: Callable[[], bool]) -> Any:
    @contextmanager
    def init_on_device(device: torch.device, include_buffers: bool | None = None) -> Iterator[None]:
        def moved(_: Any, __: str, given: Any) -> Any:
            if given is None or rests():
                return None
            own = {**vars(given), "requires_grad": given.requires_grad}
            marked = own.pop("_is_hf_initialized", None)  # no argument of its class
            other = type(given)(given.to(device), **own)
            if marked is not None:
                other._is_hf_initialized = marked
            return other

        with theirs(device, include_buffers) if include_buffers else registering(None, moved):
            yield

    return init_on_device


def _diffusers(module: ModuleType) -> None:
    """First weights left undrawn, and torch's default type, while a network is built; it is the
    former that lasts exactly so long."""
    from ldm_core.model.own_dtype import by_default

    names = vars(module).get("TORCH_INIT_FUNCTIONS")
    mixin = vars(module).get("ModelMixin")
    if names is None or mixin is None or "_set_default_torch_dtype" not in vars(mixin):
        return

    def set_dtype(cls: Any, dtype: torch.dtype) -> None:
        if not dtype.is_floating_point:
            raise ValueError(f"Can't instantiate {cls.__name__} with the type {dtype}.")
        _mine.dtype = dtype

    def around(_: Any) -> Any:
        @contextmanager
        def no_init_weights() -> Iterator[None]:
            dtype, _mine.dtype = _mine.dtype, None
            with _undrawn(names), by_default(dtype):
                yield

        return no_init_weights

    if _around(module, "no_init_weights", around) is not None:
        mixin._set_default_torch_dtype = classmethod(set_dtype)


@contextmanager
def _undrawn(functions: dict[str, Any]) -> Iterator[None]:
    import torch

    thread, building = threading.get_ident(), True

    def unless_mine(function: Any) -> Any:
        def draw(*args: Any, **options: Any) -> Any:
            mine = building and threading.get_ident() == thread
            return None if mine else function(*args, **options)

        return draw

    vars(torch.nn.init).update({name: unless_mine(one) for name, one in functions.items()})
    try:
        yield
    finally:
        building = False
        vars(torch.nn.init).update(functions)


def _transformers(module: ModuleType) -> None:
    """Torch's default type while a network is built."""
    from ldm_core.model.own_dtype import by_default

    def around(theirs: Any) -> Any:
        def local_torch_dtype(dtype: torch.dtype, model_class_name: str | None = None) -> Any:
            known = dtype.is_floating_point  # else theirs says what is wrong
            return by_default(dtype) if known else theirs(dtype, model_class_name)

        return local_torch_dtype

    _around(module, "local_torch_dtype", around)


def _tying(module: ModuleType) -> None:
    """Weights left untied while a network is built."""

    def around(_: Any) -> Any:
        @contextmanager
        def no_tie_weights() -> Iterator[None]:
            base: Any = vars(sys.modules["transformers.modeling_utils"])["PreTrainedModel"]
            theirs, thread, building = base.tie_weights, threading.get_ident(), True

            def tie_weights(self: Any, *args: Any, **options: Any) -> Any:
                mine = building and threading.get_ident() == thread
                return None if mine else theirs(self, *args, **options)

            base.tie_weights = tie_weights
            try:
                yield
            finally:
                building = False
                base.tie_weights = theirs

        return no_tie_weights

    _around(module, "no_tie_weights", around)


def _around(module: ModuleType, name: str, around: Callable[[Any], Any]) -> Any:
    """Put another function in the place of one, where this version has it; None where it lacks
    it."""
    theirs = vars(module).get(name)
    if theirs is None:
        return None
    own = around(theirs)
    setattr(module, name, own)
    return own


_PUT: dict[str, Callable[[ModuleType], None]] = {
    "accelerate.big_modeling": _accelerate,
    "diffusers.models.modeling_utils": _diffusers,
    "peft.utils.integrations": _peft,
    "transformers.initialization": _tying,
    "transformers.modeling_utils": _transformers,
}
