"""How far pictures move for which calls a cache of features computes, on trained models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ldm_core import Pipeline
from ldm_plugins.converters.shared import reuse_plan

FIRST_SEED = 100  # none that was looked at while the objective was chosen
PROMPTS = (
    "a large red circle on a blue background",
    "a small green square on the left on a yellow background",
    "a large yellow triangle on a black background",
    "a small blue star on a white background",
)


def with_cache(pipe: Pipeline, **options: Any) -> Pipeline:
    return pipe.replace(converters=[{"name": "feature_cache", **options}])


def psnr(pictures: Tensor, others: Tensor) -> float:
    """Mean over pictures in [0, 1] of their PSNR, in dB."""
    error = (pictures - others).float().square().flatten(1).mean(1).clamp(min=1e-12)
    return float((-10 * error.log10()).mean())


def likeness(
    model: str, steps: int, schedulers: Sequence[str], everys: Sequence[int], images: int
) -> list[dict[str, Any]]:
    seeds = list(range(FIRST_SEED, FIRST_SEED + images))
    call: dict[str, Any] = {"seed": seeds, "output_type": "pt"}
    if model == "shapes":
        call["prompt"] = [PROMPTS[i % len(PROMPTS)] for i in range(images)]
    else:
        call["class_label"] = [i % 10 for i in range(images)]
    rows = []
    whole = Pipeline.from_pretrained(model, num_inference_steps=steps)
    for scheduler in schedulers:
        pipe = whole.replace(scheduler=scheduler)
        residuals, plain = first_residuals(pipe, call)
        evaluations = steps  # of these schedulers one a step
        for every in everys:
            row: dict[str, Any] = {"model": model, "steps": steps, "scheduler": scheduler}
            row["every"] = every
            for choose in ("evenly", "scheduler"):
                cached = with_cache(pipe, every=every, choose=choose)
                row[f"chosen {choose}"] = psnr(cached(**call).images, plain)
            count = math.ceil(evaluations / every)
            to_end = torch.linspace(0, evaluations - 1, count).round().int().tolist()
            row["evenly to the end"] = psnr(at_calls(pipe, every, to_end, call), plain)
            if residuals:
                calls = above_threshold(residuals, count)
                row["by first block"] = psnr(at_calls(pipe, every, calls, call), plain)
            rows.append(row)
            print(row, flush=True)
    return rows


def first_residuals(pipe: Pipeline, call: dict[str, Any]) -> tuple[list[Tensor], Tensor]:
    """What the first block of a transformer adds at each call, and the pictures; nothing of a
    UNet."""
    residuals: list[Tensor] = []
    network: Any = next(part.module for part in pipe.model.parts.values() if part.role == "network")
    blocks = dict(network.named_children())
    if "transformer_blocks" not in blocks:
        return residuals, pipe(**call).images
    first = next(blocks["transformer_blocks"].children())
    handle = first.register_forward_hook(
        lambda module, args, output: residuals.append(output - args[0])
    )
    plain = pipe(**call).images
    handle.remove()
    return residuals, plain


def above_threshold(residuals: Sequence[Tensor], count: int) -> list[int]:
    """The calls at which the residual differs from that of the last computed one by more than the
    threshold, the least one at which no more than so many are computed."""

    def chosen(threshold: float) -> list[int]:
        calls = [0]
        for i in range(1, len(residuals)):
            last = residuals[calls[-1]]
            if (residuals[i] - last).abs().mean() / last.abs().mean() > threshold:
                calls.append(i)
        return calls

    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if len(chosen(middle)) > count else (low, middle)
    return chosen(high)


def at_calls(pipe: Pipeline, every: int, calls: list[int], call: dict[str, Any]) -> Tensor:
    """The pictures of a cache that computes these calls."""
    chooses = reuse_plan.calls_to_compute
    reuse_plan.calls_to_compute = lambda *_: calls
    try:
        images: Tensor = with_cache(pipe, every=every, choose="scheduler")(**call).images
    finally:
        reuse_plan.calls_to_compute = chooses
    return images
