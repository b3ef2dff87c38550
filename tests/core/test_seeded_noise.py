"""Noise depends on the seed of its image alone, and is what Diffusers draws."""

from __future__ import annotations

import torch
from diffusers.utils.torch_utils import randn_tensor

from ldm_core.numerics.seeded_noise import SeededNoise

CPU = torch.device("cpu")


def test_it_is_what_diffusers_draws_for_a_list_of_generators() -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 9)]
    noise = SeededNoise([3, 9], (4, 8, 8), CPU)
    for _ in range(3):
        assert torch.equal(noise(), randn_tensor((2, 4, 8, 8), generator=generators))


def test_neighbours_in_the_batch_change_nothing() -> None:
    together = SeededNoise([1, 2, 3], (4, 2), CPU)
    alone = SeededNoise([2], (4, 2), CPU)
    for _ in range(3):
        assert torch.equal(together()[1:2], alone())
