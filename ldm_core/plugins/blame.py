"""Whose failure it is: what leaves the code of another package is told as that package's.

At edges where the plugin that is called is known, `blamed` names it. Where much is called,
`culprit` reads it off the traceback: the innermost frame of a plugin's package is its failure,
unless that frame called back into the core, such as a scheduler that asks the denoiser; then it is
the failure of what was called.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING

from ldm_core.errors import (
    OURS,
    LdmError,
    MachineError,
    NotFiniteError,
    PartError,
    PluginError,
    add_note,
    home_of,
    is_raised_by_us,
    message_and_hint,
    notes_of,
    plainly,
)
from ldm_core.machine import MET_BY, asked_to_stop, machine_error
from ldm_core.plugins.aftermath import causes, whose_change
from ldm_core.plugins.folder import kept_folder, kept_output

if TYPE_CHECKING:
    from ldm_core.plugins.registry import Plugin

OWN = "ldm-core"
"""The distribution whose plugins' faults are ours."""
ROOMS = ("ldm_core.run.", "ldm_core.jobs.", "ldm_core.cli.", "ldm_core.composition.")
"""What plugins call back into; those rooms answer for what they do with sound arguments."""
BETWEEN = frozenset({"ldm_core.run.attention", "ldm_core.run.in_batches", "ldm_core.cli.signals"})
"""Modules of those rooms that only hand on what plugins do, or hear of signals wherever that is."""
ENTERED = ("ldm_core.run.pipeline", "ldm_core.model.", *ROOMS[1:])
"""Modules of which a plugin calls what nobody gave it, such as `Pipeline.from_pretrained`."""
BEFORE_CALLS = "ldm_core.arguments"
"""Looks at what a function is called with, and calls it."""
WITHOUT_INPUTS = ("scheduler", "spacing", "guidance", "observer", "denoiser")
"""Kinds of plugins that see nothing that a person gives a run."""
CONTRACTS = "ldm_core.contracts."
AS_THEY_ARE = (PluginError, MachineError, NotFiniteError)
"""Errors that say themselves whose they are."""
OURS_ALONE = (PluginError, NotFiniteError, PartError)
"""Errors that the core raises, and no plugin: of one that does, it is the failure."""
GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR | inspect.CO_COROUTINE
"""Flags of functions that can be closed."""


@contextmanager
def blamed(
    plugin: Plugin | None, doing: str, plugins: Iterable[Plugin] = (), *, typed: bool = False
) -> Iterator[None]:
    """See that what a plugin's code raises, or ends the program with, is a `PluginError`.

    An `LdmError`, which is a person's bad input, what the machine refuses and an interrupt that a
    person sent pass as they are, and so does whatever our own plugins raise. What is wrong with a
    record that a plugin makes, such as an `Input`, is its failure too.

    Args:
        plugin: None for a part that was made in Python, whose errors are its program's.
        doing: what it is doing, as ``while it was imported``.
        plugins: others whose code may be met on the way, such as a scheduler in a command.
        typed: it is a command that a person typed, which may end the program.
    Raises:
        PluginError: its code failed.
    """
    keep = kept_output if typed else kept_folder
    kept = keep(lambda: _word(plugin)) if is_of_others(plugin) else nullcontext()
    try:
        with kept:
            yield
    except BaseException as raised:
        error = plainly(raised)
        if typed and _ends(error):
            raise
        told = blame(error, plugin, doing, plugins) or named(error, plugin, doing)
        if told is None:
            raise
        raise told from error


def named(error: BaseException, plugin: Plugin | None, doing: str) -> LdmError | None:
    """Bad input of which another package's plugin itself says that it is, as it said it, by whom;
    None for any other error, and for one that says already whose it is."""
    if plugin is None or not is_of_others(plugin) or is_raised_by_us(error):
        return None
    if not isinstance(error, LdmError) or type(error) is not LdmError:
        return None
    return with_name(error, plugin.whose, doing)


def with_name(error: LdmError, whose: str, doing: str) -> LdmError | None:
    """Bad input, as it was said, by whom; None where it says so already."""
    message, hint = message_and_hint(error)
    return None if whose in message else LdmError(f"{whose}, {doing}: {message}", hint)


def blame(
    error: BaseException,
    plugin: Plugin | None,
    doing: str,
    plugins: Iterable[Plugin] = (),
    places: Mapping[str, Plugin] = MappingProxyType({}),
) -> PluginError | None:
    """What to raise in an error's place where it is a plugin's failure; None where it is not.

    Args:
        plugin: that was called; None where that is ours or a part made in Python.
        plugins: whose code may be met on the way, those in use first.
        places: functions and classes, as ``module:name``, and whose they are.
    """
    if isinstance(error, Exception) and machine_error(error) is not None:
        _note(error, culprit(error, plugin, plugins, places), doing)
    whose = failed(error, plugin, plugins, places) or whose_change(error)
    return None if whose is None else PluginError(whose, doing, error)


def _word(plugin: Plugin | None) -> str:
    return "a plugin" if plugin is None else plugin.whose


def _note(error: Exception, whose: str | None, doing: str) -> None:
    """Have what the machine refused say which plugin met it, such as its own folder's rights."""
    if whose is not None and not any(whose in one for one in notes_of(error)):
        add_note(error, f"{MET_BY} {whose} {doing}")


def failed(
    error: BaseException,
    plugin: Plugin | None,
    plugins: Iterable[Plugin] = (),
    places: Mapping[str, Plugin] = MappingProxyType({}),
) -> str | None:
    """Whose failure an error is, in words, as of `blame`; None where it is no plugin's."""
    if is_forged(error):
        return culprit(error, plugin, plugins, places)
    if isinstance(error, LdmError):
        if plugin is None or not is_of_others(plugin):
            return None
        if isinstance(error, PartError):  # of what it gave
            return plugin.whose
        return culprit(error, plugin, plugins, places) if is_of_a_contract(error) else None
    if _passes(error):
        return None
    return culprit(error, plugin, plugins, places)


def is_forged(error: BaseException) -> bool:
    """Whether an error that the core alone raises was raised by other code."""
    return isinstance(error, OURS_ALONE) and not is_raised_by_us(error)


def is_of_a_contract(error: LdmError) -> bool:
    """Whether an error says that what a part makes, such as a `Bound`, is not as it should be."""
    if isinstance(error, (*AS_THEY_ARE, PartError)):
        return False
    made = False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        made = frame.f_code.co_name == "__post_init__" if module.startswith(CONTRACTS) else made
        if made:
            return module != f"{CONTRACTS}run"  # of which some hold what a person asks
    return False


def says_itself(error: LdmError, plugin: Plugin) -> bool:
    """Whether an error that ended a plugin's import is what its package has to say to a person, and
    not what the core said of how it was called."""
    called_wrong = is_of_others(plugin) and is_raised_by_us(error)
    return not called_wrong and not is_of_a_contract(error)


def is_of_others(plugin: Plugin | None) -> bool:
    """Whether a plugin is brought by another package than ours."""
    return plugin is not None and plugin.distribution != OWN


def culprit(
    error: BaseException,
    plugin: Plugin | None,
    plugins: Iterable[Plugin] = (),
    places: Mapping[str, Plugin] = MappingProxyType({}),
) -> str | None:
    """Whose failure an error is, in words, by its traceback and those of the errors it came from;
    None where it is ours, or a program's.

    Args:
        plugin, plugins, places: as of `blame`.
    """
    edge = [plugin] if plugin is not None and is_of_others(plugin) else []
    several = [*edge, *(other for other in plugins if is_of_others(other))]
    if not several:
        return None
    packages: dict[str, list[Plugin]] = {}
    for other in several:
        packages.setdefault(module_of(other).partition(".")[0], []).append(other)
    returned = False
    for cause in causes(error):
        frames, called_back = _frames(cause, packages)
        if frames:
            return _named(frames, packages, edge, places)
        returned = returned or called_back
    return edge[0].whose if edge and not returned else None


def place_of(plugin: Plugin) -> str:
    """Where a plugin's target is, as ``module:name``."""
    if isinstance(plugin.target, str):
        return plugin.target
    from ldm_core.plugins.options import plain_function

    function = plain_function(plugin.target)
    return f"{function.__module__}:{function.__qualname__.partition('.')[0]}"


def module_of(plugin: Plugin) -> str:
    """The module that a plugin's target is in."""
    return place_of(plugin).partition(":")[0]


def asked_anew(
    error: LdmError, plugins: Iterable[Plugin], places: Mapping[str, Plugin]
) -> str | None:
    """Whose plugin, of a kind that sees no person's input, called the core of itself for what it
    then refused, in words; None where none did.

    Args:
        plugins, places: as of `blame`.
    """
    packages: dict[str, list[Plugin]] = {}
    for other in filter(is_of_others, plugins):
        packages.setdefault(module_of(other).partition(".")[0], []).append(other)
    frames: list[FrameType] = []
    inside = entered = False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__"))
        if name.partition(".")[0] in packages.keys() - OURS:
            frames = [*frames, frame] if inside else [frame]
            inside, entered = True, False
        elif inside and name != BEFORE_CALLS:
            inside, entered = False, name.startswith(ENTERED)
    whose = _named(frames, packages, [], places) if entered else ""
    return whose if whose.startswith(tuple(f"the {kind} '" for kind in WITHOUT_INPUTS)) else None


def _frames(
    error: BaseException, packages: Mapping[str, list[Plugin]]
) -> tuple[list[FrameType], bool]:
    """The innermost frames of plugins' packages that did not call back into the core, and whether
    some did."""
    frames: list[FrameType] = []
    called_back, without_end = False, isinstance(error, RecursionError)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__"))
        top = name.partition(".")[0]
        if top in packages and top not in OURS:
            frames.append(frame)
        elif frames and name.startswith(ROOMS) and name not in BETWEEN and not without_end:
            called_back = True
            frames = []
    return frames, called_back


def _named(
    frames: list[FrameType],
    packages: Mapping[str, list[Plugin]],
    edge: list[Plugin],
    places: Mapping[str, Plugin],
) -> str:
    """Which plugin of a package the code of frames belongs to, by function or class; or the package
    alone where several may."""
    name = str(frames[-1].f_globals.get("__name__"))
    near = packages[name.partition(".")[0]]
    most = max(_shared(name, module_of(plugin)) for plugin in near)
    near = [plugin for plugin in near if _shared(name, module_of(plugin)) == most]
    for frame in reversed(frames):
        word = frame.f_code.co_qualname.partition(".")[0]
        place = f"{frame.f_globals.get('__name__')}:{word}"
        exact = [plugin for plugin in near if place_of(plugin) == place]
        if place in places:
            exact.insert(0, places[place])
        if exact:
            return exact[0].whose
    if edge and edge[0] in near:
        return edge[0].whose
    used = {id(plugin) for plugin in places.values()}
    for several in ([plugin for plugin in near if id(plugin) in used], near):
        if len({(plugin.kind, plugin.id) for plugin in several}) == 1:
            return several[0].whose
    return f"the package {near[0].distribution} {near[0].version}"


def _shared(name: str, other: str) -> int:
    """How many words two modules' names begin with together."""
    pairs = zip(name.split("."), other.split("."), strict=False)
    count = 0
    for one, two in pairs:
        if one != two:
            break
        count += 1
    return count


def _passes(error: BaseException) -> bool:
    """Whether an error is the machine's, the person's, or a word of our own to unwind."""
    if isinstance(error, KeyboardInterrupt):
        return asked_to_stop(error)
    if _closes(error) or asked_to_stop(error):
        return True
    own = home_of(type(error)) in OURS
    if own and not isinstance(error, Exception):
        return is_raised_by_us(error)
    return machine_error(error) is not None


def _closes(error: BaseException) -> bool:
    """Whether an error closes a generator, and was not raised by a function as if it did."""
    if not isinstance(error, GeneratorExit):
        return False
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not codes or bool(codes[-1].co_flags & GENERATOR)


def _ends(error: BaseException) -> bool:
    """Whether an error is a command's way to end: ``sys.exit``, or what typer makes of it."""
    return isinstance(error, SystemExit) or home_of(type(error)) in (
        "click",
        "typer",
    )
