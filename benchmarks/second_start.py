"""What a start with OpenVINO adds to one with torch, once the network's graph and program are kept.

The networks are those of ``processor.py``. A start is a process of its own that reads the network
from a safetensors file which the system has in memory. Its first call takes longer than its later
ones, torch's too, as it is the first to touch the weights; what OpenVINO's takes longer less what
torch's takes longer is what a start adds. The medians of three starts of each in turns; OpenVINO's
alone stand beside them. The first start of all converts, compiles and compares, and is told apart.

A program's weights want as much memory as the network's: where the system has to take it from
others first, that is in the figure. Exits 1 where a second start adds more than 3 seconds of a
processor.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from machine import describe

AIM, STARTS = 3.0, 3
NETWORKS = ("quarter", "real")


def start(folder: Path, cache: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What the first start with OpenVINO takes beyond its later calls, and what a later start
    adds to one with torch."""

    def one(way: str) -> dict[str, float]:
        command = [sys.executable, __file__, "--start", way, "--network", str(folder)]
        command += ["--cache", str(cache), "--threads", str(options.threads)]
        home = {**os.environ, "XDG_CACHE_HOME": str(cache / "home")}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=home)
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures

    first = one("openvino")
    pairs = [(one("torch"), one("openvino")) for _ in range(options.rounds)]

    def median(key: str) -> float:
        return statistics.median(ours[key] for _, ours in pairs)

    second: dict[str, float] = {}
    for key in ("clock", "processor"):
        second[f"alone_{key}"] = median(key)
        second[f"adds_{key}"] = statistics.median(ours[key] - torch[key] for torch, ours in pairs)
    second |= {key: median(key) for key in ("peak_gib", "weights_gib")}
    return {"first": first, "second": second, "starts": pairs}


def started(way: str, folder: Path, cache: Path) -> dict[str, float]:
    """Seconds to the first answer beyond those to a later one."""
    import resource

    import torch

    import random_networks
    from ldm_plugins.converters.shared.programs import Programs
    from timing import spent

    network = random_networks.read(folder)
    way_of = Programs(network, "float32", cache) if way == "openvino" else network
    call = random_networks.call_of(way_of)
    with torch.no_grad():
        first, *later = [spent(call) for _ in range(3)]
    return {
        "clock": first.clock - min(one.clock for one in later),
        "processor": first.processor - min(one.processor for one in later),
        "weights_gib": sum(p.nbytes for p in network.parameters()) / 2**30,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=STARTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where networks lie or are written")
    parser.add_argument("--cache", type=Path, help="folder of programs; a new one where left out")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--start", choices=["openvino", "torch"], help=argparse.SUPPRESS)
    parser.add_argument("--network", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    import random_networks

    torch.set_num_threads(options.threads)
    if options.start:
        print(json.dumps(started(options.start, options.network, options.cache)))
        return
    machine = describe("ldm-core", "diffusers", "torch", "openvino")
    print(machine, f"{options.threads} threads", sep="\n", flush=True)
    report: dict[str, Any] = {"machine": machine, "threads": options.threads}
    report |= {"rounds": options.rounds, "missed": []}
    with tempfile.TemporaryDirectory() as home:
        for name in options.networks:
            folder = random_networks.written(name, options.folder or Path(home))
            report[name] = found = start(folder, options.cache or Path(home), options)
            for which in ("first", "second"):
                print(f"{which} start of {name}: {json.dumps(found[which])}", flush=True)
            adds = found["second"]["adds_processor"]
            if adds > AIM:
                report["missed"].append(f"{name}: adds {adds:.1f} s of a processor, above {AIM}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if report["missed"]:
        sys.exit(f"missed: {', '.join(report['missed'])}")


if __name__ == "__main__":
    main()
