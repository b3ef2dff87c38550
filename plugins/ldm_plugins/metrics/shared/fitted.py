"""Features of a small network that is fitted here, to what others are compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ldm_plugins.metrics.shared.features import Features

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE = 32
"""Pixels on a side, to which pictures are scaled."""
CODE, CHANNELS = 64, 64
VALUES = CODE + 2 * CHANNELS
STEPS, BATCH, RATE = 400, 32, 2e-3
SEED = 0
LABEL = "a small network fitted to the reference"


def fitted_features() -> Features:
    """The code of an autoencoder of three convolutions each way, and mean and deviation over the
    picture of its last channels, in deviations of the reference: 192 values. It is fitted to the
    reference by 400 steps of AdamW from weights and in an order that are always the same, so that a
    figure compares with others of the same reference alone."""
    return Features(LABEL, rows, fit, VALUES)


def rows(pictures: Tensor) -> Tensor:
    """Pictures as they are kept until all are there, to be fitted to: (batch, 3 x 32 x 32)."""
    from torch.nn.functional import interpolate

    if tuple(pictures.shape[-2:]) != (SIDE, SIDE):
        pictures = interpolate(
            pictures, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
        )
    return pictures.flatten(1)


def fit(reference_rows: Tensor) -> Callable[[Tensor], Tensor]:
    """What makes features of rows, (pictures, 192) float64, fitted to those of the reference."""
    import torch

    pictures = _pictures(reference_rows)
    generator = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(SEED)
        maps, code, decoder = _parts()
        both = [*maps.parameters(), *code.parameters(), *decoder.parameters()]
        optimizer = torch.optim.AdamW(both, lr=RATE)
        for step in range(STEPS):
            chosen = torch.randint(len(pictures), (BATCH,), generator=generator)
            part = pictures[chosen]
            loss = (decoder(code(maps(part))) - part).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = RATE * (1 - (step + 1) / STEPS)
            optimizer.step()

    def raw(part: Tensor) -> Tensor:
        seen = maps(part)
        flat = seen.flatten(2)
        return torch.cat([code(seen), flat.mean(2), flat.std(2)], 1).double()

    @torch.no_grad()
    def features(rows: Tensor) -> Tensor:
        return torch.cat([raw(part) for part in torch.split(_pictures(rows), 256)])

    scale = features(reference_rows).std(0).clamp(min=1e-6)
    return lambda rows: features(rows) / scale


def _pictures(rows: Tensor) -> Tensor:
    return rows.float().reshape(-1, 3, SIDE, SIDE) * 2 - 1


def _parts() -> tuple[nn.Module, nn.Module, nn.Module]:
    """What makes channels of pictures, a code of these, and pictures of the code."""
    from torch import nn

    size = SIDE // 8
    maps = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU()),
        *(nn.Conv2d(32, CHANNELS, 3, 2, 1), nn.SiLU()),
    )
    code = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * size * size, CODE))
    decoder = nn.Sequential(
        *(nn.Linear(CODE, CHANNELS * size * size), nn.Unflatten(1, (CHANNELS, size, size))),
        *(nn.SiLU(), nn.ConvTranspose2d(CHANNELS, 32, 4, 2, 1)),
        *(nn.SiLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1)),
        *(nn.SiLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1)),
    )
    return maps, code, decoder
