"""Which converters make a model faster, as each says of itself what was measured.

A recipe's ``fast`` stands for them; the composition that comes of it names them, so that a
picture's manifest does too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.fitting import check_said
from ldm_core.composition.parts import make
from ldm_core.composition.recipe import Fast, Layer
from ldm_core.contracts import Converter, Phase, PlaceNames, Speedup
from ldm_core.errors import LdmError, LdmWarning, PluginError
from ldm_core.model import place
from ldm_core.plugins.blame import OWN, blamed, is_of_others
from ldm_core.plugins.options import REQUIRED
from ldm_core.plugins.registry import Plugin
from ldm_core.plugins.trust import LOCAL, normalised
from ldm_core.values import brief


@dataclass(frozen=True)
class Candidate:
    """A converter with options that make a model faster.

    Attributes:
        plugin: its name.
        speedup: what it says of itself.
        refusal: why it is left out; empty where it is taken.
    """

    plugin: Plugin
    speedup: Speedup
    refusal: str = ""

    @property
    def choice(self) -> Layer:
        """As an entry of a recipe's ``converters``."""
        return {"name": self.plugin.id, **self.speedup.options}

    def __str__(self) -> str:
        options = ", ".join(f"{name} = {value}" for name, value in self.speedup.options.items())
        name = f"{self.plugin.name} ({options})" if options else self.plugin.name
        if self.refusal:
            return f"{name} is left out: {self.refusal}"
        error = f", lossy: {self.speedup.error}" if self.speedup.error else ""
        if self.speedup.factor is None:
            said = f"{self.speedup.why}; not measured here, which `ldm tune` does"
            return f"{name}, published to pay{error} ({said})"
        return f"{name}, {self.speedup.factor:.2f} of the time{error} ({self.speedup.why})"


@dataclass(frozen=True)
class Faster:
    """A composition with converters that make it faster.

    Attributes:
        composition: with those that are taken beside its own.
        candidates: all that there were, the fastest first.
        unasked: converters of packages that the person named nowhere.
    """

    composition: Composition
    candidates: tuple[Candidate, ...] = field(default=())
    unasked: tuple[Plugin, ...] = field(default=())

    @property
    def taken(self) -> list[Candidate]:
        """Those that the composition has."""
        return [candidate for candidate in self.candidates if not candidate.refusal]

    def __str__(self) -> str:
        said = self._of_candidates()
        if self.unasked:
            names = ", ".join(f"{plugin.id} {plugin.version}" for plugin in self.unasked)
            said += (
                f" Not asked, as you chose nothing of their packages: {names}; to have one, name "
                "it among the converters."
            )
        return said

    def _of_candidates(self) -> str:
        if not self.candidates:
            return (
                "fast: no installed converter says that it makes this model faster on this device "
                "in these types."
            )
        head = "fast: " if self.taken else "fast: nothing is taken; "
        return head + "; ".join(map(str, self.candidates)) + "."


def faster(
    composition: Composition,
    fast: Fast,
    with_converters: Callable[[Composition, list[Layer]], Composition],
    allowed: Set[str] = frozenset(),
) -> Faster:
    """A composition with those converters beside its own that pay for its model on its device.

    Taken is what is fastest first, and then whatever goes with that. Converters of another package
    are asked where a plugin of it is chosen, an allow-list names it, or it is a file of the
    person's own: being installed is no leave to change what a model computes with.

    Args:
        with_converters: the composition with so many entries of ``converters`` in all.
        allowed: distributions that allow-lists name, normalised.
    """
    candidates: list[Candidate] = []
    taken: list[Layer] = list(composition.recipe.get("converters", []))
    named = _named(composition, allowed)
    unasked = [p for p in composition.registry.of_kind("converter") if not named(p)]
    several = _candidates(composition, fast, named)
    steps = composition.recipe.get("num_inference_steps", 1)
    for candidate in sorted(several, key=_time):
        if any(c.plugin is candidate.plugin and not c.refusal for c in candidates):
            continue  # with other options, faster
        try:
            if (least := candidate.speedup.least_steps) > steps:
                raise LdmError(f"it pays from {least} steps on, and a run has {steps}.")
            more = with_converters(composition, [*taken, candidate.choice])
            if candidate.speedup.error is None and not _stays_lossless(composition, more):
                raise LdmError(
                    "it does not keep the picture, and does not say by how much it moves."
                )
        except LdmError as error:
            hint = f" ({error.hint.rstrip('.')})" if error.hint else ""
            refusal = error.message.rstrip(".") + hint
            candidate = Candidate(candidate.plugin, candidate.speedup, refusal)
        else:
            composition = more
            taken.append(candidate.choice)
        candidates.append(candidate)
    return Faster(composition, tuple(candidates), tuple(unasked))


def _time(candidate: Candidate) -> float:
    """Of which the least comes first; of what was not measured, that of the whole."""
    factor = candidate.speedup.factor
    return 1.0 if factor is None else factor


def _named(composition: Composition, allowed: Set[str]) -> Callable[[Plugin], bool]:
    """Whether a plugin is ours, or of a package that the person named."""
    chosen = {plugin.distribution for plugin in composition.plugins} | {OWN, LOCAL}
    return lambda plugin: (
        plugin.distribution in chosen or normalised(plugin.distribution) in allowed
    )


def _stays_lossless(composition: Composition, more: Composition) -> bool:
    """Whether a composition has no more lossy converters than one with fewer."""
    lossy = [sum(not part.lossless for part in c.converters) for c in (composition, more)]
    return lossy[0] == lossy[1]


def _candidates(
    composition: Composition, fast: Fast, named: Callable[[Plugin], bool]
) -> Iterator[Candidate]:
    """Converters that are not chosen yet, with each of their options that are faster."""
    names = place.names(composition.recipe)
    for plugin, converter in unchosen(composition, named):
        for speedup in speedups(plugin, converter, composition, names):
            pays = speedup.factor is None or speedup.factor < 1
            if pays and (speedup.error is None or fast == "lossy"):
                yield Candidate(plugin, speedup)


def speedups(
    plugin: Plugin, converter: Converter, composition: Composition, names: PlaceNames
) -> list[Speedup]:
    """What a converter says that it makes faster; of one of another package that fails to, nothing,
    which is said."""
    try:
        with blamed(plugin, "while it said what it makes faster"):
            several = list(converter.speedups(composition.info, names))
    except PluginError as error:
        warnings.warn(LdmWarning(f"{error.message}; it is left out."), stacklevel=2)
        return []
    strange = next((one for one in several if not _is_sound(one)), None)
    if strange is not None and is_of_others(plugin):
        what = f"{plugin.whose} says {brief(strange)} of what it makes faster, which is no Speedup"
        warnings.warn(LdmWarning(f"{what}; it is left out."), stacklevel=2)
        return []
    return several


def _is_sound(speedup: Any) -> bool:
    """Whether that is a speedup, of the types that it should be of."""
    if not isinstance(speedup, Speedup) or not isinstance(speedup.options, Mapping):
        return False
    factor, steps = speedup.factor, speedup.least_steps
    number = factor is None or (isinstance(factor, int | float) and factor > 0)
    number = number and isinstance(steps, int) and steps > 0
    error = speedup.error is None or isinstance(speedup.error, str)
    return number and error and isinstance(speedup.why, str)


def unchosen(
    composition: Composition, asked: Callable[[Plugin], bool] = lambda plugin: True
) -> Iterator[tuple[Plugin, Converter]]:
    """Each installed converter that needs no options, does not say where weights lie, and is not
    in a composition, as it is without options. One of another package that fails is told.

    Args:
        asked: which of them are looked at.
    """
    for plugin in composition.registry.of_kind("converter"):
        if plugin in composition.plugins or not asked(plugin):
            continue
        try:
            if any(option.default is REQUIRED for option in plugin.options.values()):
                continue
            used: list[Plugin] = []
            choice: dict[str, Any] = {"name": plugin.id}
            converter = make("converters", choice, composition.registry, used, composition.defaults)
            if is_of_others(plugin):
                check_said("converter", converter, converter)
        except PluginError as error:
            warnings.warn(LdmWarning(f"{error.message}; it is left out."), stacklevel=2)
            continue
        except LdmError:  # it cannot be used here, as whoever chooses it is told
            continue
        if converter.phase is not Phase.PLACEMENT:
            yield plugin, converter
