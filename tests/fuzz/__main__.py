"""Run the fuzzers by hand: ``PYTHONPATH=tests python -m fuzz run --cases 2000 --seed 1``.

The last line is a summary in JSON: cases, seconds, how many ended in each fault, and one case of
each different fault. ``serve`` answers lines of JSON, as the tests ask it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fuzz.case import Case, read_cases
from fuzz.pool import Ended, Pool
from fuzz.verdicts import NAMES

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "ACCELERATE_TORCH_DEVICE": "cpu",
    "HF_HUB_OFFLINE": "0",  # a connection that is not lawful is to be seen
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
CORPUS = Path(__file__).parent / "corpus"


def signature(fault: str) -> str:
    """What two faults of one cause have in common: numbers, quotes and paths are left out."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", fault)
    text = re.sub(r"/\S+", "/…", text)
    return re.sub(r"-?\d[\d.e+-]*", "0", text)[:300]


class Tally:
    """Counts faults, and keeps one case of each kind."""

    def __init__(self) -> None:
        self.cases = 0
        self.counts: Counter[str] = Counter()
        self.kinds: dict[str, Counter[str]] = {}
        self.messages: dict[str, Counter[str]] = {}
        self.firsts: dict[str, tuple[Case, str]] = {}
        self.since = time.monotonic()

    def add(self, ended: Ended) -> None:
        case, code, faults, message = ended
        self.cases += 1
        self.kinds.setdefault(case.kind, Counter())[str(code)] += 1
        if message:
            self.messages.setdefault(case.kind, Counter())[signature(message)] += 1
        for name in {fault.partition(":")[0] for fault in faults}:
            self.counts[name] += 1
        for fault in faults:
            self.firsts.setdefault(f"{case.kind} {signature(fault)}", (case, fault))

    def summary(self) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "seconds": round(time.monotonic() - self.since, 1),
            "faults": {name: self.counts[name] for name in NAMES},
            "broken_cases": self.counts["case"],
            "exit_codes": {kind: dict(counts) for kind, counts in self.kinds.items()},
            "different_messages": {kind: len(texts) for kind, texts in self.messages.items()},
            "different": len(self.firsts),
        }


def run(options: argparse.Namespace, pool: Pool) -> Tally:
    """The corpus, and then cases of each kind in turn until there are enough or time is up."""
    from fuzz.generating import stream
    from fuzz.kinds.all import KINDS

    tally = Tally()
    kinds = options.kind or list(KINDS)
    if options.corpus:
        for ended in pool.faults(list(read_cases(CORPUS))):
            tally.add(ended)
    share = -(-options.cases // len(kinds))
    streams = {kind: stream(KINDS[kind](), share, options.seed) for kind in kinds}
    end = time.monotonic() + options.seconds if options.seconds else float("inf")
    while streams and time.monotonic() < end:
        for kind in list(streams):
            cases = next(streams[kind], None)
            if cases is None:
                del streams[kind]
                continue
            for ended in pool.faults(cases):
                tally.add(ended)
                if ended.faults and options.verbose:
                    print(_shown(ended))
                if time.monotonic() >= end:
                    break
            if options.verbose:
                print(json.dumps({"kind": kind, **tally.summary()}), file=sys.stderr)
            if time.monotonic() >= end:
                break
    return tally


def _shown(ended: Ended) -> str:
    return json.dumps({"faults": ended.faults, "case": json.loads(ended.case.line())})


def serve(pool: Pool) -> None:
    """For each line, a list of cases, the list of their faults as a line."""
    print("ready", flush=True)
    for line in sys.stdin:
        cases = [Case.of(json.dumps(table)) for table in json.loads(line)]
        answers = [ended[1:] for ended in pool.faults(cases)]
        print(json.dumps(answers), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("mode", choices=("run", "serve", "replay"))
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append")
    parser.add_argument("--corpus", action="store_true", help="run the corpus first")
    parser.add_argument("--findings", type=Path, help="write one case of each fault here")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--messages", action="store_true", help="print each kind's messages")
    parser.add_argument("--file", type=Path, help="cases to replay, one a line")
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)  # before torch is imported, which the pool does
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        pool = Pool(Path(folder))
        if options.mode == "serve":
            serve(pool)
            return 0
        if options.mode == "replay":
            lines = options.file.read_text().splitlines()
            cases = [
                Case.of(json.dumps(json.loads(line).get("case", json.loads(line))))
                for line in lines
            ]
            bad = 0
            for ended in pool.faults(cases):
                bad += bool(ended.faults)
                if ended.faults:
                    print(_shown(ended))
            print(json.dumps({"cases": len(cases), "faulty": bad}))
            return int(bad > 0)
        tally = run(options, pool)
        if options.findings:
            lines = [
                json.dumps({"fault": fault, "case": json.loads(case.line())})
                for case, fault in tally.firsts.values()
            ]
            options.findings.write_text("".join(line + "\n" for line in lines))
        for kind, texts in tally.messages.items() if options.messages else ():
            for text, count in texts.most_common():
                print(f"{kind} {count}: {text}")
        for case, fault in tally.firsts.values():
            print(f"{case.kind}: {fault[:240]}")
        print(json.dumps(tally.summary()))
        return int(sum(tally.counts.values()) > 0)


if __name__ == "__main__":
    sys.exit(main())
