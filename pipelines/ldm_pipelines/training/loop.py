"""What the trainings share: resume, step, log, checkpoint, write the result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ldm_core.errors import LdmError, NotFiniteError
from ldm_pipelines.training import checkpoint
from ldm_pipelines.training.ema import Ema
from ldm_pipelines.training.schedule import learning_rate_factor
from ldm_pipelines.training.settings import TrainingSettings
from ldm_pipelines.training.stopping import Stopped, StopSignals
from ldm_pipelines.training.telling import Telling

if TYPE_CHECKING:
    from accelerate import Accelerator

BETAS = (0.9, 0.99)
SMALLER = "a smaller learning rate may help, or other data."


def make_accelerator(mixed_precision: str) -> Accelerator:
    """Device, processes and mixed precision ("no" or "bf16"); one CPU process, torchrun and a GPU
    alike.

    Raises:
        LdmError: the device has no such precision, or this process has another already, of which
            Accelerate keeps one.
    """
    from accelerate import Accelerator

    try:
        return Accelerator(mixed_precision=mixed_precision, cpu=not torch.cuda.is_available())
    except ValueError as error:
        raise LdmError(
            f"a training in the mixed_precision '{mixed_precision}' cannot begin here: {error}",
            "a process of its own may have any that the device has.",
        ) from error


def train_and_write(
    settings: TrainingSettings,
    accelerator: Accelerator,
    module: torch.nn.Module,
    batch_of_step: Callable[[int], tuple[Any, ...]],
    write: Callable[[], None],
    *,
    ema_decay: float | None = None,
) -> None:
    """Train `module` as `train` does, and have the main process write the result.

    Args:
        write: called once `module` holds the weights that are to be written.
    """
    weights = train(settings, accelerator, module, batch_of_step, ema_decay=ema_decay)
    if accelerator.is_main_process:
        module.load_state_dict(weights)
        write()
        Telling(settings, main=True).wrote()
    accelerator.wait_for_everyone()
    accelerator.end_training()


def train(
    settings: TrainingSettings,
    accelerator: Accelerator,
    module: torch.nn.Module,
    batch_of_step: Callable[[int], tuple[Any, ...]],
    *,
    ema_decay: float | None = None,
    log_seconds: float = 30.0,
) -> dict[str, Tensor]:
    """Train `module`, whose ``forward(*batch)`` returns the loss, and return its weights.

    The checkpoint lies in the output folder; with `resume` the run continues from it.

    Args:
        batch_of_step: what forward takes at a step (0 … steps-1), on this process; it must
            depend on the step and the process alone, so that a resumed run sees the same data.
        ema_decay: return averaged weights instead of the last ones.
    Raises:
        LdmError: the checkpoint is one of other settings.
        NotFiniteError: the loss is no longer finite, or a weight.
        KeyboardInterrupt: Ctrl-C, once a checkpoint is written; SIGTERM likewise exits with 143.
    """
    steps, learning_rate = settings.steps, settings.learning_rate
    module.to(accelerator.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, betas=BETAS, fused=True)
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    weights = dict(module.named_parameters())
    ema = Ema({k: weights[k] for k in names}, ema_decay) if ema_decay is not None else None
    folder = settings.out / "checkpoint"
    state: dict[str, Any] = {
        "settings": settings.course(accelerator.num_processes),
        "module": module,
        "optimizer": optimizer,
        "ema": ema,
    }
    first = checkpoint.restore(folder, **state) if settings.resume else 0
    parallel = accelerator.prepare(module)
    main = accelerator.is_main_process
    if main:
        checkpoint.tidy(folder)
    telling = Telling(settings, main)
    telling.begins(first, accelerator.num_processes)
    done = last_step = first
    last_log = last_save = time.monotonic()
    # Summed where it is computed: reading it at each step would wait for the device at each step.
    losses = torch.zeros((), device=accelerator.device)

    def save() -> None:
        _finite(float(losses), last_step, done)
        _finite_weights(module, done)
        checkpoint.save(folder, step=done, **state)

    try:
        with StopSignals() as signals:
            for step in range(first, steps):
                for group in optimizer.param_groups:
                    factor = learning_rate_factor(step, steps=steps, warmup=settings.warmup)
                    group["lr"] = learning_rate * factor
                loss = parallel(*batch_of_step(step))
                accelerator.backward(loss)
                torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                losses += loss.detach()
                with signals.whole():
                    optimizer.step()
                    if ema is not None:
                        ema.update(weights, step)
                    done = step + 1
                optimizer.zero_grad()
                now = time.monotonic()
                if main and (now - last_log >= log_seconds or done == steps):
                    updates = done - last_step
                    mean = _finite(float(losses), last_step, done) / updates
                    telling.goes_on(done, mean, (now - last_log) / updates)
                    last_log, last_step = now, done
                    losses.zero_()
                if main and (now - last_save >= settings.checkpoint_seconds or done == steps):
                    with signals.whole():
                        save()
                    last_save = now
    except Stopped as stopped:
        if main and done > first:
            save()
            telling.stops(done)
        raise stopped.as_exit() from None
    accelerator.wait_for_everyone()
    final = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    return final if ema is None else final | {k: v.cpu() for k, v in ema.average.items()}


def _finite(losses: float, before: int, done: int) -> float:
    """The sum of the losses of the steps from `before` to `done`, where it is one."""
    if not math.isfinite(losses):
        raise NotFiniteError(
            f"the training has diverged: between steps {before + 1} and {done} the loss became "
            f"{losses}; the checkpoint is from before.",
            SMALLER,
        )
    return losses


def _finite_weights(module: torch.nn.Module, done: int) -> None:
    """See that the last update, whose loss was finite, has left weights that are."""
    for name, weight in module.state_dict().items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise NotFiniteError(
                f"the training has diverged: after step {done} '{name}' holds numbers that are not "
                "finite (NaN or infinite); the checkpoint is from before.",
                SMALLER,
            )
