"""Options: read from keyword-only parameters, checked and converted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from ldm_core.errors import LdmError
from ldm_core.plugins.options import (
    argument_help,
    check_options,
    command_options,
    read_fields,
    read_options,
    with_options,
)


def sampler(x: Any, grid: Any, *, eta: float = 0.5, mode: Literal["a", "b"] = "a") -> Any:
    """Do it.

    Args:
        eta: how much,
            on two lines.
        mode: which way.
    """
    return x, eta, mode


def factory(*, size: int) -> Any:
    """Make it."""
    return lambda: size


def test_schema_comes_from_the_signature_and_the_docstring() -> None:
    options = read_options(sampler)
    assert list(options) == ["eta", "mode"]
    assert options["eta"].help == "how much, on two lines."
    assert options["eta"].default == 0.5
    assert options["mode"].type_name == "Literal['a', 'b']"


def test_values_are_converted_as_from_a_command_line() -> None:
    assert check_options(read_options(sampler), {"eta": "0.25"}, "it", "") == {"eta": 0.25}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"etta": 1}, "no option 'etta'. Did you mean 'eta'"),
        ({"eta": "lots"}, "should be float, not 'lots'"),
        ({"eta": float("nan")}, "finite"),
        ({"mode": "c"}, "'a' or 'b'"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(LdmError, match=message):
        check_options(read_options(sampler), given, "the scheduler 'it'", "look there")


def test_a_required_option_is_asked_for() -> None:
    with pytest.raises(LdmError, match="needs the option 'size'"):
        check_options(read_options(factory), {}, "the thing", "")


def test_a_function_is_bound_and_a_factory_is_called() -> None:
    assert with_options(sampler, {"eta": 1.0})("x", "grid") == ("x", 1.0, "a")
    assert with_options(factory, {"size": 3})() == 3


def test_help_of_parameters_that_share_a_line() -> None:
    assert argument_help("Do.\n\nArgs:\n    a, b: both.\n    c: one.\n\nReturns: x") == {
        "a": "both.",
        "b": "both.",
        "c": "one.",
    }


def test_a_dataclass_may_change_a_default_and_keep_the_help() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Common:
        """Settings.

        Args:
            steps: How many.
        """

        steps: int

    @dataclass(frozen=True, kw_only=True)
    class Long(Common):
        steps: int = 5000

    (option,) = read_fields(Long).values()
    assert (option.default, option.help) == (5000, "How many.")

    def command(settings: Long, *, loud: bool = False) -> None: ...

    command.__annotations__["settings"] = Long
    assert {*command_options(command)} == {"steps", "loud"}
