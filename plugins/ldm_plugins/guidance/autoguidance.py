"""Guidance away from a weaker model."""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ldm_core.contracts import Call, Guidance, Model, ModelInfo, Network, OtherModel, Place, Run
from ldm_core.errors import LdmError
from ldm_core.numerics.prediction import from_x0, to_x0
from ldm_plugins.guidance.classifier_free import NotNegative, at_least_one
from ldm_plugins.guidance.shared.weaker import Weaker, between
from ldm_plugins.shared.networks import network_config

if TYPE_CHECKING:
    from torch import Tensor

TAKES = (
    "cross_attention_dim",
    "joint_attention_dim",
    "caption_channels",
    "pooled_projection_dim",
    "projection_class_embeddings_input_dim",
    "num_class_embeds",
    "num_embeds_ada_norm",
    "guidance_embeds",
    "time_cond_proj_dim",
)
"""What a network's config says of the conditions that it takes."""


def autoguidance(
    *,
    model: OtherModel,
    scale: NotNegative = 2.0,
    beside: Guidance | None = None,
    low: NotNegative = 0.0,
    high: NotNegative | None = None,
) -> Guidance:
    """Autoguidance (Karras et al. 2024, arXiv:2406.02507, Eq. 3): away from a weaker model.

    The answer is weak + scale·(positive - weak), where weak is the answer of a smaller or less
    trained model to the same condition. It must take the same latents and conditions, and have
    learnt on the same noise schedule; what it predicts (noise, x0, velocity) may differ. With
    another guidance beside it, such as classifier_free, (scale - 1)·(positive - weak) is added to
    what that one gives. One call of the weaker model. The two models used last stay loaded.

    Args:
        model: the weaker model: a folder, a file, or the name of an installed one.
        scale: strength; 1 is none, and so is less.
        beside: the guidance that this is added to; none where not given.
        low, high: it acts where low < sigma/alpha <= high; without an upper end where high is not
            given.
    """

    def network(run: Run) -> Network:
        return like(run.model.info, model.info, _network(Weights(model), run.model.place))

    return Weaker(
        inner=beside or Guidance(),
        branch="weak",
        weight=at_least_one("autoguidance", scale) - 1,
        off=1.0,
        network=network,
        check=lambda info: check(info, model.info),
        active=between("autoguidance", low, high),
        reads=(model.info.folder, *([model.info.file] if model.info.file else [])),
    )


class Weights:
    """A model, the same as another that is read from the same files."""

    def __init__(self, model: OtherModel) -> None:
        self.load = model.load
        self._files = (model.info.family, model.info.folder, model.info.file)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weights) and self._files == other._files

    def __hash__(self) -> int:
        return hash(self._files)


KEPT = 2

_converted: WeakKeyDictionary[Place, OrderedDict[Weights, Network]] = WeakKeyDictionary()
_one_at_a_time = Lock()


def _network(weights: Weights, place: Place) -> Network:
    """A model's network in its place; nothing else of it is kept.

    What converters made of it, such as files in which its weights wait, goes with the model whose
    converters they are.
    """
    if not place.later:
        return _plain(weights, place)
    with _one_at_a_time:
        networks = _converted.setdefault(place, OrderedDict())
        if weights not in networks:
            networks[weights] = _like_its_own(weights.load(place), place)
        networks.move_to_end(weights)
        while len(networks) > KEPT:
            networks.popitem(last=False)
        return networks[weights]


@lru_cache(maxsize=KEPT)
def _plain(weights: Weights, place: Place) -> Network:
    return weights.load(place).network


def _like_its_own(model: Model, place: Place) -> Network:
    """A model's network, as the converters of another model make that one's."""
    changes = {}
    for name, part in model.parts.items():
        if part.role == "network":
            for convert in place.later:
                part = convert(part)
            changes[name] = part
    return model.replaced(changes).network


def check(info: ModelInfo, weak: ModelInfo) -> None:
    """See that a model can be asked in place of another.

    Raises:
        LdmError: it takes other latents or conditions, or has another noise schedule.
    """
    wrong = f"the model '{weak.source}' cannot guide '{info.source}': "
    theirs = _interface(weak)
    for name, ours in _interface(info).items():
        if ours != theirs[name]:
            raise LdmError(
                f"{wrong}its {name} is {_in_words(theirs[name])}, and should be {_in_words(ours)}."
            )
    own, other = network_config(info) or {}, network_config(weak) or {}
    for name in TAKES:
        if own.get(name) != other.get(name):
            raise LdmError(
                f"{wrong}its network's {name} is {other.get(name)}, and should be {own.get(name)}."
            )
    schedule = info.noise_schedule
    for t in (schedule.first, (schedule.first + schedule.last) // 2, schedule.last):
        one, two = schedule.at(t), weak.noise_schedule.at(t)
        if not all(map(math.isclose, (one.alpha, one.sigma, one.t), (two.alpha, two.sigma, two.t))):
            raise LdmError(f"{wrong}it learnt on another noise schedule.")


def like(info: ModelInfo, weak: ModelInfo, network: Network) -> Network:
    """A network that answers in another model's terms: what it predicts, and with a variance where
    the other has one (which is not used)."""
    theirs, ours = weak.prediction_type, info.prediction_type

    def answer(call: Call) -> Tensor:
        import torch

        output = network(call)
        if weak.learned_variance:
            output = output.chunk(2, dim=1)[0]
        if theirs != ours:
            pieces = [
                from_x0(ours, to_x0(theirs, output[i : i + 1], x, row.point), x, row.point)
                for i, row in enumerate(call.rows)
                for x in (call.x[i : i + 1],)
            ]
            output = torch.cat(pieces)
        return torch.cat([output, output], dim=1) if info.learned_variance else output

    return answer


def _interface(info: ModelInfo) -> dict[str, Any]:
    """What two models must have in common, by what a person calls it."""
    return {
        "family": info.family,
        "number of latent channels": info.latents.channels,
        "latents' axes": [(axis.name, axis.stride, axis.causal) for axis in info.latents.axes],
        "number of image channels": info.image_channels,
        "abilities": info.abilities,
        "needs": info.needs,
        "classes": info.classes,
    }


def _in_words(value: Any) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "none"
    return f"of {len(value)} names" if isinstance(value, tuple) else str(value)
