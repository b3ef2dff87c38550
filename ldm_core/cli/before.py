"""What the command line says of plugins, read before any of them is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ldm_core.errors import LdmError
from ldm_core.plugins import discovery, trust
from ldm_core.plugins.trust import Rules

PLUGIN = "--plugin"
RECIPE = "--recipe"


def read_ahead(arguments: Sequence[str]) -> list[str]:
    """Take in which plugins may be imported, by ``--plugin`` and the recipe that is named.

    A recipe that cannot be read is left for the command to tell of, which reads it again.

    Returns:
        The arguments that are left for the command.
    Raises:
        LdmError: ``--plugin`` names no file of Python.
    """
    rest, files, recipes = _parted(arguments)
    rules = Rules()
    for recipe in recipes:
        with suppress(LdmError):
            rules = rules.also(_rules(recipe))
    trust.hold_to(rules)
    discovery.name_files(_checked(files))
    return rest


def _parted(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Arguments without ``--plugin``, what that names, and the recipes that are named."""
    rest: list[str] = []
    files: list[str] = []
    recipes: list[str] = []
    places = {PLUGIN: files, RECIPE: recipes}
    left: Iterator[str] = iter(arguments)
    for argument in left:
        if argument == "--":
            rest += [argument, *left]
            break
        name, equals, value = argument.partition("=")
        taken = [argument]
        if name == RECIPE and rest[:1] == ["show"]:  # which prints one
            rest.append(argument)
            continue
        if name in places:
            if not equals:
                value = next(left, "")
                taken.append(value)
            if name == PLUGIN and not value:
                raise LdmError(f"{PLUGIN} needs a file of Python, as in {PLUGIN} mine.py")
            places[name].append(value)
        rest += [] if name == PLUGIN else taken
    if rest[:2] == ["recipe", "check"]:
        recipes += [word for word in rest[2:] if not word.startswith("-")]
    return rest, files, recipes


def _rules(recipe: str) -> Rules:
    from ldm_core.composition.recipe import read_recipe

    table = read_recipe(Path(recipe), translated=False).get("plugins", {})
    return trust.of_table(table, f"the recipe {recipe}")


def _checked(files: Sequence[str]) -> list[Path]:
    """The files, each once, in full."""
    paths = [Path(file).expanduser().resolve() for file in files]
    for file, path in zip(files, paths, strict=True):
        if path.suffix != ".py" or not path.is_file():
            raise LdmError(
                f"{PLUGIN} names a file of Python, and '{file}' is none.", "as in --plugin mine.py"
            )
    return list(dict.fromkeys(paths))
