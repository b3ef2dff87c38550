"""The loop that both trainings share: resume, step, log, checkpoint."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ldm_pipelines.training import checkpoint
from ldm_pipelines.training.ema import Ema
from ldm_pipelines.training.schedule import learning_rate_factor

if TYPE_CHECKING:
    from accelerate import Accelerator

BETAS = (0.9, 0.99)

logger = logging.getLogger(__name__)


def make_accelerator(mixed_precision: str) -> Accelerator:
    """Device, processes and mixed precision; one CPU process, torchrun and a GPU alike.

    Raises:
        ValueError: an unknown precision.
    """
    from accelerate import Accelerator

    if mixed_precision not in ("no", "bf16"):
        raise ValueError(f"mixed_precision must be 'no' or 'bf16', not {mixed_precision!r}")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    return Accelerator(mixed_precision=mixed_precision, cpu=not torch.cuda.is_available())


def train(
    accelerator: Accelerator,
    module: torch.nn.Module,
    batch_of_step: Callable[[int], tuple[Any, ...]],
    *,
    folder: Path,
    settings: dict[str, Any],
    steps: int,
    learning_rate: float,
    warmup: int,
    ema_decay: float | None,
    resume: bool,
    checkpoint_seconds: float,
    log_seconds: float = 30.0,
) -> dict[str, Tensor]:
    """Train `module`, whose ``forward(*batch)`` returns the loss, and return its weights.

    Args:
        batch_of_step: what forward takes at a step (0 … steps-1), on this process; it must
            depend on the step and the process alone, so that a resumed run sees the same data.
        folder: where the checkpoint is kept.
        settings: what the run depends on; a checkpoint with others is refused.
        ema_decay: return averaged weights instead of the last ones.
    """
    module.to(accelerator.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, betas=BETAS, fused=True)
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    weights = dict(module.named_parameters())
    ema = Ema({k: weights[k] for k in names}, ema_decay) if ema_decay is not None else None
    kept = folder / "checkpoint"
    state: dict[str, Any] = {
        "settings": settings,
        "module": module,
        "optimizer": optimizer,
        "ema": ema,
    }
    first = checkpoint.restore(kept, **state) if resume else 0
    prepared = accelerator.prepare(module)
    main = accelerator.is_main_process
    if main:
        logger.info("from step %d to %d, %d processes", first, steps, accelerator.num_processes)
    logged = saved = time.monotonic()
    logged_step, losses = first, 0.0
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * learning_rate_factor(step, steps=steps, warmup=warmup)
        loss = prepared(*batch_of_step(step))
        accelerator.backward(loss)
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if ema is not None:
            ema.update(weights, step)
        losses += float(loss.detach())
        now = time.monotonic()
        if main and (now - logged >= log_seconds or step + 1 == steps):
            done = step + 1 - logged_step
            logger.info(
                "step %d/%d  loss %.4f  %.3f s/step", step + 1, steps, losses / done,
                (now - logged) / done,
            )  # fmt: skip
            logged, logged_step, losses = now, step + 1, 0.0
        if main and (now - saved >= checkpoint_seconds or step + 1 == steps):
            checkpoint.save(kept, step=step + 1, **state)
            saved = now
    accelerator.wait_for_everyone()
    final = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    return final if ema is None else final | {k: v.cpu() for k, v in ema.average.items()}
