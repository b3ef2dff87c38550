"""An ability of models that are told a picture as one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ldm_core.contracts.abilities import TextAbility
from ldm_core.contracts.network import Condition
from ldm_core.contracts.run import Run

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class PictureEmbeddingAbility(Protocol):
    """Ability ``picture_embedding``: how a family tells its network what CLIP sees in a picture;
    beside it ``embedding_prior`` says that the model draws that of the text, and
    ``embedding_noise`` that noise is mixed into it."""

    def seen(self, pictures: Sequence[Image]) -> Tensor:
        """(pictures, width): what the model's image encoder sees in pictures of any size."""
        ...

    def prior_text(self) -> TextAbility:
        """How the prior reads a text; every one is as long."""
        ...

    def drawn(
        self, run: Run, texts: Sequence[Condition], steps: int, guidance_scale: float
    ) -> Tensor:
        """(batch, width), each of noise that depends on its image's seed alone.

        Args:
            texts: what `prior_text` gave of the prompts, and of the empty one where guidance leads
                away from it.
            steps: how many the prior makes.
            guidance_scale: of classifier-free guidance.
        """
        ...

    def encode(self, run: Run, embeddings: Tensor, noise_levels: Sequence[int | None]) -> Condition:
        """The network's condition for each embedding.

        Args:
            embeddings: (batch, width).
            noise_levels: how noisy each is to be made, as a timestep; None for the model's own.
        Raises:
            LdmError: the model knows no such level.
        """
        ...

    def silent(self, condition: Condition) -> Condition:
        """What stands for no picture, in the shape of a condition of `encode`."""
        ...
