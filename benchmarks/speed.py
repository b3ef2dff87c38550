"""Speed, memory and start-up in one command: the benchmarks one after the other, their figures in
one file of JSON, and the page with plots that is drawn of it.

    python benchmarks/speed.py --json speed.json            # all; an hour and more on two cores
    python benchmarks/speed.py --json speed.json --parts step second-start
    python benchmarks/speed.py --json speed.json --page     # draws docs/reference/speed.md

All the parts take longer than some machines are lent for, so a file can be filled by several calls:
a part that is measured takes the place of what the file had of it, and the others stay. Each part
is a process of its own with one thread, which measures its ways in turns with their peers; what it
prints goes where this prints. Peers that must be installed apart are measured where they are named:
optimum's pipeline with ``--optimum FOLDER`` and k-diffusion's loop with ``--k-diffusion FOLDER``.

Exits 1 where a part fails or misses an aim.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import speed_page

HERE = Path(__file__).resolve().parent
PARTS: dict[str, list[str]] = {
    "shapes": ["processor.py", "--parts", "shapes", "--compiled"],
    "optimum": ["optimum_peer.py"],
    "quarter": ["processor.py", "--parts", "quarter"],
    "real": ["processor.py", "--parts", "real"],
    "step": ["step_cost.py"],
    "walk": ["loop_share.py"],
    "start-up": ["start_up.py"],
    "second-start": ["second_start.py"],
    "memory": ["big_model.py"],
    "attention": ["attention_memory.py"],
    "cache-unet": ["feature_cache.py", "speed", "--networks", "unet"],
    "cache-flux": ["feature_cache.py", "speed", "--networks", "flux"],
}
"""A script and what it is told, by the name of the part."""
COUNTED = ("step", "attention")
"""Parts whose number of rounds is not chosen."""
NETWORKS = ("quarter", "real", "second-start")
"""Parts that read networks with random weights from a folder."""


def command(part: str, options: argparse.Namespace, place: Path) -> list[str] | None:
    """What is run; None where the part's peer is not named."""
    script, *arguments = PARTS[part]
    told = [script, *arguments]
    if part in NETWORKS:
        told += ["--folder", str(place / "networks")]
    if part == "memory":
        told += ["--folder", str(place / "model")]
    if part == "step" and options.k_diffusion is not None:
        told += ["--k-diffusion", str(options.k_diffusion)]
    if part == "optimum":
        if options.optimum is None:
            return None
        told += ["--packages", str(options.optimum)]
    if options.rounds is not None and part not in COUNTED:
        told += ["--rounds", str(options.rounds)]
    return told


def measured(part: str, told: list[str]) -> dict[str, Any] | None:
    """A part's figures, when and by which command; None where its script made none."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    shown = "python benchmarks/" + " ".join(hidden(told))
    print(f"== {part}: {shown}", flush=True)
    day = time.strftime("%Y-%m-%d")
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "figures.json"
        run = [sys.executable, str(HERE / told[0]), *told[1:], "--json", str(file)]
        code = subprocess.run(run, check=False, env=environment).returncode
        if not file.is_file():
            return None
        figures = json.loads(file.read_text())
    return {"command": shown, "day": day, "exit_code": code, "figures": figures}


def same_machine(found: Mapping[str, Any], figures: Mapping[str, Any]) -> bool:
    """Whether a part was measured where the file's others were."""
    where = {part["figures"]["machine"].partition(", Python")[0] for part in found.values()}
    return where <= {figures["figures"]["machine"].partition(", Python")[0]}


def hidden(told: list[str]) -> list[str]:
    """A command without the paths of this machine."""
    return ["FOLDER" if os.sep in word else word for word in told]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True, help="where the figures are or go")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, help="in place of each part's own number")
    parser.add_argument("--folder", type=Path, help="where models of random weights lie, or are "
                        "written (8 GB); a new one, which is removed, where left out")  # fmt: skip
    parser.add_argument("--optimum", type=Path, help="folder of optimum's packages")
    parser.add_argument("--k-diffusion", type=Path, help="folder of k-diffusion's packages")
    parser.add_argument("--page", action="store_true", help="measure nothing; draw the page")
    options = parser.parse_args()
    found: dict[str, Any] = json.loads(options.json.read_text()) if options.json.is_file() else {}
    if options.page:
        if not found:
            sys.exit(f"{options.json} holds no figures; measure some parts first")
        speed_page.write(found)
        return
    missed = []
    with tempfile.TemporaryDirectory() as home:
        for part in options.parts:
            told = command(part, options, options.folder or Path(home))
            if told is None:
                print(f"== {part}: not measured, --{part} names no folder", flush=True)
                continue
            figures = measured(part, told)
            if figures is not None:
                if not same_machine(found, figures):
                    sys.exit(f"{options.json} holds figures of another machine; name another file")
                found[part] = figures
                options.json.write_text(json.dumps(found, indent=1) + "\n")
            if figures is None or figures["exit_code"]:
                missed.append(part)
    if missed:
        sys.exit(f"failed or missed an aim: {', '.join(missed)}")


if __name__ == "__main__":
    main()
