"""A test kit for plugin authors: oracles that do not come from the code under test.

Example, as a test of your own package::

    from ldm_core.conformance import check_constant_x0, check_order
    from my_package.schedulers import my_scheduler

    def test_my_scheduler():
        check_constant_x0(my_scheduler)
        check_order(my_scheduler)  # the one that it declares, by `of_order`
"""

from ldm_core.conformance.attention import check_attention
from ldm_core.conformance.gaussian import SCHEDULES, GaussianData
from ldm_core.conformance.moments import end_moments, moment_errors
from ldm_core.conformance.schedulers import (
    check_constant_x0,
    check_distribution,
    check_order,
    errors_by_steps,
    measured_order,
)
from ldm_core.conformance.spacings import check_spacing

__all__ = [
    "SCHEDULES",
    "GaussianData",
    "check_attention",
    "check_constant_x0",
    "check_distribution",
    "check_order",
    "check_spacing",
    "end_moments",
    "errors_by_steps",
    "measured_order",
    "moment_errors",
]
