"""How well pictures fit their texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Metric
from ldm_plugins.metrics.shared.clip_models import clip_model

if TYPE_CHECKING:
    from torch import Tensor


def clip(*, model: str) -> Metric:
    """CLIP score: how well pictures fit their texts.

    A hundred times the cosine of the features of picture and text (Hessel et al. 2021,
    arXiv:2104.08718, Section 3, without its factor of 2.5); the mean over pictures.

    Args:
        model: A CLIP model in Transformers' format: a folder, or an id of the Hub.
    """
    network = clip_model(model)

    def score(pictures: Tensor, texts: Sequence[str]) -> Tensor:
        from torch.nn.functional import cosine_similarity

        return 100 * cosine_similarity(
            network.pictures(pictures), network.texts(texts, pictures.device)
        )

    return Metric(score, "texts", lowest=-100.0, highest=100.0, label=f"clip[{model}]")
