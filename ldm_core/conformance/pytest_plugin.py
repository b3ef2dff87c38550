"""``pytest --ldm-check my-package``: a test for each check of a package's plugins.

Imported by every pytest where this package is installed, so it imports nothing heavy itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ldm_core.conformance.plugin_checks import PluginCheck


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ldm", "checks of plugins for ldm")
    group.addoption(
        "--ldm-check",
        action="append",
        default=[],
        metavar="NAME",
        help="check a distribution's plugins, those of a name, or those of an installed project's "
        "folder; may be given several times",
    )
    group.addoption("--ldm-model", metavar="FOLDER", help="a model for the checks that need one")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test for each check."""
    for name in config.getoption("--ldm-check"):
        from ldm_core.conformance.suites import every_test
        from ldm_core.errors import LdmError

        model = config.getoption("--ldm-model")
        try:
            checks = every_test(name, None if model is None else Path(model))
        except LdmError as error:
            raise pytest.UsageError(f"--ldm-check {name}: {error}") from None
        for check in checks:
            title = f"ldm-check[{check.id}]"
            item: CheckItem = CheckItem.from_parent(session, name=title, check=check)
            if check.expected is not None:
                item.add_marker(pytest.mark.xfail(reason=check.expected))
            items.append(item)


class CheckItem(pytest.Item):
    """One check."""

    def __init__(self, *, check: PluginCheck, **more: Any) -> None:
        super().__init__(**more)
        self.check = check

    def runtest(self) -> None:
        self.check()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The one line that says what is wrong."""
        if isinstance(excinfo.value, AssertionError):
            return f"{self.check.id}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name
