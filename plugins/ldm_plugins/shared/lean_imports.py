"""Diffusers and Transformers imported without what a run does not ask for.

To import one network, both run the index of every network that they have, and import each optional
package that is installed: together four fifths of the time. `indexes_later` changes nothing but
the order: an index runs once a name is asked for that is in none of its modules; and with
`looked_at_later` so does a package that they look at in some calls. `as_if_absent`
makes optional packages look as if they were not installed, which both libraries are made for; that
is for a process which makes one run, see `ldm_core.model.own_program`, and ends.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from importlib import import_module, metadata
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from ldm_core.plugins.registry import Plugin

LIBRARIES = ("diffusers", "transformers", "accelerate")
NETWORKS = (
    "diffusers.models.unets",
    "diffusers.models.transformers",
    "diffusers.models.autoencoders",
    "diffusers.hooks",
)
"""Packages whose own code imports all that is in them, and nothing else; what holds them looks at
none of their names by itself."""
LOOKED_AT_LATER = ("scipy.stats",)
"""Packages that the libraries import whole, for what some of their calls ask for."""
LISTS = ("transformers", "transformers.models")
"""Packages whose own code lists all that is in them."""
OFFERED = {
    "transformers.PreTrainedModel": "transformers.modeling_utils",
    "transformers.AutoImageProcessor": "transformers.models.auto.image_processing_auto",
}
"""Where names of an index are, which Diffusers imports with every network."""
READ_AGAIN = "direct_transformers_import"
"""A function of Transformers that runs its index once more and returns it."""
ABSENT = ("torchao", "peft", "gguf")
"""Optional packages that no run asks for whose plugins are in `WITHOUT`."""
ABSENT_MEANWHILE = ("scipy",)
"""Those that such a run may ask for itself, once the libraries are imported."""
COMPILER = "torch._dynamo"
"""A package that is imported for what marks functions for it, by the libraries and by torch itself
where it draws first weights; here it stays unread until something is compiled."""
DECORATORS = ("allow_in_graph", "assume_constant_result", "disable")
WITHOUT = {
    "command": {"class-to-image", "generate", "image-to-image", "inpaint", "outpaint"}
    | {"text-to-image", "unconditional"},
    "attention": {"chunked", "native", "sliced"},
    "conditioning": {"class_label", "image", "mask", "size", "target_class", "text"},
    "converter": set[str](),
    "guidance": {"classifier_free", "embedded", "none"},
}
"""By kind, the plugins of this package that need no optional package, where not all of them do."""


def can_spare(plugins: Sequence[Plugin]) -> bool:
    """Whether a run with these plugins asks for no optional package of the libraries."""
    return all(
        plugin.distribution == "ldm-core"
        and plugin.name in WITHOUT.get(plugin.kind, {plugin.name})
        and plugin.member is None  # of a set whose members are anyone's
        for plugin in plugins
    )


class _Running(threading.local):
    """The packages whose own code this thread runs."""

    def __init__(self) -> None:
        self.names: set[str] = set()


_running = _Running()


class Index(ModuleType):
    """A package whose own code runs once a name is asked for that is none of its modules.

    Several threads may run it at once: it does nothing but import, which is no other the second
    time, and a lock of ours beside those of Python's imports could keep two waiting for ever.
    """

    _has_run = False

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":  # asked for by ``import *``, for which all is to be there
            self._run()
        if name.startswith("__"):
            raise AttributeError(name)
        whole = f"{self.__name__}.{name}"
        if whole in OFFERED:
            return vars(import_module(OFFERED[whole]))[name]
        if not self._has_run and find_spec(whole) is not None:
            return import_module(whole)
        self._run()
        now = sys.modules[self.__name__]  # which may have put another in its own place
        if now is not self:
            return getattr(now, name)
        try:
            return vars(self)[name]
        except KeyError:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'") from None

    def __dir__(self) -> list[str]:
        self._run()
        return sorted(vars(self))

    def _run(self) -> None:
        """Run the package's own code, unless that has been, or is what asks in this thread."""
        running = _running.names
        if self._has_run or self.__name__ in running:
            return
        running.add(self.__name__)
        try:
            spec: Any = self.__spec__
            spec.loader.exec_module(self)
            self._has_run = True
        finally:
            running.discard(self.__name__)


class _StandIn(ModuleType):
    """In the place of a package until anything in it is asked for, which is then the package's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        _leave(self)
        return getattr(import_module(self.__name__), name)


def _leave(stand_in: ModuleType) -> None:
    if sys.modules.get(stand_in.__name__) is stand_in:
        sys.modules.pop(stand_in.__name__, None)


@contextmanager
def looked_at_later() -> Iterator[None]:
    """Import meanwhile without what the libraries only look at in some calls: a later
    ``scipy.stats`` imports it as SciPy does, which finds its packages by their names."""
    stand_ins = []
    for name in LOOKED_AT_LATER:
        whole, _, part = name.partition(".")
        if name in sys.modules or find_spec(whole) is None:
            continue
        if part in dir(import_module(whole)):  # it offers what it has not imported yet
            stand_ins.append(sys.modules.setdefault(name, _StandIn(name)))
    try:
        yield
    finally:
        for stand_in in stand_ins:
            _leave(stand_in)


def indexes_later(names: Sequence[str]) -> None:
    """Have the indexes of the libraries run when they are asked for; those that are imported
    already, or that a version lacks, are left alone."""
    for name in names:
        if name not in sys.modules and find_spec(name) is not None:  # which imports what holds it
            _put(name, Index(name))
            if name == "transformers":
                vars(sys.modules[name]).update(__version__=metadata.version(name))
                import_module("transformers.dependency_versions_check")  # as its index does
                tools = vars(import_module("transformers.utils"))
                if READ_AGAIN in tools:  # for the module that has all names, which this has too
                    tools[READ_AGAIN] = lambda path: sys.modules["transformers"]


def _put(name: str, module: ModuleType) -> None:
    """Make it the package of a name."""
    spec = find_spec(name)
    assert spec is not None
    vars(module).update(vars(module_from_spec(spec)))
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


@contextmanager
def as_if_absent() -> Iterator[None]:
    """Import meanwhile as if optional packages were not installed, nothing were ever compiled, and
    no processes worked together."""
    import torch.distributed

    for name in ABSENT:  # for good: what was asked once may be asked again
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    meanwhile = [name for name in ABSENT_MEANWHILE if name not in sys.modules]
    sys.modules.update(dict.fromkeys(meanwhile))  # type: ignore[arg-type]
    several = torch.distributed.is_available
    torch.distributed.is_available = lambda: False
    if COMPILER not in sys.modules:
        _put(COMPILER, Index(COMPILER))
        vars(sys.modules[COMPILER]).update(dict.fromkeys(DECORATORS, _as_it_is))
    try:
        yield
    finally:
        torch.distributed.is_available = several
        for name in meanwhile:
            del sys.modules[name]


def import_diffusers() -> None:
    """Import the package alone, without the names under which optional packages are distributed:
    it reads the lists of files of all that are installed for them."""
    if "diffusers" in sys.modules:
        return
    names = metadata.packages_distributions
    metadata.packages_distributions = dict
    try:
        import_module("diffusers")
    finally:
        metadata.packages_distributions = names


def forget(before: Set[str]) -> None:
    """Forget what was imported of the libraries, and that packages were absent.

    Args:
        before: the modules that stay.
    """
    for name in {*sys.modules} - before:
        unread = sys.modules[name] is None or type(sys.modules[name]) is Index
        if unread or name.partition(".")[0] in LIBRARIES or name.startswith(COMPILER):
            _take_away(name)


def _take_away(name: str) -> None:
    parent, _, child = name.rpartition(".")
    del sys.modules[name]
    if parent in sys.modules:
        vars(sys.modules[parent]).pop(child, None)


def _as_it_is(function: Any = None, *_: Any, **__: Any) -> Any:
    return _as_it_is if function is None else function
