"""A certificate: what the checks of a package found, of which files, with which versions.

JSON that a package may ship as ``ldm-certificate.json`` in its plugin module's folder, or of a
single module ``NAME.ldm-certificate.json`` beside it. It holds for the files that it lists alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ldm_core.conformance.checks import Result
from ldm_core.conformance.packages import Package, normalised
from ldm_core.errors import LdmError
from ldm_core.media.json_text import read_json_text
from ldm_core.media.names import write_whole
from ldm_core.model.reading import read_bytes
from ldm_core.plugins.entries import LONGEST_VERSION
from ldm_core.plugins.hookspecs import HOOK_API

FORMAT = 1
DIGEST = "digest"
"""The key with the SHA-256 of all others, by which a slip of the hand is told; whoever means to can
write that anew."""
LONGEST = 4 * 2**20
"""Bytes of a certificate."""
IN_LISTS = 1_000_000
"""Bytes of the largest file that is read to list a package."""


@dataclass(frozen=True)
class Certificate:
    """What was found.

    Attributes:
        package, version: whose.
        host: the version of ldm-core.
        hook_api: the version of the hook API, as ``2.1``.
        date: of the checks, ISO 8601.
        model: the model folder that the checks were given, by its name; empty where none.
        results: every check with its outcome and figure.
        files: SHA-256 of each of the package's files.
        format: of the certificate.
    """

    package: str
    version: str
    host: str
    hook_api: str
    date: str
    model: str
    results: tuple[Result, ...]
    files: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def failed(self) -> list[Result]:
        """The checks that failed and were not declared to."""
        return [result for result in self.results if result.outcome == "failed"]

    @property
    def words(self) -> str:
        """It in a few words, as lists show it: also of how many checks it is declared that they
        fail."""
        expected = sum(result.outcome == "expected" for result in self.results)
        more = f", {expected} of {len(self.results)} checks failing as declared" if expected else ""
        return f"certified with ldm-core {self.host}, {self.date[:10]}{more}"


def certify(package: Package, results: Sequence[Result], model: Path | None = None) -> Certificate:
    """The certificate of what was found.

    Raises:
        LdmError: a check failed.
    """
    if failed := [result for result in results if result.outcome == "failed"]:
        raise LdmError(
            f"{len(failed)} checks of {package.name} failed, so that there is no certificate."
        )
    libraries = ("torch", "diffusers", "transformers")
    return Certificate(
        package.name,
        package.version,
        version("ldm-core"),
        HOOK_API,
        datetime.now(UTC).isoformat(timespec="seconds"),
        "" if model is None else model.name,
        tuple(results),
        hashes(package),
        {name: version(name) for name in libraries},
    )


def hashes(package: Package, largest: float = math.inf) -> dict[str, str]:
    """SHA-256 of each of a package's files, by name.

    Args:
        largest: bytes of a file above which it is not read, and gets an empty text.
    """
    digests = {}
    for name, path in package.files().items():
        if path.stat().st_size > largest:
            digests[name] = ""
            continue
        with path.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def write_certificate(certificate: Certificate, file: Path) -> None:
    """Write it as JSON, whole or not at all.

    Raises:
        MachineError: the disk is full, or whatever else a machine refuses.
    """
    data = asdict(certificate)
    text = json.dumps({**data, DIGEST: _digest(data)}, indent=1) + "\n"
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"), overwrite=True)


def read_certificate(file: Path) -> Certificate:
    """Read it.

    Raises:
        LdmError: it cannot be read, or is no certificate.
    """
    try:
        data: Any = read_json_text(read_bytes(file, LONGEST).decode())
    except (OSError, ValueError) as error:
        what = error.message if isinstance(error, LdmError) else f"{error}."
        raise LdmError(f"the certificate '{file}' cannot be read: {what}") from None
    if isinstance(data, dict) and data.get("format", FORMAT) != FORMAT:
        raise LdmError(f"the certificate '{file}' is of a format that this ldm-core does not know.")
    digest = data.pop(DIGEST, None) if isinstance(data, dict) else None
    try:
        certificate = TypeAdapter(Certificate).validate_python(data)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise LdmError(
            f"'{file}' is no certificate: {where}: {error.errors()[0]['msg']}."
        ) from None
    if len(certificate.host) > LONGEST_VERSION:
        raise LdmError(f"'{file}' is no certificate: host: it is longer than any version.")
    if digest is None:
        raise LdmError(
            f"the certificate '{file}' has no {DIGEST} of what it says, as none had once, "
            "so that nobody can see whether it was altered.",
            "`ldm plugins check` writes another by --certificate.",
        )
    if digest != _digest(data):
        raise LdmError(
            f"the certificate '{file}' does not hold: it was altered after it was written.",
            "`ldm plugins check` writes another by --certificate.",
        )
    return certificate


def _digest(data: Mapping[str, Any]) -> str:
    """SHA-256 of what a certificate says."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def holds_for(file: Path, package: Package, largest: float = math.inf) -> str:
    """A certificate in a few words, once it is seen to be for an installed package as it is.

    Args:
        largest: bytes of a file above which only its name is looked at.
    Raises:
        LdmError: it is for another package, version or other files, or says that a check failed.
    """
    certificate = read_certificate(file)
    whose = f"the certificate '{file.name}'"
    if normalised(certificate.package) != normalised(package.name):
        raise LdmError(f"{whose} is for {certificate.package}, and this is {package.name}.")
    if certificate.version != package.version:
        raise LdmError(
            f"{whose} does not hold: it is for {package.name} {certificate.version}, and "
            f"{package.version} is installed."
        )
    now, then = hashes(package, largest), certificate.files
    other = sorted(name for name in {*now, *then} if now.get(name) not in ("", then.get(name)))
    other += sorted(name for name, digest in now.items() if not digest and name not in then)
    if other:
        raise LdmError(
            f"{whose} does not hold: it is for other files than those installed, "
            f"{', '.join(other[:3])}{' and more' if len(other) > 3 else ''}."
        )
    if certificate.failed or not certificate.results:
        raise LdmError(f"{whose} certifies nothing: it lists no checks, or such as failed.")
    return f"{certificate.words}, {len(certificate.results)} checks"


def in_a_few_words(package: Package) -> str:
    """What lists show of the certificate that a package ships; empty where it ships none."""
    file = package.certificate()
    if file is None:
        return ""
    try:
        holds_for(file, package, IN_LISTS)
        return read_certificate(file).words
    except LdmError as error:
        return f"certificate: {error.message}"
    except OSError as error:  # of one of the package's files
        return f"certificate: {error}"
