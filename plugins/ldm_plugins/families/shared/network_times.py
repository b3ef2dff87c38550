"""Flow times as networks of a rectified flow are told them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_core.contracts import Call

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def network_times(call: Call, device: torch.device, trained: int = 1000) -> Tensor:
    """(rows,) float32, from 0 without noise to 1: each row's timestep over the number of those of
    the training, exact where the rows say where they lie.

    Args:
        trained: 1000 for a network that itself multiplies by 1000, whatever number of timesteps it
            was trained on.
    """
    import torch

    if call.rows:
        exact = [row.point.t / trained for row in call.rows]
        return torch.tensor(exact, dtype=torch.float32, device=device)
    return call.t.to(device) / trained
