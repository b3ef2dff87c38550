"""Runs of 30 steps with guidance of a network of SDXL's size in bfloat16, at 1024x1024 (latents of
128x128): what keeps the picture and makes it faster, against Diffusers as it is and compiled.

The modules are those of the stage ``large``. What the row ``--fast`` takes is what converters name
for a card, which is what is published to pay; the row ``lossless`` stacks by name all that keeps
the picture and is meant for cards. Peaks are measured first, while nothing else is on the
device. The card's own limit is what a product of two large
matrices reaches on it in the same run; the run's share of it is by the operations of the network,
counted on shapes alone.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ldm_core import Pipeline
from on_gpu import large
from on_gpu.bench import Bench, Figures, apart, finite, median, noise, ratio
from on_gpu.random_modules import DTYPE

STEPS, SCALE, ROUNDS = 30, 5.0, 1
AIMS = {"over_diffusers": 1 / 1.7, "over_compiled": 1 / 1.25, "peak_gib": 5.6}
"""Of the best of ours, at most; the peak, weights and all, of a run to its latents with the text
encoders waiting in the main memory."""


def choices(bench: Bench) -> dict[str, list[Any]]:
    """Converters that keep the picture, by what a row is called."""
    backend = {"backend": "eager"} if bench.quick else {}
    program = {"name": "compile", **backend}
    loop = {"name": "whole_loop", **backend}
    together = ["channels_last", "fused_qkv", program]
    several: dict[str, list[Any]] = {"lossless": together}
    if bench.cuda:
        tuned = {"name": "compile", "mode": "max-autotune-no-cudagraphs"}
        several["lossless, cuda_graph"] = [*together, "cuda_graph"]
        several["lossless, tuned"] = ["channels_last", "fused_qkv", tuned]
    several |= {
        "as it is": [],
        "compile": [program],
        "compile, channels_last": [program, "channels_last"],
        "whole_loop": [loop],
        "channels_last": ["channels_last"],
        "fused_qkv": ["fused_qkv"],
        "prompt_cache": ["prompt_cache"],
    }
    if bench.cuda:
        several["cuda_graph"] = ["cuda_graph"]
    return several


def operations(network: nn.Module, side: int) -> float:
    """Floating-point operations of one call of two rows, counted on shapes alone."""
    import copy

    with torch.device("meta"):
        shaped = copy.deepcopy(network).to("meta")
        x = torch.empty(2, 4, side, side, dtype=DTYPE)
        text = torch.empty(2, 77, shaped.config["cross_attention_dim"], dtype=DTYPE)
        pooled = torch.empty(2, 1280, dtype=DTYPE)
        added = {"text_embeds": pooled, "time_ids": torch.empty(2, 6, dtype=DTYPE)}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shaped(x, torch.empty((), device="meta"), text, added_cond_kwargs=added)
    return float(counter.get_total_flops())


def reached(bench: Bench) -> float:
    """Operations a second of a product of two large matrices in bfloat16."""
    side = 256 if bench.quick else 8192
    one, other = (torch.randn(side, side, device=bench.device, dtype=DTYPE) for _ in "ab")
    times = bench.in_turn({"product": lambda: one @ other}, 5)["product"]
    return 2.0 * side**3 / median(times)


def run(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as place:
        runs = Runs(bench, Path(place) / "model")
        bench.measure("all parts offloaded", lambda: runs.offloaded(None))
        bench.measure("text encoders offloaded", lambda: runs.offloaded(["text"]))
        bench.measure("the card and the network", runs.about)
        bench.measure("Diffusers", lambda: runs.measured("diffusers", runs.theirs))
        bench.measure("Diffusers, compiled", lambda: runs.measured("compiled", runs.compiled))
        bench.measure("--fast", runs.chosen)
        for name, converters in choices(bench).items():
            bench.measure(name, lambda n=name, c=converters: runs.ours(n, c))
        bench.row("aims", **AIMS)


class Runs:
    """Programs on the same modules, each against Diffusers' in turns."""

    def __init__(self, bench: Bench, place: Path) -> None:
        self._bench = bench
        self._side = large.side_of(bench)
        self._steps = 2 if bench.quick else STEPS
        call = {"guidance_scale": SCALE, "num_inference_steps": self._steps}
        self._call: dict[str, Any] = {**call, **large.sdxl_size(bench)}
        self._folder, self._modules = large.sdxl_modules(bench, place)
        self._network = self._modules["unet"]
        self._truth: Tensor | None = None
        self._compiled: Callable[[], Tensor] | None = None

    @cached_property
    def _pipe(self) -> Pipeline:
        return large.ours_with(self._folder, self._bench.device, self._there())

    @cached_property
    def _peer(self) -> Any:
        return large.theirs_with(self._folder, self._bench.device, self._there())

    def _there(self) -> dict[str, nn.Module]:
        """The modules, on the device."""
        return {name: module.to(self._bench.device) for name, module in self._modules.items()}

    @cached_property
    def _operations(self) -> float:
        return self._steps * operations(self._network, self._side)

    @cached_property
    def _reached(self) -> float:
        return reached(self._bench)

    def about(self) -> Figures:
        return {
            "teraflop_a_run": self._operations / 1e12,
            "product_teraflop_s": self._reached / 1e12,
        }

    def theirs(self) -> Tensor:
        x = noise(range(1), (4, self._side, self._side), self._bench.device, DTYPE)
        latents: Tensor = self._peer(
            large.PROMPT, latents=x, output_type="latent", **self._call
        ).images
        return latents

    def compiled(self) -> Tensor:
        """Diffusers with its network compiled; whole, or its repeated blocks where it is tiny."""
        if self._compiled is None:
            backend = "eager" if self._bench.quick else "inductor"
            network = torch.compile(self._network, backend=backend)

            def run() -> Tensor:
                before, self._peer.unet = self._peer.unet, network
                try:
                    return self.theirs()
                finally:
                    self._peer.unet = before

            self._compiled = run
        return self._compiled()

    def measured(self, name: str, program: Callable[[], Tensor]) -> Figures:
        """The first run and the others, and what is between its latents and Diffusers'."""
        first = self._bench.seconds(program)
        latents, peak = self._bench.peak(program)
        turns = {"diffusers": self.theirs, name: program}
        if self._compiled is not None:
            turns["compiled"] = self.compiled
        times = self._bench.in_turn(turns, ROUNDS, warm=self._truth is not None)
        if self._truth is None:
            self._truth = self.theirs()
        figures: dict[str, Any] = {
            "first_s": first,
            "run_s": median(times[name]),
            "over_diffusers": ratio(times[name], times["diffusers"]),
            "latents_apart": apart(latents, self._truth),
            "finite": finite(latents),
            "of_the_card": self._operations / median(times[name]) / self._reached,
        }
        if self._compiled is not None:
            figures["over_compiled"] = ratio(times[name], times["compiled"])
        return figures if peak is None else {**figures, "peak_mib": peak}

    def ours(self, name: str, converters: list[Any]) -> Figures:
        pipe = self._pipe.replace(converters=converters)
        return self.measured(name, large.drawing(pipe, self._call))

    def chosen(self) -> Figures:
        """As a person has it with ``--fast``, and which converters that takes here."""
        place = {"device": self._bench.device, "dtype": "bfloat16", "compute_dtype": "bfloat16"}
        asked = Pipeline.from_pretrained(self._folder, fast="lossless", **place)
        converters = asked.recipe.get("converters", [])
        taken = [c if isinstance(c, str) else str(c["name"]) for c in converters]
        pipe = self._pipe.replace(converters=converters)
        figures = self.measured("--fast", large.drawing(pipe, self._call))
        return {"taken": ", ".join(taken) or "nothing", **figures}

    def offloaded(self, parts: list[str] | None) -> Figures:
        """The most that the device holds, weights and all, in a run to its latents and in one to
        its picture; parts that wait do so in the main memory, and nowhere on the device.

        Args:
            parts: which take turns on the device; all where None.
        """
        bench = self._bench
        waiting = [n for n in self._modules if parts is None or n.startswith("text")]
        modules = {**self._there(), **{n: self._modules[n].to("cpu") for n in waiting}}
        offload = {"name": "model_offload", **({} if parts is None else {"parts": parts})}
        pipe = large.ours_with(self._folder, bench.device, modules).replace(converters=[offload])
        weights = {n: sum(w.nbytes for w in m.parameters()) / 2**30 for n, m in modules.items()}
        figures: dict[str, Any] = {f"{name}_gib": gib for name, gib in weights.items()}
        for key, form in (("peak_gib", "latent"), ("peak_with_decoding_gib", "pt")):
            if bench.cuda:
                gc.collect()
                bench.wait()
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            images = pipe(large.PROMPT, seed=0, output_type=form, **self._call).images
            figures["finite"] = figures.get("finite", True) and finite(images)
            if bench.cuda:
                bench.wait()
                figures[key] = torch.cuda.max_memory_allocated() / 2**30
        return figures
