"""What makes runs faster, in one command: the benchmarks of speed one after the other, their
figures in one file of JSON, and a page with a plot that is made of it.

    python benchmarks/speed.py --json speed.json           # about half an hour on two cores
    python benchmarks/speed.py --page speed.json           # draws docs/reference/speed.md

Each script is a process of its own, with a thread; what it prints goes where this prints.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
SCRIPTS: dict[str, list[str]] = {
    "start_up": [],
    "step_cost": [],
    "loop_share": [],
    "processor": [],
    "feature_cache": ["speed"],
}
NAMES = {"diffusers": "Diffusers", "ldm": "nothing chosen", "compiled": "Diffusers, compiled"}


def measured(scripts: list[str]) -> dict[str, Any]:
    """The figures of each script; what ended otherwise than well is kept as its exit code."""
    figures: dict[str, Any] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryDirectory() as home:
        for name in scripts:
            file = Path(home) / f"{name}.json"
            command = [
                sys.executable,
                str(HERE / f"{name}.py"),
                *SCRIPTS[name],
                "--json",
                str(file),
            ]
            print(f"== {name}", flush=True)
            code = subprocess.run(command, check=False, env=environment).returncode
            figures[name] = json.loads(file.read_text()) if file.is_file() else {}
            figures[name]["exit_code"] = code
    return figures


def rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, float, str]]:
    """What was measured, which way, its time over that of its peer, and the peer."""
    processor = figures.get("processor", {})
    works = {f"`shapes`, 25 steps, {n}": f for n, f in processor.get("shapes", {}).items()}
    names = {"quarter": "a quarter-size UNet", "real": "Stable Diffusion 1.5's UNet"}
    works |= {text: processor[key] for key, text in names.items() if key in processor}
    for work, ways in works.items():
        for way, figure in ways.items():
            if isinstance(figure, Mapping) and way != "diffusers":
                name = NAMES.get(way, f"`openvino`, {way}")
                yield work, name, figure["processor_ratio"], "Diffusers"
    for network, ways in figures.get("feature_cache", {}).items():
        if isinstance(ways, Mapping):
            for way, times in ways.items():
                if way.startswith(("feature_cache", "taylor", "first", "blocks", "prompt", "guid")):
                    yield network, way, 1 / times, "without"
    for scheduler, ways in figures.get("step_cost", {}).get("steps", {}).items():
        for peer in ways.keys() - {"ldm"}:
            ratio = ways["ldm"]["median"] / ways[peer]["median"]
            yield f"a step beside the network, `{scheduler}`", "nothing chosen", ratio, peer
    for command, figure in figures.get("start_up", {}).get("ratios", {}).items():
        yield f"`{command}`", "nothing chosen", figure["cpu"], "Diffusers"
    for way, figure in figures.get("loop_share", {}).get("ways", {}).items():
        yield "3 steps of a network of 53 M", way, figure["median"], "3 bare calls"


def draw(entries: list[tuple[str, str, float, str]], file: Path) -> None:
    """A bar for each, the peer's time being 1."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "ldm"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.27 * len(entries) + 1), layout="constrained")
    places = range(len(entries), 0, -1)
    shares = [entry[2] for entry in entries]
    colours = ["C0" if share <= 1 else "C1" for share in shares]
    bars = axes.barh(list(places), shares, color=colours)
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3, fontsize="small")
    labels = [f"{work}: {way}".replace("`", "") for work, way, _, _ in entries]
    axes.set_yticks(list(places), labels, fontsize="small")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xlabel="processor time over the peer's (shorter is faster)", xlim=(0, 1.25))
    figure.savefig(file, metadata={"Date": None})


def page(figures: Mapping[str, Any]) -> str:
    entries = list(rows(figures))
    draw(entries, DOCS / "images" / "speed.svg")
    machines = sorted({f["machine"] for f in figures.values() if isinstance(f.get("machine"), str)})
    lines = [
        "# Measured speed",
        "",
        "Made by `python benchmarks/speed.py`, which measures each way in turns with its peer in",
        "the same process or, for commands, in the same rounds; medians of seconds of a processor,",
        "one thread, on a machine that other work may share. What the ways are:",
        "[Make it faster](../how-to/make-it-faster.md).",
        "",
        *machines,
        "",
        "![Bars of the table below](../images/speed.svg)",
        "",
        "| what | way | time over the peer's | peer |",
        "| --- | --- | --- | --- |",
        *(f"| {work} | {way} | {share:.3f} | {peer} |" for work, way, share, peer in entries),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--scripts", nargs="+", choices=list(SCRIPTS), default=list(SCRIPTS))
    parser.add_argument("--page", type=Path, nargs="+", help="draw the page of these files")
    options = parser.parse_args()
    if options.page is not None:
        figures = {k: v for file in options.page for k, v in json.loads(file.read_text()).items()}
        (DOCS / "reference" / "speed.md").write_text(page(figures))
        return
    figures = measured(options.scripts)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(1 if any(found["exit_code"] for found in figures.values()) else 0)


if __name__ == "__main__":
    main()
