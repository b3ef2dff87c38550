"""The installed families, each asked whether a model is its own, whatever becomes of the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar

from ldm_core.contracts import Family
from ldm_core.errors import LdmError, LdmWarning, plainly
from ldm_core.machine import asked_to_stop
from ldm_core.model.files import class_name
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.died import Watch
from ldm_core.plugins.discovery import in_words
from ldm_core.plugins.elsewhere_words import why_not_opened
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import Plugin, Registry
from ldm_core.plugins.surroundings import Surroundings, Traces
from ldm_core.values import brief

T = TypeVar("T")
_asked: ContextVar[str] = ContextVar("asked", default="")
"""The family that is being asked, in words; while it is, it can ask no others."""


class Families:
    """The families of a registry, ldm's own first.

    One that cannot be made or asked is left out, and a warning says so: it is of no use to its own
    models, and of no harm to the others.

    Raises:
        LdmError: a family asks for one while it is asked itself.
    """

    def __init__(self, registry: Registry) -> None:
        if asked := _asked.get():
            raise LdmError(f"{asked} opens a model while it is asked about one, which has no end.")
        plugins = sorted(registry.of_kind("family"), key=lambda p: p.distribution != OWN)
        self._registry = registry
        self._silent: list[str] = []
        self._around: Surroundings | None = None
        self._made: list[tuple[Plugin, Family]] = []
        for plugin in plugins:
            family = self._ask(plugin, "made", partial(made, plugin))
            if family is not None:
                self._made.append((plugin, family))

    def of(
        self,
        source: str,
        index: Mapping[str, Any],
        shipped_by: str | None,
        family_id: str | None = None,
    ) -> tuple[Plugin, Family]:
        """The family of a model, by its ``model_index.json``.

        Of several that claim it, that of the package which ships the model is taken, or else ldm's
        own, so that no package takes a model from those who know it; a warning names the others.

        Args:
            source: the model, as a person names it.
            shipped_by: the distribution that ships it, if any does.
            family_id: of the one that is taken of several.
        Raises:
            LdmError: none knows it, or several do and neither of these is among them.
        """
        claims = [
            (plugin, family)
            for plugin, family in self._made
            if self._ask(plugin, "matches", partial(_matches, family, index))
        ]
        if not claims:
            name = class_name(index)
            why = why_not_opened(name, self._registry)
            raise LdmError(
                f"no installed family knows the model '{source}': its {name} is of another kind"
                f"{why and f': {why}'}.",
                "\n  ".join(
                    [
                        "`ldm plugins list --kind family` shows the families there are.",
                        *(f"could not be asked: {said}" for said in self._silent),
                    ]
                ),
            )
        if len(claims) == 1:
            return claims[0]
        if wanted := [claim for claim in claims if claim[0].id == family_id]:
            return wanted[0]
        for home in (shipped_by, OWN):
            first = [claim for claim in claims if claim[0].distribution == home]
            if len(first) == 1:
                others = [plugin.whose for plugin, _ in claims if plugin is not first[0][0]]
                warnings.warn(
                    LdmWarning(
                        f"{' and '.join(others)} claims the model '{source}' too; it is left to "
                        f"'{first[0][0].id}', whose it is."
                    ),
                    stacklevel=3,
                )
                return first[0]
        ids = " and ".join(plugin.id for plugin, _ in claims)
        raise LdmError(f"{ids} both claim the model '{source}'; disable one of them.")

    def default_config(self, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        """Where the configs lie that go with a single file of these tensors; None where no family
        knows it."""
        for plugin, family in self._made:
            usual = self._ask(plugin, "default_config", partial(_default_config, family, shapes))
            if usual is not None:
                return usual
        return None

    def _ask(self, plugin: Plugin, name: str, question: Callable[[], T]) -> T | None:
        """An answer; None, and a warning, where another package's family cannot give it."""
        if plugin.distribution == OWN:
            return question()
        traces, before = Traces(), _asked.set(plugin.whose)
        if self._around is None:
            self._around = Surroundings()  # all there is is gone through: once for all questions
        try:
            with Watch() as watch, self._around.kept(plugin.package) as traces:
                what = f"{name}, a question to the family {plugin.id} of {plugin.distribution}"
                if (ended := watch.over(what, question, plugin.version)) is None:
                    return question()
                raise LdmError(f"a process that asked it {ended}")
        except BaseException as raised:
            error = plainly(raised)
            if asked_to_stop(error):
                raise
            said = f"{plugin.whose}: {' '.join(in_words(error).split())}"
            self._silent.append(said)
            warnings.warn(
                LdmWarning(f"a family could not be asked, and goes without its models: {said}"),
                stacklevel=4,
            )
            return None
        finally:
            _asked.reset(before)
            for what in (*traces.changed, *traces.false):
                warnings.warn(
                    LdmWarning(f"{plugin.whose} changed {what} while it was asked"), stacklevel=4
                )


def made(plugin: Plugin) -> Family:
    """The family that a plugin offers.

    Raises:
        LdmError: it is of another class.
    """
    return seen_as_family(plugin, with_options(plugin.loaded, {}))


def seen_as_family(plugin: Plugin, family: Any) -> Family:
    """What a plugin gives as a family, seen to be one.

    Raises:
        LdmError: it is of another class.
    """
    if not isinstance(family, Family):
        raise LdmError(
            f"the family '{plugin.id}' is no object of a class made from "
            f"ldm_core.contracts.Family, but {brief(family)}."
        )
    return family


def _matches(family: Family, index: Mapping[str, Any]) -> bool:
    answer: Any = family.matches(deepcopy(dict(index)))  # which is the others' too
    if not isinstance(answer, bool):
        raise TypeError(f"matches gave {brief(answer)}, and should give True or False")
    return answer


def _default_config(family: Family, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    answer: Any = family.default_config(dict(shapes))
    if answer is not None and not isinstance(answer, str):
        raise TypeError(f"default_config gave {brief(answer)}, and should give a name or None")
    return answer
