"""Each check of ``ldm plugins check`` as a test."""

from collections.abc import Callable

from ldm_core.conformance import parametrize_with_checks


@parametrize_with_checks("ldm-res")
def test_plugins(check: Callable[[], None]) -> None:
    check()
