"""The rows of the page of measured speed, of the figures of each part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

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
        text = f"`{own['command']}`, {own['day']}" + (
            f", {many} round{'s' * (many > 1)}." if many else "."
        )
        if "without" in own["figures"]:
            text += f" Not measured: {own['figures']['without']}."
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
        name = WAYS[way].replace("`", "")
        page.peaks += [Bar(f"{name}, all", found["peak"])]
        page.peaks += [Bar(f"{name}, of no file", found["anonymous"])]
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


def parts_of_start(own: Page) -> Iterator[str]:
    parts = own.figures("start-up").get("parts")
    if parts:
        named = ", ".join(f"{part} {seconds:.2f}" for part, seconds in parts.items())
        yield f"Of `ldm generate`, CPU seconds: {named}."
