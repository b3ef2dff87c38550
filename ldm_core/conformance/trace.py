"""Traces, under the name by which the kit offers them."""

from ldm_core.contracts.trace import DenoiserCall, Trace, trace
from ldm_core.numerics.linear_form import LinearForm

__all__ = ["DenoiserCall", "LinearForm", "Trace", "trace"]
