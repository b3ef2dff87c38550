"""What makes runs faster, in one command: the benchmarks of speed one after the other, their
figures in one file of JSON, and a page with a plot that is made of it.

    python benchmarks/speed.py --json speed.json           # about half an hour on two cores
    python benchmarks/speed.py --page speed.json           # draws docs/reference/speed.md

With ``--optimum FOLDER`` and ``--k-diffusion FOLDER``, into which pip installed them, optimum's
pipeline and k-diffusion's loop are peers too.
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
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
SCRIPTS: dict[str, list[str]] = {
    "start_up": [],
    "step_cost": [],
    "loop_share": [],
    "processor": [],
    "feature_cache": ["speed"],
}
EQUAL = 120.0
"""The PSNR, in dB, that stands for no difference."""
NAMES = {"diffusers": "Diffusers", "ldm": "nothing chosen", "compiled": "Diffusers, compiled"}


BESIDE = (
    "`apart`: final latents or the network's answer from the peer's, relative, of optimum's the",
    "pictures, which were compared in another run than the time; of caches and of",
    "guidance on a part of the steps, the PSNR of pictures of random weights, which says little of",
    "likeness: `python benchmarks/feature_cache.py likeness` measures it on trained models.",
    "",
    "optimum's pipeline runs with packages of its own (`optimum_peer.py`), as it excludes",
    "those of this project; k-diffusion's loop where it is installed (`step_cost.py",
    "--k-diffusion FOLDER`); Diffusers with `torch.compile` where that was asked for",
    "(`processor.py --compiled`), which takes minutes to compile. Memory is measured elsewhere:",
    "[Measured peaks](measured.md), and the table of `benchmarks/README.md`. On CUDA: not",
    "measured; `benchmarks/cuda.py` measures there.",
)


def measured(scripts: Mapping[str, list[str]]) -> dict[str, Any]:
    """The figures of each script; what ended otherwise than well is kept as its exit code."""
    figures: dict[str, Any] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryDirectory() as home:
        for name, arguments in scripts.items():
            file = Path(home) / f"{name}.json"
            command = [
                sys.executable,
                str(HERE / f"{name}.py"),
                *arguments,
                "--json",
                str(file),
            ]
            print(f"== {name}", flush=True)
            code = subprocess.run(command, check=False, env=environment).returncode
            figures[name] = json.loads(file.read_text()) if file.is_file() else {}
            figures[name]["exit_code"] = code
    return figures


class Entry(NamedTuple):
    """What was measured, which way, its time over that of its peer, the peer, and how far what is
    made is from the peer's, in words."""

    work: str
    way: str
    share: float
    peer: str
    apart: str = ""


def rows(figures: Mapping[str, Any]) -> Iterator[Entry]:
    processor = figures.get("processor", {})
    works = {f"`shapes`, 25 steps, {n}": f for n, f in processor.get("shapes", {}).items()}
    names = {"quarter": "a quarter-size UNet", "real": "Stable Diffusion 1.5's UNet"}
    works |= {text: processor[key] for key, text in names.items() if key in processor}
    for work, ways in works.items():
        for way, figure in ways.items():
            if isinstance(figure, Mapping) and way != "diffusers":
                name = NAMES.get(way, f"`openvino`, {way}")
                apart = f"{figure['apart']:.1e}" if "apart" in figure else ""
                yield Entry(work, name, figure["processor_ratio"], "Diffusers", apart)
    for batch, found in figures.get("optimum_peer", {}).items():
        if isinstance(found, Mapping):
            work = f"`shapes`, 25 steps, {batch}"
            apart = f"{found['apart']:.1e}" if "apart" in found else ""
            yield Entry(work, "`openvino`, float32", found["ratio"], "optimum", apart)
    for network, ways in figures.get("feature_cache", {}).items():
        if isinstance(ways, Mapping):
            for way, times in ways.items():
                if way.startswith(("feature_cache", "taylor", "first", "blocks", "prompt", "guid")):
                    yield Entry(network, way, 1 / times, "without", likeness(ways, way))
    for scheduler, ways in figures.get("step_cost", {}).get("steps", {}).items():
        for peer in sorted(ways.keys() - {"ldm"}):
            ratio = ways["ldm"]["median"] / ways[peer]["median"]
            work = f"a step beside the network, `{scheduler}`"
            yield Entry(work, "nothing chosen", ratio, NAMES.get(peer, peer))
    for command, figure in figures.get("start_up", {}).get("ratios", {}).items():
        yield Entry(f"`{command}`", "nothing chosen", figure["cpu"], "Diffusers")
    for way, figure in figures.get("loop_share", {}).get("ways", {}).items():
        yield Entry("3 steps of a network of 53 M", way, figure["median"], "3 bare calls")


def likeness(ways: Mapping[str, float], way: str) -> str:
    """The PSNR of a way's pictures in words; nothing where it was not measured."""
    decibels = ways.get(f"PSNR of {way}")
    if decibels is None:
        return ""
    return "equal" if decibels >= EQUAL else f"{decibels:.1f} dB"


def draw(entries: list[Entry], file: Path) -> None:
    """A bar for each, the peer's time being 1."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "ldm"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.27 * len(entries) + 1), layout="constrained")
    places = range(len(entries), 0, -1)
    shares = [entry.share for entry in entries]
    colours = ["C0" if share <= 1 else "C1" for share in shares]
    bars = axes.barh(list(places), shares, color=colours)
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3, fontsize="small")
    labels = [f"{e.work}: {e.way}, over {e.peer}".replace("`", "") for e in entries]
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
        "Made by `python benchmarks/speed.py --page` of figures of the scripts that it runs, which",
        "need not be of one run, nor of as many rounds. Each way is measured in turns with its",
        "peer in the same process or, for commands, in the same rounds, in seconds of a processor,",
        "one thread, on a machine that other work may share: medians, and of the rows over",
        "`without` the least of the rounds. What the ways are:",
        "[Make it faster](../how-to/make-it-faster.md).",
        "",
        *(f"- {machine}" for machine in machines),
        "",
        "![Bars of the table below](../images/speed.svg)",
        "",
        "| what | way | time over the peer's | peer | apart |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {e.work} | {e.way} | {e.share:.3f} | {e.peer} | {e.apart} |" for e in entries),
        "",
        *BESIDE,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--scripts", nargs="+", choices=list(SCRIPTS), default=list(SCRIPTS))
    parser.add_argument("--optimum", type=Path, help="folder of optimum's packages")
    parser.add_argument("--k-diffusion", type=Path, help="folder of k-diffusion's packages")
    parser.add_argument("--page", type=Path, nargs="+", help="draw the page of these files")
    options = parser.parse_args()
    if options.page is not None:
        figures = {k: v for file in options.page for k, v in json.loads(file.read_text()).items()}
        (DOCS / "reference" / "speed.md").write_text(page(figures))
        return
    scripts = {name: [*SCRIPTS[name]] for name in options.scripts}
    if options.k_diffusion is not None and "step_cost" in scripts:
        scripts["step_cost"] += ["--k-diffusion", str(options.k_diffusion)]
    if options.optimum is not None:
        scripts["optimum_peer"] = ["--packages", str(options.optimum)]
    figures = measured(scripts)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(1 if any(found["exit_code"] for found in figures.values()) else 0)


if __name__ == "__main__":
    main()
