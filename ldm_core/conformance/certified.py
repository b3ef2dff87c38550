"""What a certificate says that was seen, held against what is seen now."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ldm_core.conformance.certificate import Certificate
from ldm_core.conformance.checks import Result

NAME = "certified"
NOT_HELD = ("certificate", NAME)
"""Checks that are about certificates themselves."""
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")
SECONDS = re.compile(rf"{NUMBER.pattern} s\b")
SHARE, ROUNDING = 0.1, 1e-4
"""By how much of it a number may be another on another machine, and what is rounding alone."""


def held(certificate: Certificate, results: Sequence[Result], model: Path | None) -> Result:
    """What comes of holding a certificate against the same checks, made now: each is in both, with
    the same outcome, and with the versions of then the same figure, but for seconds and rounding.

    Args:
        results: of every check of the package.
        model: the model folder that they were given.
    """
    faults = [*_faults(certificate, results, model)]
    if not faults:
        how = "" if _same(certificate) else ", which had other versions and may have other figures"
        figure = f"{len(certificate.results)} checks as it says{how}"
        return Result("package", NAME, "passed", figure)
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    reason = f"the certificate says what is not seen now: {'; '.join(faults[:3])}{more}"
    return Result("package", NAME, "failed", reason=reason)


def _same(certificate: Certificate) -> bool:
    """Whether a certificate names the versions that are installed."""
    try:
        libraries = all(version(name) == then for name, then in certificate.versions.items())
    except (PackageNotFoundError, ValueError):
        return False
    return libraries and certificate.host == version("ldm-core")


def _faults(
    certificate: Certificate, results: Sequence[Result], model: Path | None
) -> Iterator[str]:
    said = {(r.plugin, r.check): r for r in certificate.results if r.check not in NOT_HELD}
    seen = {(r.plugin, r.check): r for r in results if r.check not in NOT_HELD}
    same_host = certificate.host == version("ldm-core")
    same = _same(certificate)
    other_model = certificate.model != ("" if model is None else model.name)
    for key in dict.fromkeys([*said, *seen]):
        what, then, now = " ".join(key), said.get(key), seen.get(key)
        if then is None or now is None:
            if same_host:
                yield f"{what} is {'missing in it' if then is None else 'no check that is made'}"
        elif then.outcome != now.outcome:
            if not (other_model and "skipped" in (then.outcome, now.outcome)):
                yield f"{what} {then.outcome}, and now {now.outcome}"
        elif same and not other_model and not _alike(then.figure, now.figure):
            yield f"{what}: {then.figure!r}, and now {now.figure!r}"


def _alike(then: str, now: str) -> bool:
    """Whether two figures say the same in the same words."""
    then, now = SECONDS.sub("s", then), SECONDS.sub("s", now)
    if NUMBER.split(then) != NUMBER.split(now):
        return False
    pairs = zip(map(float, NUMBER.findall(then)), map(float, NUMBER.findall(now)), strict=True)
    return all(abs(a - b) <= max(SHARE * max(a, b), ROUNDING) for a, b in pairs)
