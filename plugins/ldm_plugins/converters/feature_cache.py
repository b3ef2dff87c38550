"""Features of a network's deep part, used again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ldm_core.contracts import (
    Call,
    Converter,
    ModelInfo,
    Part,
    Phase,
    PlaceNames,
    Run,
    RunHooks,
    Scheduler,
    Speedup,
)
from ldm_core.errors import LdmError
from ldm_plugins.converters.cfg_parallel import CfgParallel
from ldm_plugins.converters.compile import NAME as COMPILE
from ldm_plugins.converters.compile import Compile
from ldm_plugins.converters.shared.cached_transformer import cache_transformer, check_depth
from ldm_plugins.converters.shared.cached_unet import cache_unet, check_blocks
from ldm_plugins.converters.shared.compilation import blocks_of
from ldm_plugins.converters.shared.due_calls import Span, by_scheduler, coefficients, evenly
from ldm_plugins.converters.shared.kept_features import KeptFeatures
from ldm_plugins.converters.shared.library_cache import LibraryCache, Settings, check_known
from ldm_plugins.converters.shared.processor import is_processor
from ldm_plugins.converters.shared.reclassed import check_layers_are_called
from ldm_plugins.converters.shared.together import WITHIN_LAYERS, check_apart
from ldm_plugins.shared.classes import find_class
from ldm_plugins.shared.networks import is_unet, network_config

if TYPE_CHECKING:
    from torch import nn

    from ldm_core.numerics.grid import Grid

NAME = "feature_cache"
AtLeastOne = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(gt=0)]
THRESHOLDS = {"first_block": 0.05, "magcache": 0.06}
"""Where none is chosen, as in Diffusers."""
MANY_STEPS = 20
"""Below, features of two calls differ much."""
IN_UNETS = 0.57, "a UNet of 53 M weights", "pictures of 'shapes' by 41 to 44 dB PSNR at 25 steps"
IN_TRANSFORMERS = 0.58, "a Flux of 9 blocks", "pictures of 'digits' by 42 to 44 dB PSNR at 25 steps"
"""Time of a run over that without, of which network, and how far pictures move."""


def feature_cache(
    *,
    every: AtLeastOne = 3,
    choose: Literal["evenly", "scheduler"] = "evenly",
    depth: AtLeastOne = 1,
    start: Share = 0.0,
    stop: Share = 1.0,
    method: Literal["blocks", "first_block", "taylorseer", "magcache"] = "blocks",
    threshold: Annotated[float, Field(ge=0)] | None = None,
    ratios: Literal["measure"] | list[Ratio] | None = None,
) -> Converter:
    """Compute the deep part of the network in one of so many calls, and use what it gave again in
    the others, in which its outermost layers alone are computed: DeepCache (Ma et al. 2023,
    arXiv:2312.00858) for UNets; for transformers what all blocks behind the first add. Of pictures,
    videos and sounds.

    Pictures change, and nothing is learnt or measured beforehand. Each image and each branch of
    guidance has features of its own, so that a picture does not depend on others in its batch.

    Args:
        every: one of so many calls computes the whole network; 1 is every call.
        choose: which ones: ``evenly``, every so many; or as many by the ``scheduler``, so that the
            final latents err least, by its own coefficients; see the page on caches. That needs a
            scheduler which is linear.
        depth: how much is computed in every call: of a UNet so many of the last layers, and the
            layers at the start which these look at; of a transformer so many of the first blocks.
        start, stop: features are used again within this part of the steps, of all of which 1 is
            the end; outside it every call computes the whole network.
        method: ``blocks`` is the above. The others are caches of Diffusers, for transformers that
            each of them knows: ``taylorseer`` (Liu et al. 2025, arXiv:2503.06923) extrapolates the
            answer in all but one of ``every`` calls, after three; ``first_block`` and ``magcache``
            (Ma et al. 2025, arXiv:2506.09045) leave blocks out while the change that they foresee
            is below a ``threshold``.
        threshold: of ``first_block``, 0.05 where not given, of which 0 leaves nothing out; and of
            ``magcache``, 0.06.
        ratios: of ``magcache``: how many times as large what the blocks add is as in the call
            before, from the first call to the last, which other numbers of steps take the nearest
            of. Flux has those of Flux dev where none are given; any other model needs its own.
            ``measure`` computes all, and says them at the end of a run.
    """
    if not start < stop:
        raise LdmError(
            f"{NAME} uses features again from start to stop, with start < stop, not from "
            f"{start:g} to {stop:g}."
        )
    if method != "magcache":
        _refuse(method, ratios=ratios is not None)
    elif ratios == []:
        raise LdmError(f"{NAME}: magcache needs the ratios of at least one call.")
    if method == "blocks":
        _refuse(method, threshold=threshold is not None)
        return FeatureCache(every, choose, depth, start, stop)
    _refuse(method, choose=choose != "evenly", depth=depth != 1)
    _refuse(method, start=start != 0, stop=stop != 1)
    if method == "taylorseer":
        _refuse(method, threshold=threshold is not None)
    else:
        _refuse(method, every=every != 3)
    if threshold is None:
        threshold = THRESHOLDS.get(method, 0.0)
    own = () if ratios is None or ratios == "measure" else tuple(ratios)
    settings = Settings(method, every, threshold, own, ratios == "measure")
    return FeatureCache(every, choose, depth, start, stop, settings)


def _refuse(method: str, **options: bool) -> None:
    """See that options are not set that a method does not heed."""
    for name, is_set in options.items():
        if is_set:
            raise LdmError(f"{NAME}: the method '{method}' does not heed the option '{name}'.")


@dataclass(frozen=True)
class FeatureCache(Converter):
    """
    Attributes:
        library: which cache of Diffusers; None for this project's.
        config: of the network, once it is fitted.
        info: of the model, once it is fitted.
    """

    every: int
    choose: str
    depth: int
    start: float
    stop: float
    library: Settings | None = None
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    info: ModelInfo | None = field(default=None, repr=False)
    phase = Phase.CACHE
    lossless = False

    @property
    def _wrong(self) -> str:
        assert self.info is not None
        return (
            f"the converter '{NAME}' does not fit the model '{self.info.source}' (family "
            f"{self.info.family})"
        )

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        config = network_config(info)
        fitted = replace(self, config=config or {}, info=info)
        if config is None:
            raise LdmError(f"{fitted._wrong}: it has no network of a kind that is known.")
        if self.library is not None:
            networks = sum(part.role == "network" for part in info.parts)
            check_known(config, self.library, networks, fitted._wrong)
        elif is_unet(config):
            check_blocks(config, self.depth, fitted._wrong)
        else:
            check_depth(config, self.depth, fitted._wrong)
        return fitted

    def beside(self, others: Sequence[Converter]) -> None:
        check_layers_are_called(NAME, others)
        parted = "features are kept of whole calls, and the second parts them"
        check_apart(NAME, others, {CfgParallel: ("cfg_parallel", parted)})
        for other in others:
            if isinstance(other, Compile) and self.info is not None:
                self._check_blocks_are_compiled_alone(other)
            if isinstance(other, FeatureCache):
                raise LdmError(f"the converter '{NAME}' stands in the recipe twice; leave one out.")
            if self.library is not None and other.phase is Phase.PLACEMENT:
                raise LdmError(
                    f"{NAME}: the hooks of Diffusers for '{self.library.method}' and a placement "
                    "exclude each other.",
                    'method = "blocks" goes with placements.',
                )

    def along(self, scheduler: Scheduler, grid: Grid) -> None:
        if self.library is None and self.every > 1 and self.choose == "scheduler":
            coefficients(scheduler, grid, NAME)

    def _check_blocks_are_compiled_alone(self, other: Compile) -> None:
        cls = str(self.config["_class_name"])
        if other.regional is False or not blocks_of(find_class(cls)):
            raise LdmError(
                f"the converters '{COMPILE}' and '{NAME}' do not go together on a {cls} whose "
                f"blocks are not compiled each by itself: {WITHIN_LAYERS}.",
                "leave one of the two out.",
            )

    def speedups(self, info: ModelInfo, place: PlaceNames) -> Sequence[Speedup]:
        """As measured on a processor (benchmarks/feature_cache.py), for models that draw in many
        steps. On CUDA nothing was measured."""
        config = network_config(info)
        if config is None or not is_processor(place):
            return ()
        if info.defaults.get("num_inference_steps", 0) < MANY_STEPS:
            return ()
        factor, network, error = IN_UNETS if is_unet(config) else IN_TRANSFORMERS
        why = f"{network}, one of two calls computed in whole"
        return (Speedup({"every": 2}, factor, why, error, least_steps=MANY_STEPS),)

    def part(self, part: Part) -> Part:
        own = part.role == "network" and self.library is None
        return part.altered(self._cached) if own else part

    def _cached(self, network: nn.Module) -> nn.Module:
        from ldm_core.model.modules import shallow_copy

        copied = shallow_copy(network)
        if is_unet(self.config):
            cache_unet(copied, self.depth)
        else:
            cache_transformer(copied, self.depth)
        return copied

    def bind(self, run: Run) -> RunHooks:
        if self.library is not None:
            return LibraryCache(run, self.library)
        if self.every == 1:
            return RunHooks()
        span = Span(self.start, self.stop)
        if self.choose == "scheduler":
            due = by_scheduler(run, self.every, span, NAME)
        else:
            due = evenly(self.every, span)
        return KeptFeatures(due, NAME, self._reused())

    def _reused(self) -> Callable[[Call], Call]:
        """What a call is without what is added in layers that are left out, such as an adapter's
        residuals."""
        names: tuple[str, ...] = ()
        if is_unet(self.config):
            layers = self.config.get("layers_per_block", 2)
            layers = layers[0] if isinstance(layers, Sequence) else layers
            first = self.config["down_block_types"][0]
            if self.depth > layers and first == "CrossAttnDownBlock2D":
                names = ("intrablock_residual_0",)

        def reused(call: Call) -> Call:
            kept = {
                key: value
                for key, value in call.condition.items()
                if not key.startswith("intrablock_residual_") or key in names
            }
            return call if len(kept) == len(call.condition) else call._replace(condition=kept)

        return reused
