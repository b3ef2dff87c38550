"""Seconds for a run of 25 steps, against ``StableDiffusionPipeline`` on the same folder."""

from __future__ import annotations

import statistics

import torch
from diffusers import StableDiffusionPipeline

from ldm_core import Pipeline
from machine import describe
from timing import seconds

RUNS, STEPS = 5, 25
PROMPT = "a large red circle on a blue background"


def main() -> None:
    pipe = Pipeline.from_pretrained("shapes")
    theirs = StableDiffusionPipeline.from_pretrained(pipe.model.info.folder)
    theirs = theirs.to(pipe.model.latents_device)
    theirs.set_progress_bar_config(disable=True)
    print(describe("ldm-core", "diffusers", "torch"), f"device {pipe.model.latents_device}")
    for batch in (1, 8):
        prompts = [PROMPT] * batch
        generators = [torch.Generator().manual_seed(i) for i in range(batch)]
        call = {"num_inference_steps": STEPS, "guidance_scale": 4.0}
        runs = (
            lambda p=prompts, c=call: pipe(p, seed=0, **c),
            lambda p=prompts, c=call, g=generators: theirs(p, generator=g, **c),
        )
        for run in runs:
            run()
        pairs = [[seconds(run) for run in runs] for _ in range(RUNS)]
        ours, peer = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"batch {batch}: ldm {ours:.3f} s, diffusers {peer:.3f} s, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
