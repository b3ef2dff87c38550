"""What a module quotes that has its annotations for later too means what it means without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ForwardRef, List, Literal  # noqa: UP035

import pytest

from ldm_core.annotations import evaluated, is_quoted, names_pipeline
from ldm_core.arguments import checks_arguments
from ldm_core.cli.commands import as_command, made_command
from ldm_core.errors import LdmError
from ldm_core.plugins.options import check_declared, command_options, read_options
from ldm_core.plugins.registry import Plugin

if TYPE_CHECKING:
    from ldm_core import Pipeline
    from ldm_core.errors import PartError as Unknown

Me = "Me"


def quoted(x: Any, grid: Any, *, eta: "float" = 0.5, many: list["int"] = []) -> Any:  # noqa: UP037, B006
    return x, grid, eta, many


def command(pipe: "Pipeline", *prompts: "str", count: "int" = 1) -> None:  # noqa: UP037
    """Count."""


def unknown(name: str, *, other: "Unknown") -> None:  # noqa: UP037
    """Of what is there for type checkers alone."""


def endless(name: str, *, other: "Me" = "Me") -> None:  # noqa: UP037
    """Of a name that stands for itself."""


@pytest.mark.parametrize(
    ("annotation", "meant"),
    [
        ("float", float),
        ("'float'", float),
        ("list['int']", list[int]),
        ("List['int'] | None", List[int] | None),  # noqa: UP006
        (ForwardRef("'int'"), int),
        ("Literal['a', 'b']", Literal["a", "b"]),
        ("Annotated['int', 'a word']", Annotated[int, "a word"]),
        ("'Me'", "Me"),
    ],
)
def test_quotes_are_read_however_many(annotation: Any, meant: Any) -> None:
    assert evaluated(annotation, globals()) == meant
    assert is_quoted(meant) == (meant == "Me")


def test_a_quoted_option_is_what_it_says() -> None:
    options = read_options(quoted)
    assert {n: o.annotation for n, o in options.items()} == {"eta": float, "many": list[int]}
    check_declared("scheduler", quoted, options)
    assert options["eta"].check("0.25", "it") == 0.25
    with pytest.raises(LdmError, match="'eta' of quoted should be float"):
        checks_arguments(quoted)(1, 2, eta="much")


def test_a_command_with_a_quoted_pipeline_takes_one() -> None:
    plugin = Plugin("command", "mine", "ldm-mine", "1", command)
    made = as_command(plugin).__signature__.parameters  # type: ignore[attr-defined]
    assert {"prompts", "count", "model"} <= {*made}
    assert "pipe" not in made
    assert names_pipeline("'ldm_core.Pipeline'")
    assert {*command_options(command)} == {"count"}


@pytest.mark.parametrize("function", [unknown, endless])
def test_a_command_of_what_cannot_be_read_is_its_packages_failure(function: Any) -> None:
    plugin = Plugin("command", "mine", "ldm-mine", "1", function)
    shown = made_command("mine", plugin).help
    assert "cannot be used: the command 'mine' of the package ldm-mine 1 failed" in shown
