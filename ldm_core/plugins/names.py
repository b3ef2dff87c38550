"""Which names a plugin may have, so that none takes what is another package's, or the core's."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.trust import LOCAL, normalised
from ldm_core.values import brief

CORE_COMMANDS = frozenset(
    {"explain", "generate", "models", "plugins", "recipe", "replay", "show", "tune"}
)
"""The first word of each command, or group of commands, that is the core's own."""
MOST = 1000
"""Plugins that one module can offer: each takes a moment to be listed."""
LONGEST = 80
"""Letters of a name."""
LONGEST_LINE = 200
"""Letters of what a model was made for."""
LONGEST_FOLDER = 4095
"""Bytes of a path, on Linux; elsewhere it is less."""
WORD = r"[A-Za-z][A-Za-z0-9_.-]*"
"""Of letters that cannot be taken for others, as those of another alphabet can."""
VALUES = frozenset({"true", "false", "inf", "nan"})
"""Words that ``--set decoder=WORD`` does not read as text, as TOML reads them."""
COMMAND = re.compile(f"{WORD}( {WORD})?")
MODEL = re.compile(WORD)


def check_name(kind: str, name: str, package: str) -> str:
    """The name of a plugin, as plain text.

    Args:
        package: the distribution that offers it.
    Raises:
        LdmError: it is none, or another package's, or the core's.
    """
    name = _word("plugin", name)
    if kind == "command":
        if COMMAND.fullmatch(name) is None:
            raise LdmError(
                f"the name of a command is a word, or a group and a word with a space between, of "
                f"letters (a to z), digits, '.', '-' and '_', not {brief(name)}"
            )
        if package != OWN and name.partition(" ")[0] in CORE_COMMANDS:
            raise LdmError(
                f"the command '{name}' would stand in the place of `ldm {name.partition(' ')[0]}`, "
                "which is the core's own"
            )
        return name
    if any(c.isspace() for c in name):
        raise LdmError(f"the name of a {kind} has no spaces in it, as {brief(name)} has")
    prefix, colon, rest = name.partition(":")
    if rest or (colon and not prefix):
        raise LdmError(
            f"the {kind} {brief(name)} has a colon in its name, which stands between a package and "
            f"a name; leave out the package: it is '{package}:' by itself"
        )
    if colon and package != OWN and _is_of_another(prefix, package):
        raise LdmError(f"the names that begin with {brief(name)} are those of another package")
    if re.fullmatch(f"{WORD}:?", name) is None:
        raise LdmError(
            f"the name of a {kind} is a word of letters (a to z), digits, '.', '-' and '_' that "
            f"begins with a letter, not {brief(name)}"
        )
    if name in VALUES:
        raise LdmError(
            f"the name of a {kind} is no word that `--set` takes for a value, as it does '{name}'"
        )
    return name


def check_target(name: str, target: Callable[..., Any] | str) -> None:
    """See that what is imported later says from where."""
    if isinstance(target, str) and not re.fullmatch(r"\w+(\.\w+)*:\w+", target):
        raise LdmError(f"the target of '{name}' should be 'package.module:name', not {target!r}")
    if isinstance(target, str) and re.split(r"[.:]", target)[0] in sys.stdlib_module_names:
        raise LdmError(f"the target of '{name}', {target!r}, belongs to Python itself")


def check_model(name: str, folder: Path, made_for: str) -> str:
    """The name of a model that a package ships, as plain text.

    Raises:
        LdmError: it is none, or could be taken for a file's or a repository's, or the folder is
            not said in full.
    """
    name = _word("model", name)
    if MODEL.fullmatch(name) is None:
        raise LdmError(
            f"the name of a model is a word of letters (a to z), digits, '.', '-' and '_', not "
            f"{brief(name)}"
        )
    if not folder.is_absolute():
        raise LdmError(
            f"the folder of the model '{name}' is {brief(str(folder))}, which lies wherever a "
            "program is run; say it in full, as Path(__file__).parent / 'model'"
        )
    if "\0" in str(folder) or len(os.fsencode(folder)) > LONGEST_FOLDER:
        raise LdmError(
            f"the folder of the model '{name}' is one that no file system can have: "
            f"{brief(str(folder))}"
        )
    if not made_for.isprintable() or len(made_for) > LONGEST_LINE:
        raise LdmError(
            f"what the model '{name}' was made for should be one line of at most {LONGEST_LINE} "
            f"letters, not {brief(made_for)}"
        )
    return name


def _word(what: str, name: str) -> str:
    name = str.__str__(name)
    if not name.strip() or not name.isprintable():
        raise LdmError(f"the name of a {what} should be a word, not {brief(name)}")
    if len(name) > LONGEST:
        raise LdmError(
            f"the name of a {what} has {len(name)} letters, and at most {LONGEST} can be listed: "
            f"{brief(name)}"
        )
    if name.startswith("-"):
        raise LdmError(f"the name of a {what} cannot begin as an option does: {brief(name)}")
    return name


def _is_of_another(prefix: str, package: str) -> bool:
    """Whether a prefix is the name of another distribution than this."""
    if normalised(prefix) == normalised(package):
        return False
    try:
        return normalised(prefix) in (OWN, LOCAL) or bool(distribution(prefix))
    except (PackageNotFoundError, ValueError):
        return False
