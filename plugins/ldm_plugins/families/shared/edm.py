"""What families whose networks are preconditioned as EDM's share (Karras et al. 2022,
arXiv:2206.00364)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ldm_core.contracts import Call
from ldm_core.numerics.noise_schedule import NoiseSchedule

if TYPE_CHECKING:
    from torch import Tensor


def sigmas(call: Call, schedule: NoiseSchedule) -> Tensor:
    """The noise ratio of each row, (rows,) float32 on x's device, of timesteps that run evenly in
    its logarithm."""
    import torch

    if call.rows:
        ratios = [row.point.ratio for row in call.rows]
        return torch.tensor(ratios, dtype=torch.float32, device=call.x.device)
    low, high = (math.log(schedule.at(t).ratio) for t in (schedule.first, schedule.last))
    log_ratios: Tensor = low + (high - low) * call.t.double() / schedule.last
    return log_ratios.exp().float()
