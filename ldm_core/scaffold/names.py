"""What a new package may be called, and what that makes of its module and its plugins."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from keyword import iskeyword

from ldm_core.errors import LdmError
from ldm_core.plugins.names import VALUES
from ldm_core.plugins.registry import Registry
from ldm_core.plugins.trust import LOCAL

RESERVED = ("ldm", "ldm-core", "ldm-plugins", "ldm-pipelines")
FOLDERS = ("build", "conftest", "dist", "pictures", "tests")
"""What else a project has by these names, or keeps out of what is built."""
LONGEST = 60
RULE = (
    "a name is made of ASCII letters and digits with single hyphens between, and begins with a "
    "letter, as ldm-mine"
)


@dataclass(frozen=True)
class Names:
    """Of one package.

    Attributes:
        distribution: what pip calls it, normalised as PEP 503 says.
        module: what Python imports.
        plugin: what its plugins are called: the distribution without ``ldm-`` before it.
    """

    distribution: str
    module: str
    plugin: str

    @property
    def pipeline(self) -> str:
        """The class that the model folders of its family name."""
        return "".join(word.capitalize() for word in self.plugin.split("_")) + "Pipeline"


def names_of(name: str) -> Names:
    """The names that follow from what a person typed.

    Raises:
        LdmError: it is no name of a distribution (PEP 508), or one that cannot be imported, or is
            the core's or Python's own, or that of something else in a project.
    """
    if not re.fullmatch(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise LdmError(f"a package cannot be called {name!r}.", RULE)
    if len(name) > LONGEST:
        raise LdmError(f"a name of {len(name)} letters is too long; {LONGEST} are enough.")
    distribution = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
    module = distribution.replace("-", "_")
    plugin = module.removeprefix("ldm_")
    other = f"say ldm-mine, or ldm-{distribution.removeprefix('ldm-')}x."
    if distribution in RESERVED or module in sys.stdlib_module_names or iskeyword(module):
        whose = "ldm's" if distribution in RESERVED else "Python's"
        raise LdmError(f"'{distribution}' is {whose} own name.", other)
    if distribution == LOCAL:
        raise LdmError(f"'{LOCAL}' is the package of plugins that --plugin names.", other)
    if module in FOLDERS:
        raise LdmError(f"'{module}' is the name of something else in a project.", other)
    if not plugin.isidentifier() or plugin.startswith("_"):
        raise LdmError(f"plugins cannot be called '{plugin}', after '{distribution}'.", RULE)
    if plugin in VALUES:
        raise LdmError(f"'{plugin}' is a value, as in --set encoder={plugin}, and no name.", other)
    return Names(distribution, module, plugin)


def check_free(
    names: Names, kinds: Sequence[str], models: Sequence[str], registry: Registry
) -> None:
    """See that nothing that is installed has these names.

    Args:
        kinds: of the plugins, each called `Names.plugin`.
        models: what its models are called.
    Raises:
        LdmError: a package or a module has the name, or a plugin of the same kind.
    """
    try:
        installed = version(names.distribution)
    except PackageNotFoundError:
        pass
    else:
        raise LdmError(
            f"the package {names.distribution} {installed} is installed already; choose another "
            "name.",
            f"or `pip uninstall {names.distribution}` first.",
        )
    if find_spec(names.module) is not None:
        raise LdmError(f"there is a module '{names.module}' already; choose another name.")
    for kind in kinds:
        for other in registry.named(names.plugin, kind):
            raise LdmError(
                f"{other.whose} has that name, so that '{names.plugin}' would mean two; choose "
                "another name for the package, after which its plugins are called."
            )
    for model in registry.models:
        if model.name in models:
            raise LdmError(
                f"the package {model.distribution} {model.version} brings a model '{model.name}'; "
                "choose another name."
            )
