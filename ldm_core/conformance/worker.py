"""The process in which plugins are checked; `ldm_core.conformance.runner` starts it.

It says on its standard output, a JSON line each, which check it begins and what came of it; what
plugins print goes to the standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ldm_core.conformance.checks import CHECKS, Check, Result
from ldm_core.conformance.package import checks as package_checks
from ldm_core.conformance.package.evidence import gather, warm_up
from ldm_core.conformance.package.listing import Listing, fresh_listing, output_to
from ldm_core.conformance.package.state import QUESTIONS, State, changes, put_back_into, state
from ldm_core.conformance.packages import find_package
from ldm_core.conformance.plugin_checks import PluginCheck, checks_of
from ldm_core.conformance.worker_order import Order
from ldm_core.plugins.blame import is_of_others
from ldm_core.plugins.discovery import name_files
from ldm_core.plugins.folder import kept_output

LISTING = Result(package_checks.KIND, "listing", "passed")
"""What is under way before any check is: listing and making the plugins."""


class Ended(Exception):
    """Listing the package ends the process that does it, or never ends, so that nothing else of it
    can be seen."""


def every_check(order: Order) -> list[PluginCheck]:
    """Those of the package, and of each plugin with that which sees what it left behind."""
    checks: list[PluginCheck] = []
    package = find_package(order.target)
    if package is not None:
        fresh = fresh_listing(package.name, order.limit)
        if fresh.ended:
            raise Ended(fresh.error)
        evidence = gather(package, fresh)
        evidence.certifying = order.certifying
        evidence.certificate = None if order.certificate is None else Path(order.certificate)
        checks = of_package(evidence)
    else:
        warm_up()
    if not order.package_alone:
        model = None if order.model is None else Path(order.model)
        checks += list(_with_traces(checks_of(order.target, model)))
    return checks


def of_package(evidence: Any) -> list[PluginCheck]:
    """The checks of a package, of which this was seen."""
    label = package_checks.KIND
    return [
        PluginCheck(label, check, evidence, evidence.declared.failure(label, check.name))
        for check in CHECKS[label]
    ]


def _with_traces(checks: list[PluginCheck]) -> Iterator[PluginCheck]:
    """The checks, with one behind those of each plugin that looks at what they left behind."""
    before: dict[str, State] = {}
    printed: dict[str, Listing] = {}
    put_back: dict[str, list[str]] = {}

    def looked(check: PluginCheck) -> PluginCheck:
        function = check.check.function

        def first(subject: Any) -> str | None:
            before.setdefault(check.plugin, state())
            printed_here = printed.setdefault(check.plugin, Listing())
            others = is_of_others(subject.plugin)  # as in a run
            kept = kept_output(lambda: check.plugin) if others else nullcontext()
            told = put_back_into(put_back.setdefault(check.plugin, []))
            with output_to(printed_here), told, kept:
                return function(subject)

        return replace(check, check=replace(check.check, function=first))

    for i, check in enumerate(checks):
        yield looked(check)
        last = i + 1 == len(checks) or checks[i + 1].plugin != check.plugin
        if last and check.check.name != "made":
            seen = _traces(before, printed, put_back, check.plugin)
            traces = Check(check.check.kind, "leaves_no_trace", seen)
            yield replace(check, check=traces, expected=None)


def _traces(
    before: dict[str, State],
    printed: dict[str, Listing],
    put_back: dict[str, list[str]],
    plugin: str,
) -> Callable[[Any], str | None]:
    def leaves_no_trace(subject: Any) -> str | None:
        """What all code of a process shares is as it was before it was used, also where the host
        put it back, and nothing is on the standard output, which belongs to results."""
        said = " ".join(printed.get(plugin, Listing()).printed.split())
        assert not said, f"used, it printed {said[:60]!r} to the standard output"
        kept = [q for q in QUESTIONS if q not in ("random_state", "warning_filters", "logging")]
        for name, change in changes(before.get(plugin, state()), state()).items():
            assert name not in kept, f"used, it changed what all share: {name}: {change}"
        for what in put_back.get(plugin, ())[:1]:
            raise AssertionError(f"used, it is told of at each use: {what}")
        return None

    return leaves_no_trace


def main() -> None:
    """Do what the order on the command line says."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**words: Any) -> None:
        out.write(json.dumps(words) + "\n")
        out.flush()

    order = Order(**json.loads(sys.argv[1]))
    name_files([*map(Path, order.files)])
    say(begin=-1, result=asdict(LISTING))
    try:
        checks = every_check(order)
    except Ended as error:
        say(end=-1, result=asdict(replace(LISTING, outcome="failed", reason=str(error))))
        say(done=True)
        os._exit(0)
    except Exception as error:
        say(error=f"{error}")
        os._exit(0)
    say(count=len(checks))
    for place, check in enumerate(checks):
        if place < order.begin:
            continue
        under_way = Result(check.plugin, check.check.name, "failed", reason=check.expected or "")
        say(begin=place, result=asdict(under_way))
        say(end=place, result=asdict(check.result()))
    say(done=True)
    os._exit(0)  # whatever threads a plugin has left


if __name__ == "__main__":
    main()
