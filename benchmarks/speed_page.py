"""The page of measured speed, drawn of the figures that `speed.py` collects."""

from __future__ import annotations

import json
from pathlib import Path

import speed_rows as rows
from speed_rows import Bar, Figures, Page

DOCS = Path(__file__).resolve().parents[1] / "docs"
HEAD = """# Measured speed

Made by `python benchmarks/speed.py`: one command, one file of figures ([speed.json](speed.json)),
and this page, which `--page` draws of it. All parts together outlast what some machines are lent
for, so the file was filled by several calls, with `--parts`; under each table stand the command of
its part, and the day. In a part every way is measured in turns with its peer, on one thread, in one
process or, for whole programs, in processes in turns. Figures are medians of the rounds, and ratios
those of each round's pair. Other programs ran on the machine, which lengthens seconds by the clock
and moves those of a processor (CPU) little: compare the latter.
What the ways are: [Make it faster](../how-to/make-it-faster.md).

"""
APART = (
    "*Apart*: final latents, or the network's answer, from the peer's, relative. *First call*:",
    "what it took, compiling and all; `torch.compile` is that of `StableDiffusionPipeline.unet`,",
    "nothing else chosen, and nothing kept of earlier runs. A call has two rows, 64x64 latents.",
)
ADDS = (
    "*Adds*: what OpenVINO's first call takes beyond its later ones, less what torch's does, in a",
    "process that finds its graph and program kept. By the clock OpenVINO's alone is told, as what",
    "other programs take from one call of torch and not from another would be in the difference. A",
    "first start converts, compiles, and compares with torch.",
)
PEAKS = (
    "Loading, two steps with guidance at 512 px and decoding, float32, random weights. *Peak*:",
    "all that is resident. A file's pages, which the system takes back where it needs them, are",
    "counted for each that maps them: OpenVINO maps the weights once more. *Of no file*: what",
    "other programs lack. OpenVINO's programs were kept by a run before.",
)
LIKENESS = (
    "The PSNR is of pictures of random weights, and says little of likeness, which",
    "`python benchmarks/feature_cache.py likeness` measures on trained models.",
)
END = """## On CUDA

Not measured: no GPU has been at hand since its stages were complete. `benchmarks/cuda.py` measures
there, against Diffusers as it is and compiled, in at most eight minutes; the tests run all its
stages at tiny sizes on a CPU.
"""


def page(parts: Figures) -> Page:
    """The page's text, and what its plots show."""
    own = Page(parts)
    seconds = "CPU s | clock s | CPU, of the peer's | clock, of the peer's"
    own.table(
        "## Whole pictures, and calls of a network",
        f"what | way | {seconds} | first call, CPU s | apart",
        rows.works(own),
        *("shapes", "quarter", "real"),
    )
    own.lines += [*APART, ""]
    own.table(
        "### Against optimum's pipeline",
        "what | CPU s, ours / theirs | clock s, ours / theirs | CPU, of theirs | "
        "clock, of theirs | pictures apart",
        rows.optimum(own),
        "optimum",
    )
    own.table(
        "## A step beside the network",
        "scheduler | whose loop | CPU µs, least | CPU µs | clock µs | ours over theirs, CPU",
        rows.steps(own),
        "step",
    )
    own.table("", f"3 steps against 3 bare calls | {seconds}", rows.walk(own), "walk")
    if "walk" in parts:
        share = own.figures("walk")["outside"]["median"]
        own.lines += [f"Outside its network calls this walk spends {share:.5f} of them.", ""]
    own.table(
        "## Start-up",
        "program | CPU s | clock s | CPU, of the peer's | clock, of the peer's | aim",
        rows.starts(own),
        "start-up",
    )
    own.lines += [*rows.parts_of_start(own), ""]
    own.table(
        "### A second start with OpenVINO",
        "network | adds, CPU s | OpenVINO alone, CPU s | clock s | first start, CPU s | clock s",
        rows.second(own),
        "second-start",
    )
    own.lines += [*ADDS, ""]
    own.table(
        "## Memory, at Stable Diffusion 1.5's size",
        "way | peak, GiB | of no file, GiB | peak, of Diffusers' | CPU s | clock s | "
        "of these to load | pixels apart",
        rows.memory(own),
        "memory",
    )
    own.lines += [*PEAKS, ""]
    own.table(
        "### Attention at 16,384 tokens",
        "kernel | peak, MiB | of the formula's | CPU s | clock s",
        rows.attention(own),
        "attention",
    )
    own.table(
        "## Caches of features, and guidance on half the steps",
        "network | way | CPU s | clock s | CPU, of without | times faster | PSNR",
        rows.caches(own),
        *("cache-unet", "cache-flux"),
    )
    own.lines += [*LIKENESS, ""]
    return own


def text(parts: Figures) -> str:
    """The whole page in Markdown."""
    own = page(parts)
    machines = sorted({part["figures"]["machine"] for part in parts.values()})
    plots = ["![Bars of times over those of peers](../images/speed.svg)", ""]
    if own.peaks:
        plots += ["![Bars of peaks of memory](../images/speed-memory.svg)", ""]
    lines = [*(f"- {machine}" for machine in machines), "", *plots, *own.lines, END]
    return HEAD + "\n".join(lines)


def draw(bars: list[Bar], label: str, file: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "ldm"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 0.25 * len(bars) + 1), layout="constrained")
    places = list(range(len(bars), 0, -1))
    shares = [bar.share for bar in bars]
    drawn = axes.barh(places, shares, color="C0")
    axes.bar_label(drawn, [f"{share:.2f}" for share in shares], padding=3, fontsize="small")
    axes.set_yticks(places, [bar.label for bar in bars], fontsize="small")
    if "peer" in label:
        axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xlabel=label, xlim=(0, 1.15 * max(shares)))
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def write(parts: Figures) -> None:
    """The page, its figures and its plots, into the documentation."""
    own = page(parts)
    (DOCS / "reference" / "speed.json").write_text(json.dumps(parts, indent=1) + "\n")
    (DOCS / "reference" / "speed.md").write_text(text(parts))
    draw(own.times, "CPU time over the peer's (shorter is faster)", DOCS / "images" / "speed.svg")
    if own.peaks:
        draw(own.peaks, "peak of memory, GiB", DOCS / "images" / "speed-memory.svg")
