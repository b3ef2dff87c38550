"""unCLIP's networks that enlarge a picture: one for all steps but the last, and one for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Part
from ldm_core.numerics.point import Point
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.scheduler_config import read_prediction_type, read_schedule
from ldm_plugins.shared.ancestral_walk import AncestralWalk

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("super_res_first", "super_res_last")
SEED = 0x5355_5045_52
"""What is mixed into the seeds of the noise, so that it is not that of the few pixels."""


def factor_of(folder: Folder, channels: int, small: tuple[int, int]) -> int:
    """How many times as many pixels a side the networks make.

    Args:
        channels: of a picture.
        small: height and width of what is drawn before.
    Raises:
        LdmError: they do not fit each other, or what is drawn before.
    """
    configs = [folder.config(name) for name in NAMES]
    takes = {(c.get("in_channels", 3), c.get("out_channels", 3)) for c in configs}
    sizes = {sample_size(config, 256) for config in configs}
    factors = {big / few for size in sizes for big, few in zip(size, small, strict=True)}
    if takes != {(2 * channels, channels)} or len(factors) > 1 or max(factors) % 1:
        raise folder.error(
            f"{' and '.join(NAMES)} should take {2 * channels} channels, return {channels}, and "
            f"draw pictures of a whole number of times {small[1]}x{small[0]} pixels."
        )
    return int(max(factors))


class Enlarger:
    """Ability ``super_resolution``: DDPM of a picture beside its few pixels, scaled by cubic
    interpolation (Ramesh et al. 2022, arXiv:2204.06125, Section 2.1).

    Args:
        config: of the scheduler, as the usual class has it.
        factor: how many times as many pixels a side.
    """

    def __init__(self, parts: Mapping[str, Part], config: Mapping[str, Any], factor: int) -> None:
        bound = config["clip_sample_range"] if config["clip_sample"] else None
        self._parts = [parts[name] for name in NAMES]
        self._walk = AncestralWalk(read_schedule(config), bound)
        self._prediction = read_prediction_type(config)
        self._factor = factor

    def enlarged(self, small: Tensor, seeds: Sequence[int], steps: int) -> Tensor:
        """See `ldm_core.contracts.enlarging.SuperResolutionAbility`."""
        import torch
        from torch.nn.functional import interpolate

        from ldm_core.numerics.seeded_noise import SeededNoise

        size = [side * self._factor for side in small.shape[-2:]]
        large = interpolate(small, size=size, mode="bicubic", antialias=True, align_corners=False)

        def denoise(x: Tensor, point: Point, last: bool) -> Tensor:
            part = self._parts[last]
            output: Tensor = part.module(
                torch.cat([x, large], dim=1).to(part.device, part.dtype),
                torch.tensor(point.t, device=part.device),
                return_dict=False,
            )[0]
            return self._prediction.to_x0(output.to(x.device, torch.float32), x, point)

        mixed = [(seed ^ SEED) % 2**63 for seed in seeds]
        noise = SeededNoise(mixed, large.shape[1:], small.device)
        return self._walk(noise, steps, denoise).clamp(-1, 1)
