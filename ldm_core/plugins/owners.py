"""Whose each part in use is: which plugin answers for what it does and gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ldm_core.errors import OURS, LdmError, PartError, PluginError, home_of, plainly
from ldm_core.plugins.aftermath import whose_change
from ldm_core.plugins.blame import (
    AS_THEY_ARE,
    asked_anew,
    blame,
    culprit,
    failed,
    is_forged,
    is_of_a_contract,
    is_of_others,
    module_of,
    named,
    place_of,
    with_name,
)
from ldm_core.plugins.folder import kept_folder
from ldm_core.plugins.options import plain_function
from ldm_core.plugins.registry import Plugin


class Owners:
    """Which plugin each part is of, by the part itself.

    A part of ours that was made of others', such as a scheduler around another, is answered for by
    the first of those: ours are tested with parts that do as they should.

    Args:
        plugins: that are installed, whose code may be met on the way.
    """

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self._pairs: list[tuple[Any, Plugin | None]] = []
        self._installed = tuple(plugins)

    def copy(self) -> Owners:
        """Another, which can be added to for the length of a run."""
        other = Owners(self._installed)
        other._pairs += self._pairs
        return other

    def add(self, part: Any, plugin: Plugin | None) -> None:
        """Keep whose a part is; None of one that was made in Python."""
        self._pairs.append((part, plugin))

    def passes_to(self, part: Any, made: Any) -> None:
        """Have who answers for a part answer for what came of it, such as itself fitted to a
        model."""
        if made is not part:
            self.add(made, self.of(part))

    def of(self, part: Any, kind: str = "") -> Plugin | None:
        """The plugin that answers for a part; None for one that was made in Python.

        Args:
            kind: of a part that no recipe names, such as ``family``, which is known by its class.
        """
        for own, plugin in reversed(self._pairs):
            if own is part:
                return plugin  # type: ignore[no-any-return]
        return self._by_class(part, kind)

    def is_ours(self, part: Any) -> bool:
        """Whether a part comes with ldm itself, so that what it gives need not be looked at."""
        plugin = self.of(part)
        return plugin is not None and not is_of_others(plugin)

    def called(self, part: Any, otherwise: str) -> str:
        """What messages call a part: with its package where that is not ours."""
        plugin = self.of(part)
        return plugin.whose if plugin is not None and is_of_others(plugin) else otherwise

    @contextmanager
    def blamed(self, part: Any, doing: str) -> Iterator[None]:
        """See that what goes wrong with a part that another package brings is a `PluginError`; see
        `ldm_core.plugins.blame.blamed`."""
        try:
            with self.kept_folder(part):
                yield
        except BaseException as raised:
            error = plainly(raised)
            told = self.told(error, doing, part) or named(error, self.of(part), doing)
            if told is None:
                raise
            raise told from error

    def kept_folder(self, part: Any = None) -> AbstractContextManager[None]:
        """See that other packages' parts leave the working folder as it is, and say who did not.

        Args:
            part: that is called; None where any of those in use may be.
        """
        near = [self.of(part)] if part is not None else [plugin for _, plugin in self._pairs]
        others = [plugin.whose for plugin in near if plugin is not None and is_of_others(plugin)]
        if not others:
            return nullcontext()
        return kept_folder(lambda: " or ".join(dict.fromkeys(others)))

    def whose(self, error: BaseException, part: Any) -> str | None:
        """Whose failure an error is that came out of a part's call, in words; None where it is
        no other package's. Of what another part gave beneath it, that one's."""
        if isinstance(error, PartError) and not is_forged(error):
            return self._answers_for(error)
        return failed(error, self.of(part), self._plugins, self._places)

    def told(
        self, error: BaseException, doing: str, part: Any = None, *, names: bool = False
    ) -> LdmError | None:
        """What to raise in an error's place; None for the error itself.

        Args:
            part: that was called; None where several may have been.
            names: an `LdmError` that a plugin raised is to say which plugin that is.
        """
        if is_forged(error):
            whose = culprit(
                error, None if part is None else self.of(part), self._plugins, self._places
            )
            return None if whose is None else PluginError(whose, doing, error)
        if isinstance(error, PartError):
            owner = self._answers_for(error)
            return None if owner is None else PluginError(owner, doing, error)
        plugin = None if part is None else self.of(part)
        if isinstance(error, LdmError):
            if isinstance(error, AS_THEY_ARE):
                return None
            if plugin is not None and is_of_others(plugin) and is_of_a_contract(error):
                whose = culprit(error, plugin, self._plugins, self._places)
                return None if whose is None else PluginError(whose, doing, error)
            anew = whose_change(error) or asked_anew(error, self._plugins, self._places)
            if anew is not None:
                return PluginError(anew, doing, error)
            if not names:
                return None
            whose = culprit(error, None, self._plugins, self._places)
            return None if whose is None else with_name(error, whose, doing)
        return blame(error, plugin, doing, self._plugins, self._places)

    def _answers_for(self, error: PartError) -> str | None:
        """Whose the part is of which an error speaks, in words; None where it is no other
        package's."""
        owner = self.of(error.part)
        return owner.whose if owner is not None and is_of_others(owner) else None

    @property
    def _plugins(self) -> list[Plugin]:
        """Those in use, and then the others."""
        used = {id(plugin): plugin for _, plugin in self._pairs if plugin is not None}
        return [*used.values(), *(p for p in self._installed if id(p) not in used)]

    @property
    def _places(self) -> dict[str, Plugin]:
        """The functions and classes of the parts in use, as ``module:name``."""
        places: dict[str, Plugin] = {}
        for part, plugin in self._pairs:
            if plugin is not None:
                function = plain_function(part)
                places[f"{function.__module__}:{function.__qualname__.partition('.')[0]}"] = plugin
        return places

    def _by_class(self, part: Any, kind: str) -> Plugin | None:
        """The plugin from whose package a part's class comes, such as of a family."""
        own = type(part)
        top = home_of(own)
        near = [p for p in self._plugins if module_of(p).partition(".")[0] == top]
        if top in OURS:
            return next((plugin for plugin in near if not is_of_others(plugin)), None)
        exact = [p for p in near if place_of(p) == f"{own.__module__}:{own.__qualname__}"]
        alike = [p for p in near if p.kind == kind]
        return next(iter([*exact, *alike, *near]), None)
