"""The folder of a job: the record of what the job is, the ledger, the claims, and the files."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ldm_core.contracts.files import walked
from ldm_core.errors import LdmError
from ldm_core.jobs.claims import Claims
from ldm_core.media.json_text import json_text, read_json_text
from ldm_core.media.names import write_named, write_whole
from ldm_core.model.reading import read_bytes
from ldm_core.values import brief, is_whole

RECORD = "job.json"
LEDGER = "results.jsonl"
INPUTS = "inputs"
"""Pictures that the rows of a data set held themselves."""
CLAIMS = ".ldm-claims"
FORMAT = 1
SEED = "seed"
LINES = "lines_sha256"
ABOUT = "of"
"""What the lines are, in words, where they are of no file."""
LONGEST = 2**24
"""Bytes of the record."""


class JobFolder:
    """Where a job is; nothing is made before `create`.

    Args:
        path: need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = path / LEDGER
        self.claims = path / CLAIMS

    def record(self) -> dict[str, Any] | None:
        """What the job is that the folder holds; None where it holds none.

        Raises:
            LdmError: it has a file of that name which is no such record.
        """
        try:
            text = read_bytes(self.path / RECORD, LONGEST).decode()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError, LdmError):
            text = ""
        record = None
        with suppress(ValueError):
            record = read_json_text(text)
        if not (
            isinstance(record, dict)
            and record.get("format") == FORMAT
            and is_whole(record.get(SEED))
            and 0 <= record[SEED] < 2**63
        ):
            raise LdmError(
                f"'{self.path / RECORD}' is no record of a job that this version can read.",
                "give another folder with --out.",
            )
        return record

    def create(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Write the record, unless one is there; the one that is there then.

        Raises:
            LdmError: there is a ledger without a record.
            OSError: it cannot be written, or was removed meanwhile.
        """
        if self.ledger.exists() and self.record() is None:
            raise LdmError(
                f"'{self.path}' has a ledger of a job, and no {RECORD} that says which.",
                "give another folder with --out.",
            )
        text = _text(record)
        with suppress(FileExistsError):
            write_named(self.path / RECORD, lambda path: path.write_text(text, encoding="utf-8"))
        there = self.record()
        if there is None:
            gone = str(self.path / RECORD)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), gone)
        return there

    def begin_anew(self, there: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
        """Put another job in the place of one of which nothing was made and nobody makes anything.

        Returns:
            Whether it is in its place; not, where pictures are there or another process works.

        Raises:
            OSError: it cannot be written.
        """
        claims = Claims(self.claims)
        try:
            with claims.all() as alone:
                if not alone or self.has_pictures(there):
                    return False
                if self.record() != there:
                    return False
                self.ledger.unlink(missing_ok=True)
                text = _text(record)
                write_whole(
                    self.path / RECORD,
                    lambda path: path.write_text(text, encoding="utf-8"),
                    overwrite=True,
                )
        finally:
            claims.close()
        return True

    def has_pictures(self, there: Mapping[str, Any]) -> bool:
        """Whether anything is there that may be a picture of the job that is there, or its ledger
        speaks of one."""
        suffix = str(there.get("suffix"))
        with suppress(FileNotFoundError):
            if b'"sha256"' in self.ledger.read_bytes():
                return True
        for _, folders, names in walked(self.path):
            folders[:] = [name for name in folders if name != INPUTS]
            if any(name.endswith((suffix, ".tar")) for name in names):
                return True
        return False

    def differences(self, there: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
        """In what a job that is there is not the one that is asked for; a seed that is not asked
        for is that of the job that is there."""
        asked = json.loads(json.dumps({"format": FORMAT, **record}))
        return [
            name
            for name in dict.fromkeys([*asked, *there])
            if asked.get(name) != there.get(name)
            and not (name == SEED and asked.get(name) is None)
            and not (name == ABOUT and not (asked.get(name) and there.get(name)))
        ]

    def check(self, there: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """See that a job that is there is the one that is asked for.

        Raises:
            LdmError: it is another.
        """
        names = self.differences(there, record)
        if names:
            raise LdmError(
                f"the folder '{self.path}' holds another job: it differs in "
                f"{in_words(names, there, record)}.",
                f"give another folder with --out; {RECORD} in the folder says what its job is.",
            )


def in_words(names: Sequence[str], there: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """In what two records differ; of tables in which of their entries, with both values."""
    asked = json.loads(json.dumps(record))
    words = []
    for name in names:
        first, second = there.get(name), asked.get(name)
        if name == LINES and ABOUT in names:
            continue  # of which that says more
        if not (isinstance(first, dict) and isinstance(second, dict)):
            words.append("the lines" if name == LINES else name)
            continue
        apart = [key for key in {**first, **second} if first.get(key) != second.get(key)]
        whose = "" if name == ABOUT else f"{name}."
        words += [
            f"{whose}{key} ({_brief(first.get(key))} there, {_brief(second.get(key))} asked for)"
            for key in apart
        ]
    return ", ".join(words)


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_brief, value)) or "nothing"
    return "nothing" if value is None else brief(value) if isinstance(value, dict) else str(value)


def _text(record: Mapping[str, Any]) -> str:
    return json_text({"format": FORMAT, **record}, indent=2) + "\n"
