"""``ldm plugins check``."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ldm_core.errors import LdmError

if TYPE_CHECKING:
    from ldm_core.conformance.checks import Outcome, Result


def check_plugins(
    target: Annotated[
        str,
        typer.Argument(
            help="A distribution, a project's folder, or a plugin's name, id or kind:name."
        ),
    ],
    model: Annotated[
        Path | None, typer.Option(help="A model folder, for the checks that need one.")
    ] = None,
    limit: Annotated[
        float, typer.Option(help="Seconds of work that one check may take.", min=0.1)
    ] = 60.0,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Write a certificate there, where no check fails; see the manual."),
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(help="Hold the package against this certificate, not the one it ships."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a package's plugins, a line for each check; exit code 1 where one fails.

    The checks are made in a process of their own: what ends it, or takes too long, has failed. What
    a plugin module declares as expected_failures is no failure.
    """
    from ldm_core.conformance.runner import place_of, run_checks

    for file in (model, verify):
        if file is not None and not file.exists():
            raise LdmError(f"there is no '{file}'.")
    if certificate is not None and verify is not None:
        raise LdmError("--certificate writes a new one, and --verify reads one; give one of them.")
    with place_of(target) as place:
        if certificate is not None:
            _package(place.target, place.paths)  # one that is no package is refused at once
        results: list[Result] = []
        made = run_checks(
            target, model, limit, certificate=verify, certifying=certificate is not None
        )
        for result in made:
            results.append(result)
            if not as_json:
                typer.echo(str(result))
        if not results:
            raise LdmError(f"'{target}' offers nothing that can be checked.")
        if as_json:
            typer.echo(json.dumps(_document(target, results), indent=2))
        else:
            typer.echo(in_words(results))
        if any(result.outcome == "failed" for result in results):
            raise typer.Exit(1)
        if certificate is not None:
            _certify(place.target, place.paths, results, model, certificate)


def in_words(results: list[Result]) -> str:
    """How many passed, failed, and so on."""
    counts = Counter(result.outcome for result in results)
    words: dict[Outcome, str] = {
        "passed": "passed",
        "failed": "failed",
        "expected": "failed as declared",
        "skipped": "had nothing to see",
    }
    said = [f"{counts[key]} {word}" for key, word in words.items() if counts[key]]
    return ", ".join(said)


def _document(target: str, results: list[Result]) -> dict[str, object]:
    from importlib.metadata import version

    from ldm_core.plugins.hookspecs import HOOK_API

    counts = Counter(result.outcome for result in results)
    return {
        "target": target,
        "host": version("ldm-core"),
        "hook_api": HOOK_API,
        "passed": counts["failed"] == 0,
        "counts": dict(counts),
        "results": [asdict(result) for result in results],
    }


def _package(target: str, paths: tuple[Path, ...]) -> object:
    from ldm_core.conformance.packages import find_package

    package = find_package(target, paths)
    if package is None:
        raise LdmError(
            f"'{target}' is no distribution, and a certificate is for a whole one.",
            "`ldm plugins list` shows each plugin with its distribution.",
        )
    return package


def _certify(
    target: str,
    paths: tuple[Path, ...],
    results: list[Result],
    model: Path | None,
    file: Path,
) -> None:
    from ldm_core.conformance.certificate import certify, write_certificate
    from ldm_core.conformance.packages import Package

    package = _package(target, paths)
    assert isinstance(package, Package)
    written = certify(package, results, model)
    write_certificate(written, file)
    typer.echo(f"{file}: {written.words}, {len(written.files)} files", err=True)
