"""The hooks of one plugin module, called without any other's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pluggy

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins import hookspecs
from ldm_core.values import brief

MODELS = "ldm_models"
Call = Callable[[Callable[..., None]], None]
"""``call(register)``: calls one hook, with what takes what it offers."""


@contextmanager
def hooks_of(module: object) -> Iterator[dict[str, Call]]:
    """The hooks that a module, or any object, implements, by name.

    Meanwhile no other module is registered, so that an implementation that wraps others', or says
    that it comes first, wraps none.

    Raises:
        LdmError: a hook is misspelt, or takes what none is called with; when one is called: it is
            of a kind that nobody goes on with, so that it offers nothing.
    """
    manager = _free.pop() if _free else _new()
    try:
        manager.register(module)
        manager.check_pending()
        callers = manager.get_hookcallers(module) or []
        marked = {caller.name for caller in callers}
        there = {*dir(module)} & {*hookspecs.KINDS.values(), MODELS}
        for name in sorted(there - marked):
            raise LdmError(f"its {name} is not marked as a hook, by ldm_core.hookimpl above it")
        for caller in callers:
            if not all(map(_takes, caller.get_hookimpls())):
                raise LdmError(f"its {caller.name} takes no 'register', and so offers nothing")
        yield {caller.name: _call(caller) for caller in callers}
        manager.unregister(module)
        _free.append(manager)  # of one in which something failed nobody knows what is left there
    except pluggy.PluginValidationError as error:
        hooks = [*hookspecs.KINDS.values(), MODELS]
        word = str(error).partition("unknown hook '")[2].partition("'")[0]
        if word:
            raise LdmError(f"no hook named '{word}'.{did_you_mean(word, hooks)}") from error
        raise LdmError(" ".join(str(error).split())) from error


MARKED = (FunctionType, staticmethod, classmethod, MethodType)
"""What can be marked as a hook."""


class _Manager(pluggy.PluginManager):
    """One that passes by what a module holds and no hook can be, which is most of it."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if type(plugin) is ModuleType and not issubclass(type(vars(plugin).get(name)), MARKED):
            return None
        return super().parse_hookimpl_opts(plugin, name)


_free: list[pluggy.PluginManager] = []
"""Managers in which no module is registered."""


def _new() -> pluggy.PluginManager:
    manager = _Manager("ldm")
    manager.add_hookspecs(hookspecs)
    return manager


def _takes(own: pluggy.HookImpl) -> bool:
    """Whether an implementation is given what takes its offers; one that wraps others' offers
    nothing itself."""
    return "register" in own.argnames or own.wrapper or own.hookwrapper


def _call(caller: pluggy.HookCaller) -> Call:
    def call(register: Callable[..., None]) -> None:
        calls = 0

        def counted(*args: Any, **more: Any) -> None:
            nonlocal calls
            calls += 1
            register(*args, **more)

        for answer in caller(register=counted):
            if inspect.isgenerator(answer) or inspect.isawaitable(answer):
                raise LdmError(
                    f"{caller.name} is a {type(answer).__name__}, which offers nothing; a hook is "
                    "a plain function that calls register"
                )
            if not calls:
                raise LdmError(
                    f"{caller.name} returned {brief(answer)}, of which nothing comes; a hook calls "
                    "register for each thing that it offers"
                )

    return call
