"""The caches of Diffusers for transformers, in a run.

Its hooks keep their state in the modules, by the name of a context, and decide for all rows of a
call at once. So each run has a copy of the network with hooks of its own, around the same weights,
and each row is asked by itself, in a context of its own: what becomes of a picture does not depend
on others in its batch.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.contracts import Call, Network, Part, Run, RunHooks
from ldm_core.errors import LdmWarning
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.shared.rows import part_of

if TYPE_CHECKING:
    from torch import Tensor, nn

METHODS = ("first_block", "taylorseer", "magcache")
WARM_UP = 3  # steps before TaylorSeer first predicts, as in Diffusers
RETENTION = 0.2  # of the steps in which MagCache leaves nothing out, as in Diffusers


class Settings(NamedTuple):
    """Of a cache of Diffusers.

    Attributes:
        method: one of `METHODS`.
        every: of TaylorSeer.
        threshold: of the others.
    """

    method: str
    every: int
    threshold: float

    def config(self, steps: int, part: Part) -> Any:
        """As Diffusers has it, for a run of so many steps."""
        from diffusers import hooks

        if self.method == "first_block":
            return hooks.FirstBlockCacheConfig(threshold=self.threshold)
        if self.method == "taylorseer":
            return hooks.TaylorSeerCacheConfig(
                cache_interval=self.every,
                disable_cache_before_step=WARM_UP,
                taylor_factors_dtype=part.dtype,
                use_lite_mode=True,  # else it computes all but attention in every step
            )
        from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS

        return hooks.MagCacheConfig(
            threshold=self.threshold,
            retention_ratio=RETENTION,
            num_inference_steps=steps,
            mag_ratios=FLUX_MAG_RATIOS,
        )


class LibraryCache(RunHooks):
    """A run's own network with the hooks of Diffusers."""

    def __init__(self, run: Run, settings: Settings) -> None:
        steps = max(len(run.grid) - 1, 1)
        hooked: list[Any] = []

        def with_hooks(part: Part) -> Part:
            def change(module: nn.Module) -> nn.Module:
                copied: Any = shallow_copy(module)
                copied.enable_cache(settings.config(steps, part))
                hooked.append(copied)
                return copied  # type: ignore[no-any-return]

            return part.altered(change)

        networks = {n: part for n, part in run.model.parts.items() if part.role == "network"}
        changes = {name: with_hooks(part) for name, part in networks.items()}
        self._plain = run.model.network
        self._network = run.model.replaced(changes).network
        (self._module,) = hooked
        self._asked = False

    def network(self, network: Network) -> Network:
        if network is not self._plain:  # of a guidance, with other layers or another model's
            return network

        def cached(call: Call) -> Tensor:
            import torch

            self._asked = True
            answers = []
            for place, row in enumerate(call.rows):
                with self._module.cache_context(f"{row.branch} of image {row.image}"):
                    answers.append(self._network(part_of(call, [place])))
            return answers[0] if len(answers) == 1 else torch.cat(answers)

        return cached

    def finish(self, x: Tensor) -> Tensor:
        if not self._asked:
            warnings.warn(
                "the feature cache was not asked: another converter stands before the network, "
                "which was computed in whole.",
                LdmWarning,
                stacklevel=2,
            )
        return x
