"""Tokens merged before a layer of self-attention, and unmerged after it (Bolya & Hoffman 2023,
arXiv:2303.17604, Sections 3 and 4)."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PIECE = 1024
"""Tokens that are compared with the kept ones at a time."""
_size: ContextVar[tuple[int, int] | None] = ContextVar("size", default=None)
"""(rows, columns) of the tokens in the transformer that is under way in this thread. A network of
one transformer says it anew at each call, before its first block."""


@dataclass(frozen=True)
class Merge:
    """Which tokens are merged into which, for each row of a batch.

    Attributes:
        kept: (K,), the tokens that others are merged into.
        alone: (rows, A), the others that stay.
        merged: (rows, M), those that are merged.
        into: (rows, M), the place among the kept that each of these goes to.
    """

    kept: Tensor
    alone: Tensor
    merged: Tensor
    into: Tensor

    @classmethod
    def of(cls, x: Tensor, rows: int, columns: int, ratio: float) -> Merge:
        """The merge of tokens (batch, rows·columns, width) by the cosine of their angles."""
        import torch

        kept, others = _squares(rows, columns, x.device)
        alike = torch.nn.functional.normalize(x.float(), dim=-1)
        keys = alike[:, kept].transpose(1, 2)
        nearest = [(alike[:, piece] @ keys).max(-1) for piece in torch.split(others, PIECE)]
        values = torch.cat([one.values for one in nearest], 1)
        places = torch.cat([one.indices for one in nearest], 1)
        order = values.argsort(dim=1, descending=True, stable=True)
        count = min(int(rows * columns * ratio), len(others))
        merged, alone = order[:, :count], order[:, count:]
        return cls(kept, others[alone], others[merged], places.gather(1, merged))

    def merge(self, x: Tensor) -> Tensor:
        """The tokens that are left: those alone, then the kept ones as means of what they took."""
        import torch

        share = torch.zeros(
            len(x), len(self.kept), self.into.shape[1], dtype=x.dtype, device=x.device
        ).scatter_(1, self.into[:, None], 1.0)
        # a product with ones and zeros, as sums by index come in any order on CUDA
        total = x[:, self.kept] + share @ _at(x, self.merged)
        return torch.cat([_at(x, self.alone), total / (1 + share.sum(-1, keepdim=True))], 1)

    def unmerge(self, y: Tensor) -> Tensor:
        """What came of the tokens that were left, given to all that are in them."""
        alone, kept = y.tensor_split([self.alone.shape[1]], 1)
        count = y.shape[1] + self.merged.shape[1]
        out = y.new_empty(len(y), count, y.shape[-1])
        out[:, self.kept] = kept
        _put(out, self.alone, alone)
        _put(out, self.merged, _at(kept, self.into))
        return out


def _at(x: Tensor, places: Tensor) -> Tensor:
    """The tokens of each row at its own places."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def _put(out: Tensor, places: Tensor, tokens: Tensor) -> None:
    out.scatter_(1, places[..., None].expand(-1, -1, out.shape[-1]), tokens)


def _squares(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The upper left token of each square of four, and all others."""
    import torch

    first = torch.zeros(rows, columns, dtype=torch.bool, device=device)
    first[::2, ::2] = True
    flat = first.flatten()
    return flat.nonzero()[:, 0], (~flat).nonzero()[:, 0]


@dataclass(frozen=True)
class Classes:
    """What layers become that merge tokens, by changing their class, so that their names and
    weights stay."""

    transformer: type[Any]
    patches: type[Any]
    attention: type[Any]


@cache
def merging_classes() -> Classes:
    """The classes, made when diffusers is needed anyway."""
    from diffusers.models import Transformer2DModel
    from diffusers.models.attention_processor import Attention
    from diffusers.models.embeddings import PatchEmbed

    class Transformer(Transformer2DModel):  # type: ignore[misc]
        """Says how its tokens lie."""

        def forward(self, hidden_states: Tensor, *args: Any, **options: Any) -> Any:
            rows, columns = hidden_states.shape[-2:]
            token = _size.set((rows, columns))
            try:
                return super().forward(hidden_states, *args, **options)
            finally:
                _size.reset(token)

    class Patches(PatchEmbed):  # type: ignore[misc]
        """Says how the tokens lie that it makes of a latent."""

        def forward(self, latent: Tensor) -> Any:
            rows, columns = latent.shape[-2:]
            _size.set((rows // self.patch_size, columns // self.patch_size))
            return super().forward(latent)

    class Merging(Attention):  # type: ignore[misc]
        """Self-attention among merged tokens."""

        merged: float = 0.0

        def forward(self, hidden_states: Tensor, *args: Any, **options: Any) -> Any:
            size, others = _size.get(), options.get("encoder_hidden_states")
            plain = others is None and options.get("attention_mask") is None
            if args or not plain or size is None or hidden_states.shape[1] != size[0] * size[1]:
                return super().forward(hidden_states, *args, **options)
            merge = Merge.of(hidden_states, *size, self.merged)
            return merge.unmerge(super().forward(merge.merge(hidden_states), **options))

    return Classes(Transformer, Patches, Merging)
