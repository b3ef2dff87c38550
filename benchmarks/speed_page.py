"""The page of measured speed, drawn of the figures that `speed.py` collects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).resolve().parents[1] / "docs"
WAYS = {
    "diffusers": "Diffusers",
    "compiled": "Diffusers, `torch.compile`",
    "ldm": "nothing chosen",
    "float32": "`openvino`, float32",
    "bfloat16": "`openvino`, bfloat16",
    "optimum": "optimum's OpenVINO pipeline",
    "ours": "nothing chosen",
    "disk": "`group_offload` to disk",
    "openvino": "`openvino`, float32",
    "uncached": "without",
}
EQUAL = 120.0
"""The PSNR, in dB, that stands for no difference."""
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
    "process that finds its graph and program kept. By the clock OpenVINO's alone is told: other",
    "programs, where they slow some calls of torch and not others, are all that the difference",
    "shows. A first start converts, compiles, compares.",
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
Figures = Mapping[str, Any]


class Bar(NamedTuple):
    """A way's figure over that of its peer."""

    label: str
    share: float


class Page:
    """Lines of Markdown, and the bars that are drawn beside them."""

    def __init__(self, parts: Figures) -> None:
        self.parts = parts
        self.lines: list[str] = []
        self.times: list[Bar] = []
        self.peaks: list[Bar] = []

    def figures(self, part: str) -> Any:
        """Nothing where it was not measured."""
        return self.parts[part]["figures"] if part in self.parts else {}

    def bar(self, label: str, share: float) -> str:
        """A ratio of times in words, which is a bar too."""
        self.times.append(Bar(label.replace("`", ""), share))
        return f"{share:.3f}"

    def table(self, title: str, head: str, rows: Iterable[tuple[str, ...]], *parts: str) -> None:
        """A section; nothing but what was not measured where no part was."""
        self.lines += [title, ""] if title else []
        columns = head.split(" | ")
        cells = [
            "| " + " | ".join(each) + " |" for each in (columns, ["---"] * len(columns), *rows)
        ]
        self.lines += [*cells, ""] if len(cells) > 2 else []
        for part in parts:
            self.lines += [self.told(part), ""]

    def told(self, part: str) -> str:
        """How it was measured, and which aims it missed."""
        if part not in self.parts:
            return f"`--parts {part}` was not measured."
        own = self.parts[part]
        rounds = own["figures"].get("rounds")
        many = next(iter(rounds.values())) if isinstance(rounds, Mapping) else rounds
        text = f"`{own['command']}`, {own['day']}" + (f", {many} rounds." if many else ".")
        missed = own["figures"].get("missed")
        return f"{text} **Missed: {'; '.join(missed)}.**" if missed else text


def works(page: Page) -> Iterator[tuple[str, ...]]:
    """Whole pictures and calls of a network by each way."""
    named = {f"`shapes`, {n}": ways for n, ways in page.figures("shapes").get("shapes", {}).items()}
    for part, text in (("quarter", "quarter-size UNet"), ("real", "Stable Diffusion 1.5's UNet")):
        if part in page.parts:
            named[text] = page.figures(part)[part]
    for work, ways in named.items():
        for way, found in ways.items():
            if isinstance(found, Mapping):
                yield work, WAYS[way], *cost(page, work, way, found), far(found)


def cost(page: Page, work: str, way: str, found: Figures) -> tuple[str, ...]:
    own = f"{found['processor']:.3f}", f"{found['seconds']:.3f}"
    if way == "diffusers":
        return *own, "1", "1", f"{found['first_processor']:.1f}"
    share = page.bar(f"{work}: {WAYS[way]}, over Diffusers", found["processor_ratio"])
    return *own, share, f"{found['ratio']:.3f}", f"{found['first_processor']:.1f}"


def far(found: Figures) -> str:
    return f"{found['apart']:.1e}" if "apart" in found else ""


def optimum(page: Page) -> Iterator[tuple[str, ...]]:
    for batch, found in page.figures("optimum").items():
        if isinstance(found, Mapping):
            ours, theirs = found["ldm"], found["optimum"]
            work = f"`shapes`, {batch}"
            share = page.bar(f"{work}: openvino, over optimum", found["processor_ratio"])
            clock = f"{ours['seconds']:.3f} / {theirs['seconds']:.3f}"
            processor = f"{ours['processor']:.3f} / {theirs['processor']:.3f}"
            yield work, processor, clock, share, f"{found['ratio']:.3f}", far(found)


def steps(page: Page) -> Iterator[tuple[str, ...]]:
    for scheduler, ways in page.figures("step").get("steps", {}).items():
        ours = ways["ldm"]
        for whose, found in ways.items():
            share = "1"
            if whose != "ldm":
                work = f"a step, {scheduler}: over {WAYS.get(whose, whose)}"
                share = page.bar(work, ours["median"] / found["median"])
            cells = (f"{found[k]:.1f}" for k in ("least", "median", "median_clock"))
            yield (
                f"`{scheduler}`",
                "ldm" if whose == "ldm" else WAYS.get(whose, whose),
                *cells,
                share,
            )


def walk(page: Page) -> Iterator[tuple[str, ...]]:
    for way, found in page.figures("walk").get("ways", {}).items():
        share = page.bar(f"3 steps of 53 M weights: {way}, over 3 bare calls", found["median"])
        seconds = f"{found['processor']:.3f}", f"{found['seconds']:.3f}"
        yield way, *seconds, share, f"{found['median_clock']:.3f}"


def starts(page: Page) -> Iterator[tuple[str, ...]]:
    figures = page.figures("start-up")
    for program, found in figures.get("seconds", {}).items():
        ratio = figures["ratios"].get(program)
        shares = ("", "", "")
        if ratio is not None:
            share = page.bar(f"{program}, over Diffusers", ratio["cpu"])
            shares = (share, f"{ratio['wall']:.3f}", f"{ratio['aim']:.3f}")
        yield f"`{program}`", f"{found['cpu']:.2f}", f"{found['wall']:.2f}", *shares


def second(page: Page) -> Iterator[tuple[str, ...]]:
    for network in ("quarter", "real"):
        if network in page.figures("second-start"):
            found = page.figures("second-start")[network]
            own, first = found["second"], found["first"]
            keys = ("adds_processor", "alone_processor", "alone_clock")
            cold = f"{first['processor']:.1f}", f"{first['clock']:.1f}"
            yield network, *(f"{own[k]:.2f}" for k in keys), *cold


def memory(page: Page) -> Iterator[tuple[str, ...]]:
    ways = page.figures("memory").get("ways", {})
    peer = ways.get("diffusers")
    for way, found in ways.items():
        share = found["peak"] / peer["peak"]
        page.peaks.append(Bar(WAYS[way].replace("`", ""), found["peak"]))
        cells = (f"{found[key]:.2f}" for key in ("peak", "anonymous"))
        seconds = (f"{found[key]:.1f}" for key in ("processor", "time", "load"))
        apart = f"{found['apart from diffusers']:.1e}"
        yield WAYS[way], *cells, f"{share:.2f}", *seconds, apart


def attention(page: Page) -> Iterator[tuple[str, ...]]:
    kernels = page.figures("attention").get("kernels", {})
    for kernel, found in kernels.items():
        share = found["bytes"] / kernels["quadratic"]["bytes"]
        seconds = f"{found['cpu_seconds']:.2f}", f"{found['seconds']:.2f}"
        yield f"`{kernel}`", f"{found['bytes'] / 2**20:.1f}", f"{share:.3f}", *seconds


def caches(page: Page) -> Iterator[tuple[str, ...]]:
    for part, network in (("cache-unet", "quarter UNet"), ("cache-flux", "cut-down Flux")):
        for way, found in page.figures(part).get(network, {}).items():
            if isinstance(found, Mapping) and "psnr" in found:
                share = "1"
                if way != "uncached":
                    share = page.bar(f"{network}: {way}, over without", found["processor_ratio"])
                like = "equal" if found["psnr"] >= EQUAL else f"{found['psnr']:.1f} dB"
                seconds = f"{found['processor']:.2f}", f"{found['seconds']:.2f}"
                yield network, WAYS.get(way, way), *seconds, share, f"{found['faster']:.2f}", like


def page(parts: Figures) -> Page:
    """The page's text, and what its plots show."""
    own = Page(parts)
    seconds = "CPU s | clock s | CPU, of the peer's | clock, of the peer's"
    own.table(
        "## Whole pictures, and calls of a network",
        f"what | way | {seconds} | first call, CPU s | apart",
        works(own),
        *("shapes", "quarter", "real"),
    )
    own.lines += [*APART, ""]
    own.table(
        "### Against optimum's pipeline",
        "what | CPU s, ours / theirs | clock s, ours / theirs | CPU, of theirs | "
        "clock, of theirs | pictures apart",
        optimum(own),
        "optimum",
    )
    own.table(
        "## A step beside the network",
        "scheduler | whose loop | CPU µs, least | CPU µs | clock µs | ours over theirs, CPU",
        steps(own),
        "step",
    )
    own.table("", f"3 steps against 3 bare calls | {seconds}", walk(own), "walk")
    if "walk" in parts:
        share = own.figures("walk")["outside"]["median"]
        own.lines += [f"Outside its network calls this walk spends {share:.5f} of them.", ""]
    own.table(
        "## Start-up",
        "program | CPU s | clock s | CPU, of the peer's | clock, of the peer's | aim",
        starts(own),
        "start-up",
    )
    own.lines += [*parts_of_start(own), ""]
    own.table(
        "### A second start with OpenVINO",
        "network | adds, CPU s | OpenVINO alone, CPU s | clock s | first start, CPU s | clock s",
        second(own),
        "second-start",
    )
    own.lines += [*ADDS, ""]
    own.table(
        "## Memory, at Stable Diffusion 1.5's size",
        "way | peak, GiB | of no file, GiB | peak, of Diffusers' | CPU s | clock s | "
        "of these to load | pixels apart",
        memory(own),
        "memory",
    )
    own.table(
        "### Attention at 16,384 tokens",
        "kernel | peak, MiB | of the formula's | CPU s | clock s",
        attention(own),
        "attention",
    )
    own.table(
        "## Caches of features, and guidance on half the steps",
        "network | way | CPU s | clock s | CPU, of without | times faster | PSNR",
        caches(own),
        *("cache-unet", "cache-flux"),
    )
    own.lines += [*LIKENESS, ""]
    return own


def parts_of_start(own: Page) -> Iterator[str]:
    parts = own.figures("start-up").get("parts")
    if parts:
        named = ", ".join(f"{part} {seconds:.2f}" for part, seconds in parts.items())
        yield f"Of `ldm generate`, CPU seconds: {named}."


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
