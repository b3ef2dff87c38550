"""Updates a second of ``ldm train denoiser`` on the shapes, against a plain loop of torch over the
same networks and a batch that is there already, both in mixed precision with bfloat16."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from ldm_core import Pipeline
from ldm_pipelines.training.commands import train_denoiser
from ldm_pipelines.training.denoiser import DenoisingLoss
from ldm_pipelines.training.networks import build_text_encoder, build_unet
from ldm_pipelines.training.settings import DenoiserSettings
from ldm_pipelines.training.tokenizer import build_tokenizer
from on_gpu.bench import Bench, Figures


def updates(bench: Bench) -> Figures:
    """From the difference of two runs, so that what is done once is in neither."""
    short, long, batch = (2, 6, 8) if bench.quick else (30, 180, 128)
    autoencoder = Pipeline.from_pretrained("shapes", device="cpu").composition.info.folder

    def train(steps: int) -> float:
        with tempfile.TemporaryDirectory() as place:
            settings = DenoiserSettings(
                data="shapes",
                out=Path(place),
                autoencoder=autoencoder,
                steps=steps,
                batch_size=batch,
                pool_size=batch,
            )
            return bench.seconds(lambda: train_denoiser(settings))

    train(1)
    ours = (train(long) - train(short)) / (long - short)
    plain = plain_loop(bench, batch, 2 if bench.quick else 100)
    return {
        "updates_a_second": 1 / ours,
        "plain_updates_a_second": 1 / plain,
        "time_over_plain": ours / plain,
        "batch": batch,
    }


def plain_loop(bench: Bench, batch: int, steps: int) -> float:
    """Seconds of an update of the same networks: forward, backward, clipping, AdamW."""
    side, tokens = 8, 20
    tokenizer = build_tokenizer(["a", "large", "red", "circle"], tokens)
    loss = DenoisingLoss(build_text_encoder(tokenizer, 0), build_unet(4, side, 0))
    loss.to(bench.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(loss.parameters(), lr=1e-3, fused=True)
    batch_of: Any = (
        torch.randn(batch, 4, side, side, device=bench.device),
        torch.randn(batch, 4, side, side, device=bench.device),
        torch.randint(1000, (batch,), device=bench.device),
        torch.randint(tokenizer.vocab_size, (batch, tokens), device=bench.device),
    )

    def run() -> None:
        for _ in range(steps):
            with torch.autocast(bench.device, torch.bfloat16):
                value = loss(*batch_of)
            value.backward()
            torch.nn.utils.clip_grad_norm_(loss.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    run()
    return bench.seconds(run) / steps


def run(bench: Bench) -> None:
    bench.measure("denoiser, bf16", lambda: updates(bench))
