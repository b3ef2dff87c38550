"""The folder of a job: the record of what the job is, the ledger, the claims, and the files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.media.json_text import json_text, read_json_text
from ldm_core.media.names import write_named
from ldm_core.model.reading import read_bytes
from ldm_core.values import is_whole

RECORD = "job.json"
LEDGER = "results.jsonl"
INPUTS = "inputs"
"""Pictures that the rows of a data set held themselves."""
CLAIMS = ".ldm-claims"
FORMAT = 1
SEED = "seed"
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
            OSError: it cannot be written.
        """
        if self.ledger.exists() and self.record() is None:
            raise LdmError(
                f"'{self.path}' has a ledger of a job, and no {RECORD} that says which.",
                "give another folder with --out.",
            )
        text = json_text({"format": FORMAT, **record}, indent=2) + "\n"
        with suppress(FileExistsError):
            write_named(self.path / RECORD, lambda path: path.write_text(text, encoding="utf-8"))
        there = self.record()
        assert there is not None
        return there

    def check(self, there: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """See that a job that is there is the one that is asked for; a seed that is not asked for
        is that of the job that is there.

        Raises:
            LdmError: it is another.
        """
        asked = json.loads(json.dumps({"format": FORMAT, **record}))
        names = [
            name
            for name in dict.fromkeys([*asked, *there])
            if asked.get(name) != there.get(name) and not (name == SEED and asked.get(name) is None)
        ]
        if names:
            raise LdmError(
                f"the folder '{self.path}' holds another job: it differs in {', '.join(names)}.",
                f"give another folder with --out; {RECORD} in the folder says what its job is.",
            )
