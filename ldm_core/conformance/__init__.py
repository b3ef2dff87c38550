"""A test kit for plugin authors: oracles that do not come from the code under test.

Example, as a test of your own package::

    from ldm_core.conformance import check_constant_x0, check_order
    from my_package.schedulers import my_scheduler

    def test_my_scheduler():
        check_constant_x0(my_scheduler)
        check_order(my_scheduler)  # the one that it declares, by `of_order`

Or every named check of every plugin of a package, as `ldm plugins check` makes them::

    from ldm_core.conformance import parametrize_with_checks

    @parametrize_with_checks("my-package")
    def test_plugins(check):
        check()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldm_core.conformance.attention import check_attention as check_attention
    from ldm_core.conformance.certificate import Certificate as Certificate
    from ldm_core.conformance.certificate import certify as certify
    from ldm_core.conformance.certificate import read_certificate as read_certificate
    from ldm_core.conformance.checks import Result as Result
    from ldm_core.conformance.gaussian import SCHEDULES as SCHEDULES
    from ldm_core.conformance.gaussian import GaussianData as GaussianData
    from ldm_core.conformance.moments import end_moments as end_moments
    from ldm_core.conformance.moments import moment_errors as moment_errors
    from ldm_core.conformance.plugin_checks import PluginCheck as PluginCheck
    from ldm_core.conformance.plugin_checks import checks_of as checks_of
    from ldm_core.conformance.runner import run_checks as run_checks
    from ldm_core.conformance.schedulers import check_constant_x0 as check_constant_x0
    from ldm_core.conformance.schedulers import check_distribution as check_distribution
    from ldm_core.conformance.schedulers import check_order as check_order
    from ldm_core.conformance.schedulers import errors_by_steps as errors_by_steps
    from ldm_core.conformance.schedulers import measured_order as measured_order
    from ldm_core.conformance.spacings import check_spacing as check_spacing
    from ldm_core.conformance.suites import every_test as every_test
    from ldm_core.conformance.suites import parametrize_with_checks as parametrize_with_checks

_HOMES = {
    "Certificate": "certificate",
    "PluginCheck": "plugin_checks",
    "Result": "checks",
    "SCHEDULES": "gaussian",
    "GaussianData": "gaussian",
    "certify": "certificate",
    "check_attention": "attention",
    "check_constant_x0": "schedulers",
    "check_distribution": "schedulers",
    "check_order": "schedulers",
    "check_spacing": "spacings",
    "checks_of": "plugin_checks",
    "end_moments": "moments",
    "every_test": "suites",
    "errors_by_steps": "schedulers",
    "measured_order": "schedulers",
    "moment_errors": "moments",
    "parametrize_with_checks": "suites",
    "read_certificate": "certificate",
    "run_checks": "runner",
}
__all__ = [
    "SCHEDULES",
    "Certificate",
    "GaussianData",
    "PluginCheck",
    "Result",
    "certify",
    "check_attention",
    "check_constant_x0",
    "check_distribution",
    "check_order",
    "check_spacing",
    "checks_of",
    "end_moments",
    "errors_by_steps",
    "every_test",
    "measured_order",
    "moment_errors",
    "parametrize_with_checks",
    "read_certificate",
    "run_checks",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: explaining a scheduler must not import
    torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ldm_core.conformance' has no attribute '{name}'")
    return getattr(importlib.import_module(f"ldm_core.conformance.{_HOMES[name]}"), name)
