"""Guidance away from what a video's network draws without some of its self-attention."""

from __future__ import annotations

from functools import partial
from typing import Literal

from ldm_core.contracts import MODELS_OWN, Guidance, ModelInfo, Network, Run
from ldm_core.errors import LdmError
from ldm_plugins.guidance.classifier_free import NotNegative
from ldm_plugins.guidance.shared.altered import altered
from ldm_plugins.guidance.shared.layers import check_layers
from ldm_plugins.guidance.shared.self_attention import self_attention, silent, with_values
from ldm_plugins.guidance.shared.weaker import Weaker, within

NAME = "spatio_temporal"
Without = Literal["values", "nothing"]


def spatio_temporal(
    *,
    layers: list[int | str],
    scale: NotNegative = 1.0,
    without: Without = "values",
    beside: Guidance = MODELS_OWN,
    start: float = 0.0,
    stop: float = 1.0,
) -> Guidance:
    """Spatio-temporal skip guidance (Hyung et al. 2024, arXiv:2411.18664, Section 4.1).

    The answer is beside + scale·(positive - perturbed), where perturbed is the network's answer
    without the self-attention of some layers, along space and time at once. One more call of the
    network, where active. For transformers of videos, such as LTX-Video's, whose sound, where they
    have it, is perturbed too. Whole blocks are left out by skip_layer.

    Args:
        layers: numbers of the transformer's blocks, or names of parts of it.
        scale: strength; 0 is none.
        without: what takes the place of self-attention: each token's own "values", or "nothing",
            as if the layer were not there.
        beside: the guidance that this is added to; the model's own where not given.
        start, stop: it acts on this part of the steps, of all of which 1 is the end.
    """

    def network(run: Run) -> Network:
        names = partial(self_attention, layers=layers, what=NAME)
        return altered(run.model, names, silent if without == "nothing" else with_values)

    def check(info: ModelInfo) -> None:
        if "frames" not in info.latents.names:
            raise LdmError(
                f"{NAME} is for models of videos, and '{info.source}' (family {info.family}) draws "
                f"{', '.join(info.latents.names)}.",
                "perturbed_attention and skip_layer are for those of pictures.",
            )
        check_layers(info, layers, NAME)

    return Weaker(
        inner=beside,
        branch="perturbed",
        weight=scale,
        network=network,
        check=check,
        active=within(NAME, start, stop),
    )
