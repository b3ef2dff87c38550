"""What this project does on a GPU, against named peers measured in the same run; in eight minutes.

A bare machine needs a checkout of this project, Python 3.11 or later, PyTorch 2.6 or later for its
CUDA, and these wheels, which another machine with the same Python gets from PyPI, in the versions
of constraints.txt:

    pip wheel --no-deps -w wheels .                                   # ldm-core itself
    pip wheel -c constraints.txt -w wheels accelerate diffusers huggingface-hub numpy packaging \\
        pillow pluggy psutil pydantic rich safetensors scipy tqdm transformers typer
    pip wheel -c constraints.txt -w wheels pytest pytest-xdist hypothesis    # for marked and suite
    pip wheel -c constraints.txt -w wheels peft torchdiffeq protobuf sentencepiece \\
        scikit-learn                                                         # for choices
    pip wheel --no-deps -c constraints.txt -w wheels xformers torchao # left out where they lack

    rm -f wheels/torch-* wheels/nvidia_* wheels/triton-*         # those of PyTorch are there
    pip install --no-index --no-deps wheels/*.whl && python benchmarks/cuda.py

Each stage runs in a process of its own with a limit of its own: one that hangs or crashes loses
nothing of the others, nor of what it had measured before. The next stage's process imports its
packages while this one measures. All figures so far are in the JSON file after every stage: the
one that ``--json`` names, or ``cuda.json`` in the folder of the environment variable OUT. At last
they are printed too, as one line of JSON.

``--tiny --device cpu`` runs everything at tiny sizes, to see that it works. ``--only`` measures the
rows alone whose names match one of the patterns, as ``--only "shapes*" none quantize*``.
``--table FILE`` prints the figures of such a file as rows of Markdown, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

STAGES = {
    "agreement": 25,
    "kernels": 20,
    "fast": 190,
    "large": 40,
    "converters": 65,
    "speed": 25,
    "half": 25,
    "choices": 30,
    "marked": 15,
    "training": 10,
    "suite": 30,
}
"""Seconds in which each stage may begin a measurement."""
TOTAL = 480
"""Seconds of all of them together."""
GRACE = 20
"""Seconds beyond these, after which the stage's process is ended."""
START = 90
"""Seconds for its imports."""
HERE = Path(__file__).resolve().parent


class Stage:
    """A stage's process, which waits for its turn as soon as it is made."""

    def __init__(self, name: str, folder: Path, options: argparse.Namespace) -> None:
        self.name = name
        self.rows, self.log = folder / f"{name}.jsonl", folder / f"{name}.log"
        command = [sys.executable, str(HERE / "on_gpu" / "stage.py"), name]
        command += ["--device", options.device, "--rows", str(self.rows)]
        command += ["--quick"] if options.quick else []
        command += ["--only", *options.only] if options.only else []
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("wb"),
            env={"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", **os.environ},
            start_new_session=True,
        )

    def facts(self) -> dict[str, Any] | None:
        """What machine it is on; None where its imports failed or hang."""
        out = self._pipe(self._process.stdout)
        ready, _, _ = select.select([out], [], [], START)
        line = out.readline() if ready else b""
        return dict(json.loads(line)) if line else None

    def run(self, limit: float) -> str:
        """Let it measure for so many seconds; how it ended."""
        entrance = self._pipe(self._process.stdin)
        try:
            entrance.write(f"{limit}\n".encode())
            entrance.close()
            code = self._process.wait(limit + GRACE)
        except subprocess.TimeoutExpired:
            return f"ended by force {GRACE} s after its {limit:.0f} s"
        except BrokenPipeError:
            code = self._process.wait()
        return "done" if code == 0 else f"its process ended with {code}"

    def end(self) -> None:
        """End the process, and all that it started, where it still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def measured(self) -> list[dict[str, Any]]:
        if not self.rows.exists():
            return []
        lines = self.rows.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def last_words(self) -> list[str]:
        """The end of what it printed."""
        return self.log.read_text(errors="replace").splitlines()[-15:]

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All stages, one after the other."""
    report: dict[str, Any] = {"command": " ".join(sys.argv), "quick": options.quick, "stages": {}}
    began = time.monotonic()

    def make(name: str) -> Stage:
        return Stage(name, folder, options)

    def run(stage: Stage) -> str:
        left = options.total - (time.monotonic() - began)
        if left < 1:
            return "not run: the time for all was up"
        return stage.run(min(options.seconds or STAGES[stage.name], left))

    waiting = [*options.stages]
    coming = make(waiting.pop(0))
    try:
        while True:
            stage = coming
            facts = stage.facts()
            if facts is not None and not facts.pop("available"):
                report["not_measured"] = "no CUDA device"
                return report
            report.update(facts or {})
            if waiting:
                coming = make(waiting.pop(0))
            started = time.monotonic()
            end = "its imports failed" if facts is None else run(stage)
            stage.end()
            found: dict[str, Any] = {"end": end, "rows": stage.measured()}
            found["seconds"] = round(time.monotonic() - started, 1)
            if end != "done":
                found["log"] = stage.last_words()
            report["stages"][stage.name] = found
            report["seconds"] = round(time.monotonic() - began, 1)
            show(stage.name, found)
            if options.json is not None:
                options.json.write_text(json.dumps(report, indent=1) + "\n")
            if coming is stage:
                return report
    finally:
        coming.end()


def show(name: str, found: dict[str, Any]) -> None:
    print(f"{name}: {found['end']}, {found['seconds']} s, {len(found['rows'])} rows", flush=True)
    for row in found["rows"]:
        print("  " + ", ".join(f"{k} {short(v)}" for k, v in row.items()), flush=True)
    for line in found.get("log", ()):
        print("  | " + line, flush=True)


def short(value: Any) -> Any:
    return f"{value:.3g}" if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", "--tiny", action="store_true", help="tiny sizes")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="rows of these names alone")
    parser.add_argument("--seconds", type=float, help="of each stage; each its own by default")
    parser.add_argument("--total", type=float, default=TOTAL, help="seconds of all stages together")
    out = os.environ.get("OUT")
    parser.add_argument(
        "--json",
        type=Path,
        default=None if out is None else Path(out) / "cuda.json",
        help="where the figures go",
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="print such a file's figures")
    options = parser.parse_args()
    if options.table is not None:
        sys.path.append(str(HERE))
        from on_gpu.table import table

        print("\n".join(table(json.loads(options.table.read_text()))))
        return
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options, Path(folder))
    if "not_measured" in report:
        print(f"{report['not_measured']}: not measured")
    else:
        print(json.dumps(report))
        if options.only and not any(s["rows"] for s in report["stages"].values()):
            sys.exit(f"no row is named {' or '.join(options.only)}")


if __name__ == "__main__":
    main()
