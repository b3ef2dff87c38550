"""Guidance away from a weaker model."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Guidance, Run
from ldm_core.contracts.family import Condition, ModelInfo, Network
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.model.place import Place
from ldm_core.model.recognition import inspect_model
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import from_x0, to_x0
from ldm_core.plugins.registry import installed
from ldm_plugins.guidance.classifier_free import NotNegative
from ldm_plugins.guidance.none import none
from ldm_plugins.guidance.shared.altered import NETWORKS
from ldm_plugins.guidance.shared.weaker import Weaker, between

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
SAME = (
    "family",
    "latent_channels",
    "scale_factor",
    "image_channels",
    "abilities",
    "needs",
    "classes",
)


def autoguidance(
    *,
    model: str,
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
        scale: strength; 1 is none.
        beside: the guidance that this is added to; none where not given.
        low, high: it acts where low < sigma/alpha <= high; without an upper end where high is not
            given.
    """

    def network(run: Run) -> Network:
        return like(run.model.info, *_load(model, run.model.place))

    def fits(info: ModelInfo) -> None:
        check(info, inspect_model(model, installed())[0])

    active = between("autoguidance", low, high)
    return Weaker("weak", scale - 1, network, fits, active, beside or none())


@lru_cache(maxsize=2)
def _load(source: str, place: Place) -> tuple[ModelInfo, Network]:
    """A model's network; nothing else of it is kept."""
    info, family = inspect_model(source, installed())
    return info, family.load(info, place).network


def check(info: ModelInfo, weak: ModelInfo) -> None:
    """See that a model can be asked in place of another.

    Raises:
        LdmError: it takes other latents or conditions, or has another noise schedule.
    """
    wrong = f"the model '{weak.source}' cannot guide '{info.source}': "
    for name in SAME:
        ours, theirs = getattr(info, name), getattr(weak, name)
        if ours != theirs:
            raise LdmError(f"{wrong}its {name} is {_said(theirs)}, and should be {_said(ours)}.")
    ours, theirs = _config(info.folder), _config(weak.folder)
    for name in TAKES:
        if ours.get(name) != theirs.get(name):
            raise LdmError(
                f"{wrong}its network's {name} is {theirs.get(name)}, and should be "
                f"{ours.get(name)}."
            )
    schedule, other = info.noise_schedule, weak.noise_schedule
    times = [schedule.first, (schedule.first + schedule.last) // 2, schedule.last]
    for one, two in ((schedule.at(t), other.at(t)) for t in times):
        if not all(map(math.isclose, (one.alpha, one.sigma, one.t), (two.alpha, two.sigma, two.t))):
            raise LdmError(f"{wrong}it learnt on another noise schedule.")


def like(info: ModelInfo, weak: ModelInfo, network: Network) -> Network:
    """A network that answers in another model's terms: what it predicts, and with a variance where
    the other has one (which is not used)."""

    def answer(x: Tensor, point: Point, condition: Condition) -> Tensor:
        import torch

        output = network(x, point, condition)
        if weak.learned_variance:
            output = output.chunk(2, dim=1)[0]
        if weak.prediction_type != info.prediction_type:
            x0 = to_x0(weak.prediction_type, output, x, point)
            output = from_x0(info.prediction_type, x0, x, point)
        return torch.cat([output, output], dim=1) if info.learned_variance else output

    return answer


def _config(folder: Path) -> dict[str, Any]:
    paths = (folder / name / "config.json" for name in NETWORKS)
    return next((read_json(path) for path in paths if path.is_file()), {})


def _said(value: Any) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "none"
    return f"of {len(value)} names" if isinstance(value, tuple) else str(value)
