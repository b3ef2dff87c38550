"""The hooks of one plugin module, called without any other's."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pluggy

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.plugins import hookspecs

MODELS = "ldm_models"


class Hooks:
    """The hooks of a module, or any object with hook implementations.

    Each has a manager of its own, so that an implementation that wraps others', or says that it
    comes first, wraps none.

    Raises:
        LdmError: a hook is misspelt, or takes what none is called with.
    """

    def __init__(self, module: object) -> None:
        self._manager = pluggy.PluginManager("ldm")
        self._manager.add_hookspecs(hookspecs)
        try:
            self._manager.register(module)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            hooks = [*hookspecs.KINDS.values(), MODELS]
            word = str(error).partition("unknown hook '")[2].partition("'")[0]
            if word:
                raise LdmError(f"no hook named '{word}'.{did_you_mean(word, hooks)}") from error
            raise LdmError(" ".join(str(error).split())) from error

    def call(self, hook: str, register: Callable[..., None]) -> None:
        """Call one, with what takes what it offers.

        Raises:
            LdmError: it is of a kind that nobody goes on with, so that it offers nothing.
        """
        caller = self._manager.hook.__dict__[hook]
        for answer in caller(register=register):
            if inspect.isgenerator(answer) or inspect.isawaitable(answer):
                raise LdmError(
                    f"{hook} is a {type(answer).__name__}, which offers nothing; a hook is a plain "
                    "function that calls register"
                )
