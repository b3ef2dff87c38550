"""An ability of models whose prior draws what a picture shows, in few places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ldm_core.contracts.abilities import TextAbility
from ldm_core.contracts.network import Condition
from ldm_core.contracts.run import Run

if TYPE_CHECKING:
    from torch import Tensor


class ImageEmbeddingsAbility(Protocol):
    """Ability ``image_embeddings``: how a family has a prior, a network in a folder of its own,
    draw the embeddings of the pictures whose detail it fills in."""

    def prior_text(self, folder: Path) -> TextAbility:
        """How the prior reads a text; every one is as long.

        Args:
            folder: of the prior, which was seen to fit the model.
        """
        ...

    def drawn(
        self,
        run: Run,
        folder: Path,
        shape: tuple[int, ...],
        texts: Sequence[Condition],
        steps: int,
        guidance_scale: float,
    ) -> Tensor:
        """Embeddings (batch, channels, height, width), each of noise that
        depends on its image's seed alone.

        Args:
            folder: as of `prior_text`.
            shape: of one image's.
            texts: what `prior_text` gave of the prompts, and of the negative ones where guidance
                leads away from them.
            steps: how many the prior makes.
            guidance_scale: of classifier-free guidance.
        """
        ...
