"""What stands between a call of torch and what it computes, kept as it was while plugin modules are
imported: modes, hooks of all modules, and functions in the place of its operators."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ldm_core.plugins.looked_at import are_identical

ALL_MODULES = "_global_"
"""How the tables of hooks that hear of all modules are called."""
OPERATORS = "aten/"
"""How torch's own operators are called."""
OF_SHAPES = ("/Meta", "/FakeTensor")
"""How those end that compute no numbers; torch registers such itself when they are first asked."""
_guards: list[Any] = []
"""What keeps a mode away as long as it is there."""


class Interception:
    """What there was of it when this was made; nothing where torch was not imported yet. It is not
    imported for it."""

    def __init__(self) -> None:
        torch: Any = sys.modules.get("torch")
        self._modes, self._hooks = Modes(), ModuleHooks()
        self._operators = _operators(torch)
        self._there = torch is not None

    def put_back(self, changed: list[str]) -> None:
        """Have it as it was, and say what was not."""
        torch: Any = sys.modules.get("torch")
        if torch is None:
            return
        self._modes.put_back(changed)
        self._hooks.put_back(changed)
        if self._there and (new := _operators(torch) - self._operators):
            names = sorted(key.removeprefix(OPERATORS) for key in new)
            changed.append(f"torch's own operators ({', '.join(names[:3])})")
            _take_away(torch, new)


class Modes:
    """What hears of each call of torch, and whether that is inference, as when this was made."""

    def __init__(self) -> None:
        torch: Any = sys.modules.get("torch")
        self._modes = _modes(torch)
        self._inference = torch is not None and torch.is_inference_mode_enabled()

    def put_back(self, changed: list[str]) -> None:
        """Have it as it was, and say what was not."""
        torch: Any = sys.modules.get("torch")
        if torch is None:
            return
        if [*map(id, _modes(torch))] != [*map(id, self._modes)]:
            changed.append("what hears of each call of torch")
            self._put_back(torch)
        if torch.is_inference_mode_enabled() and not self._inference:
            changed.append("whether torch keeps gradients")
            _guards.append(torch._C._InferenceMode(False))

    def _put_back(self, torch: Any) -> None:
        own = torch._C
        for stack, length, pop, push in (
            (
                _functions(torch),
                own._len_torch_function_stack,
                own._pop_torch_function_stack,
                own._push_on_torch_function_stack,
            ),
            (
                _dispatches(torch),
                own._len_torch_dispatch_stack,
                lambda: own._pop_torch_dispatch_stack(None),
                own._push_on_torch_dispatch_stack,
            ),
        ):
            while length():
                pop()
            known = {id(mode) for mode in self._modes}
            for mode in stack:
                if id(mode) in known or _is_of_a_device(torch, mode):
                    push(mode)


class ModuleHooks:
    """What hears of every module's calls, as it was when this was made."""

    def __init__(self) -> None:
        self._before = {n: dict(table) for n, table in _hooks(sys.modules.get("torch")).items()}

    def put_back(self, changed: list[str]) -> None:
        """Have it as it was, and say what was not."""
        for name, table in _hooks(sys.modules.get("torch")).items():
            before = self._before.get(name, {})
            if not are_identical(dict(table), before):
                changed.append("what hears of each module's calls")
                table.clear()
                table.update(before)


def _modes(torch: Any) -> list[Any]:
    """Those in force but for torch's own for its default device."""
    if torch is None:
        return []
    both = [*_functions(torch), *_dispatches(torch)]
    return [mode for mode in both if not _is_of_a_device(torch, mode)]


def _functions(torch: Any) -> list[Any]:
    own = torch._C
    return [own._get_function_stack_at(i) for i in range(own._len_torch_function_stack())]


def _dispatches(torch: Any) -> list[Any]:
    own = torch._C
    return [own._get_dispatch_stack_at(i) for i in range(own._len_torch_dispatch_stack())]


def _is_of_a_device(torch: Any, mode: Any) -> bool:
    return type(mode) is torch.utils._device.DeviceContext


def _hooks(torch: Any) -> Mapping[str, Any]:
    if torch is None:
        return {}
    there = vars(torch.nn.modules.module)
    return {n: t for n, t in there.items() if n.startswith(ALL_MODULES) and isinstance(t, dict)}


def _operators(torch: Any) -> set[str]:
    """Torch's own operators in whose place other functions stand."""
    if torch is None:
        return set()
    keys: set[str] = torch.library._impls
    return {key for key in keys if key.startswith(OPERATORS) and not key.endswith(OF_SHAPES)}


def _take_away(torch: Any, new: set[str]) -> None:
    """Undo what stands in the place of some operators, by the libraries that put it there."""
    library = torch.library.Library
    for one in gc.get_objects():
        if type(one) is library and one._op_impls & new:
            undo: Callable[[], None] = one._destroy
            undo()
