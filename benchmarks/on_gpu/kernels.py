"""Attention kernels: error against the formula in float64, time and memory against torch's own;
and what they draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import as_kernel
from ldm_core.plugins.options import REQUIRED, with_options
from ldm_core.plugins.registry import Plugin, installed
from on_gpu.bench import Bench, Figures, apart, median, ratio, tf32

HEADS, WIDTH = 8, 64
TOKENS, ROUNDS = (4096, 16384), 5
DTYPES = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-4}
"""With the distance of a run's latents that is expected of another kernel in each."""
BACKENDS = {
    f"native {backend}": {"backend": backend} for backend in ("flash", "efficient", "cudnn", "math")
}
"""Torch's own kernels one by one, by what a row is called."""
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def formula(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q·kᵀ/√width)·v in float64, a head and 1,024 queries at a time."""
    heads = []
    for one, keys, values in zip(q[0].double(), k[0].double(), v[0].double(), strict=True):
        parts = [
            (part @ keys.T / math.sqrt(WIDTH)).softmax(-1) @ values for part in one.split(1024)
        ]
        heads.append(torch.cat(parts))
    return torch.stack(heads)[None]


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The formula in the type of q, with the matrix of all scores."""
    return ((q @ k.transpose(-1, -2)) / math.sqrt(WIDTH)).softmax(-1) @ v


def kernels(device: str, dtype: str) -> tuple[dict[str, Attend], dict[str, str]]:
    """Ours that run there, beside torch's own and the plain formula; and why the others do not."""
    able: dict[str, Attend] = {"torch": scaled_dot_product_attention, "formula": plain}
    unable: dict[str, str] = {}

    def ours(plugin: Plugin, choice: dict[str, Any]) -> Attend | str:
        if any(option.default is REQUIRED for option in plugin.options.values()):
            return "it is a chain of others"
        if plugin.name == "flex" and device == "cpu":
            return "it is compiled for each size, which takes longer there than all else"
        try:
            kernel = as_kernel(with_options(plugin.loaded, choice))
            kernel = kernel.on(device.partition(":")[0], dtype)
        except LdmError as error:  # its package is not installed, or it does not run there
            return " ".join(str(error).split())
        return lambda q, k, v: kernel.attend(q, k, v, None, 1 / math.sqrt(WIDTH))

    plugins = {plugin.name: plugin for plugin in installed().of_kind("attention")}
    for name, choice in {**{name: {} for name in plugins}, **BACKENDS}.items():
        kernel = ours(plugins[name.partition(" ")[0]], choice)
        if isinstance(kernel, str):
            unable[name] = kernel
        else:
            able[name] = kernel
    return able, unable


def compare(bench: Bench, tokens: int, dtype: str) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 1, HEADS, tokens, WIDTH)
    q, k, v = torch.randn(shape, generator=generator).to(bench.device, getattr(torch, dtype))
    truth = formula(q, k, v).cpu()
    peer: dict[str, Any] = {}
    for name, attend in kernels(bench.device, dtype)[0].items():

        def one(name: str = name, attend: Attend = attend) -> Figures:
            def call() -> Tensor:
                return attend(q, k, v)

            error = apart(call(), truth)
            turns = {"torch": lambda: scaled_dot_product_attention(q, k, v), "own": call}
            rounds = 1 if bench.quick else ROUNDS
            # several calls a turn, as one may be shorter than what starting it takes
            several = {n: repeated(run, 1 if bench.quick else 4) for n, run in turns.items()}
            times = bench.in_turn(several, rounds)
            _, peak = bench.peak(call)
            peer.setdefault("peak", peak)
            figures: dict[str, Any] = {
                "error": error,
                "milliseconds": median(times["own"]) / (1 if bench.quick else 4) * 1e3,
                "time_over_torch": ratio(times["own"], times["torch"]),
            }
            if peak is not None:
                figures |= {"peak_mib": peak, "peak_over_torch": peak / peer["peak"]}
            return figures

        bench.measure(f"{name}, {dtype}, {tokens} tokens", one)


def repeated(run: Callable[[], Any], times: int) -> Callable[[], None]:
    def several() -> None:
        for _ in range(times):
            run()

    return several


def drawn(bench: Bench, dtype: str, name: str) -> Figures:
    """Latents of `shapes` with a kernel, against torch's own."""
    pipe = Pipeline.from_pretrained(
        "shapes", device=bench.device, dtype=dtype, compute_dtype=dtype, num_inference_steps=4
    )
    call: dict[str, Any] = {"seed": 1, "output_type": "latent"}
    prompt = "a large red circle on a blue background"
    one, two = (p(prompt, **call).images for p in (pipe.replace(attention=name), pipe))
    return {"native": apart(one, two), "expected_below": DTYPES[dtype]}


def run(bench: Bench) -> None:
    with tf32(False), torch.no_grad():
        for dtype in DTYPES:
            for tokens in (256,) if bench.quick else TOKENS:
                compare(bench, tokens, dtype)
            able, unable = kernels(bench.device, dtype)
            for name, reason in unable.items():
                bench.row(f"{name}, {dtype}", not_measured=reason)
            for name in able.keys() - {"torch", "formula", "native", *BACKENDS}:
                bench.measure(
                    f"shapes with {name}, {dtype}",
                    lambda dtype=dtype, name=name: drawn(bench, dtype, name),
                )
