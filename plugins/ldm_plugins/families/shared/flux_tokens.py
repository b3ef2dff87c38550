"""The tokens of Flux's networks: patches of latents, and where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldm_plugins.families.shared.folder import Folder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PATCH = 2  # the network takes one token for 2x2 latent pixels


def pack(x: Tensor) -> Tensor:
    """(batch, channels, height, width) to tokens (batch, height/2 · width/2, 4 · channels)."""
    from torch.nn.functional import pixel_unshuffle

    return pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `pack`, for so many rows and columns of tokens."""
    from torch.nn.functional import pixel_shuffle

    channels = tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)
    return pixel_shuffle(channels, PATCH)


def positions(rows: int, columns: int, device: torch.device, picture: int = 0) -> Tensor:
    """(rows · columns, 3): the picture, row and column of each token, row by row.

    Args:
        picture: 0 is the one that is drawn.
    """
    import torch

    axes = (torch.arange(side, dtype=torch.float32, device=device) for side in (rows, columns))
    row, column = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
    return torch.stack([torch.full_like(row, picture), row, column], dim=1)


def check_tokens(folder: Folder, more: int = 0) -> None:
    """See that the network takes and gives patches of the autoencoder's latents.

    Args:
        more: channels that it takes beside them in each token.
    """
    transformer, channels = folder.config("transformer"), folder.latent_channels
    own, takes = channels * PATCH**2, transformer.get("in_channels", 64)
    if takes != own + more:
        beside = f", {own + more} with what a {folder.pipeline} adds to them" if more else ""
        raise folder.error(
            f"the network takes {takes} channels a token, and 2x2 pixels of the autoencoder's "
            f"{channels} channels make {own}{beside}."
        )
    gives = transformer.get("out_channels") or takes
    if gives != own:
        raise folder.error(f"the network gives {gives} channels a token, and should give {own}.")
