"""The caches of Diffusers for transformers, in a run.

Its hooks keep their state in the modules, by the name of a context, and decide for all rows of a
call at once. So each run has a copy of the network with hooks of its own, around the same weights,
and each row is asked by itself, in a context of its own: what becomes of a picture does not depend
on others in its batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.contracts import Call, Network, Part, Run, RunHooks
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.shared.rows import part_of
from ldm_plugins.converters.shared.transformer_blocks import NETWORKS

if TYPE_CHECKING:
    from torch import Tensor, nn

WARM_UP = 3  # steps before TaylorSeer first predicts, as in Diffusers
RETENTION = 0.2  # of the steps in which MagCache leaves nothing out, as in Diffusers
NEVER = 2**40  # steps after which MagCache forgets what it measured
FLUX = "FluxTransformer2DModel"
BETWEEN_BLOCKS = ("block_residual_", "single_residual_")
"""Keys of what a ControlNet adds between blocks."""

ALL = ("first_block", "taylorseer", "magcache")
KNOWN = {
    "AuraFlowTransformer2DModel": ("taylorseer",),
    "ChromaTransformer2DModel": ("taylorseer",),
    "CogVideoXTransformer3DModel": ALL,
    "CogView4Transformer2DModel": ALL,
    "Flux2Transformer2DModel": ("taylorseer", "magcache"),
    FLUX: ALL,
    "HunyuanVideoTransformer3DModel": ALL,
    "LTXVideoTransformer3DModel": ALL,
    "PixArtTransformer2DModel": ALL,
    "QwenImageTransformer2DModel": ALL,
    "SD3Transformer2DModel": ("magcache",),
    "SanaTransformer2DModel": ("taylorseer",),
    "StableAudioDiTModel": ("taylorseer",),
    "WanTransformer3DModel": ALL,
}
"""Diffusers' caches by the class of the network. Of first_block and magcache the blocks are in its
registry, of taylorseer the lists of blocks and the last projection have the names that it looks
for; and with each its own pipelines draw the same. Z-Image's blocks are in the registry, whose
hooks fail on the names of what they take."""


class Settings(NamedTuple):
    """Of a cache of Diffusers.

    Attributes:
        method: one of `ALL`.
        every: of TaylorSeer.
        threshold: of the others.
        ratios: of MagCache, as many as there are; those of Flux dev where empty.
        measures: its ratios are measured, and nothing is left out.
    """

    method: str
    every: int
    threshold: float
    ratios: tuple[float, ...] = ()
    measures: bool = False

    def apply(self, module: nn.Module, steps: int, part: Part) -> None:
        """Hook a network, for a run of so many steps."""
        from diffusers import hooks
        from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS

        if self.method == "first_block":
            config = hooks.FirstBlockCacheConfig(threshold=self.threshold)
            hooks.apply_first_block_cache(module, config)
        elif self.method == "taylorseer":
            seer = hooks.TaylorSeerCacheConfig(
                cache_interval=self.every,
                disable_cache_before_step=WARM_UP,
                taylor_factors_dtype=part.dtype,
                use_lite_mode=True,  # else it computes all but attention in every step
            )
            hooks.apply_taylorseer_cache(module, seer)
        elif self.measures:
            measuring = hooks.MagCacheConfig(calibrate=True, num_inference_steps=NEVER)
            hooks.apply_mag_cache(module, measuring)
        else:
            mag = hooks.MagCacheConfig(
                threshold=self.threshold,
                retention_ratio=RETENTION,
                num_inference_steps=steps,
                mag_ratios=[*self.ratios] if self.ratios else FLUX_MAG_RATIOS,
            )
            hooks.apply_mag_cache(module, mag)


def check_known(config: Mapping[str, Any], settings: Settings, networks: int, wrong: str) -> None:
    """See in a network's config that a cache of Diffusers knows it.

    Args:
        networks: how many the model has.
    Raises:
        LdmError: it does not, or is told too little of it.
    """
    cls, method = config.get("_class_name"), settings.method
    known = KNOWN.get(str(cls), ())
    if method not in known:
        others = " or ".join(f"'{name}'" for name in known)
        raise LdmError(
            f"{wrong}: the cache '{method}' of Diffusers does not know the blocks of its network, "
            f"a {cls}.",
            'method = "blocks" is for all of them'
            + (f", and of the caches of Diffusers it takes {others}." if others else "."),
        )
    blocks = sum(config.get(stack.key) or 0 for stack in NETWORKS[str(cls)].stacks)
    if method == "first_block" and blocks < 2:
        raise LdmError(f"{wrong}: its network has {blocks} block, and nothing behind the first.")
    if method == "magcache" and networks > 1:
        raise LdmError(
            f"{wrong}: it has two networks, and magcache would begin the second with the ratios of "
            "the first steps.",
            "the other methods give each what is its own.",
        )
    if method == "magcache" and not (settings.ratios or settings.measures) and cls != FLUX:
        raise LdmError(
            f"{wrong}: magcache needs ratios, which are the model's own, and Diffusers has those "
            "of Flux dev alone.",
            'ratios = "measure" computes all of a run, and says them at its end.',
        )


class LibraryCache(RunHooks):
    """A run's own networks with the hooks of Diffusers."""

    def __init__(self, run: Run, settings: Settings) -> None:
        steps = max(len(run.grid) - 1, 1)
        self._settings = settings
        self._hooked: list[Any] = []
        self._contexts: dict[str, None] = {}

        def with_hooks(part: Part) -> Part:
            def change(module: nn.Module) -> nn.Module:
                copied: Any = shallow_copy(module)
                settings.apply(copied, steps, part)
                self._hooked.append(copied)
                return copied  # type: ignore[no-any-return]

            return part.altered(change)

        networks = {n: part for n, part in run.model.parts.items() if part.role == "network"}
        changes = {name: with_hooks(part) for name, part in networks.items()}
        self._plain = run.model.network
        self._network = run.model.replaced(changes).network

    def network(self, network: Network) -> Network:
        from ldm_core.run.attention import Reaching

        kernel = network if isinstance(network, Reaching) else None
        asked = network if kernel is None else kernel.network
        if asked is not self._plain:  # of a guidance, with other layers or another model's
            return network
        own = self._network if kernel is None else kernel.around(self._network)

        def cached(call: Call) -> Tensor:
            import torch

            if self._settings.method != "taylorseer":
                _check_nothing_is_added(call, self._settings.method)
            answers = []
            for place, row in enumerate(call.rows):
                context = f"{row.branch} of image {row.image}"
                self._contexts[context] = None
                with ExitStack() as stack:
                    for module in self._hooked:
                        stack.enter_context(in_context(module, context))
                    answers.append(own(part_of(call, [place])))
            return answers[0] if len(answers) == 1 else torch.cat(answers)

        return cached

    def finish(self, x: Tensor) -> Tensor:
        if not self._contexts:
            self._warn(
                "the feature cache was not asked: another converter stands before the network, "
                "which was computed in whole."
            )
        elif self._settings.measures:
            listed = ", ".join(f"{ratio:.5f}" for ratio in self._measured())
            self._warn(f"magcache left nothing out, and measured ratios = [{listed}].")
        return x

    def _warn(self, text: str) -> None:
        warnings.warn(text, LdmWarning, stacklevel=3)

    def _measured(self) -> Sequence[float]:
        """Of each call, the mean over images and branches, of which each is called as often."""
        from diffusers.hooks import HookRegistry
        from diffusers.hooks.hooks import CacheContext

        (module,) = self._hooked
        stack = NETWORKS[module.config["_class_name"]].stacks[0]
        first = next(module.get_submodule(stack.name).children())
        (hook,) = HookRegistry.check_if_exists_or_initialize(first).hooks.values()
        rows = []
        for name in self._contexts:
            hook.state_manager.set_context(CacheContext(name))
            rows.append(hook.state_manager.get_state().calibration_ratios)
        return [sum(ratios) / len(ratios) for ratios in zip(*rows, strict=False)]


def in_context(module: Any, name: str) -> Any:
    """Diffusers' context of a call, on a network of any class: of some it offers no caches, though
    it knows their blocks."""
    from diffusers import CacheMixin

    return CacheMixin.cache_context(module, name)


def _check_nothing_is_added(call: Call, method: str) -> None:
    """See that nothing is added between the blocks, which would be added once more where these are
    left out."""
    if any(key.startswith(BETWEEN_BLOCKS) for key in call.condition):
        raise LdmError(
            f"feature_cache: the method '{method}' keeps what a ControlNet adds between the "
            "blocks, and Diffusers adds it once more where they are left out.",
            'the methods "blocks" and "taylorseer" go with ControlNets.',
        )
