"""What an image encoder saw in pictures, in place of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from ldm_core.contracts import REQUIRED, FileName, Input, Request, Run
from ldm_core.contracts.abilities import ImagePromptAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.image_prompt import MASK, MASKS, ImagePrompt
from ldm_plugins.conditioning.shared.image_prompt_options import read_options
from ldm_plugins.conditioning.shared.ip_adapter_files import AdapterFile
from ldm_plugins.conditioning.shared.pictures import different, several
from ldm_plugins.conditioning.shared.tensors import read_tensor

if TYPE_CHECKING:
    from torch import Tensor

NAME, NEGATIVE = "prompt_image_embeds", "negative_prompt_image_embeds"
GREY = Image.new("RGB", (8, 8), "grey")
"""A picture to ask an encoder with for what it says of none."""


def image_prompt_embeds(
    *,
    path: FileName | list[FileName],
    image_encoder: FileName,
    scale: float | list[Any] | dict[str, Any] | None = None,
    pictures: list[int] | None = None,
) -> ImagePromptEmbeds:
    """What an IP-Adapter's image encoder saw in pictures, computed before, in place of the pictures
    of ``image_prompt``; Diffusers' argument ``ip_adapter_image_embeds``.

    Reads ``prompt_image_embeds`` for each image: (pictures, width), or (pictures, tokens, width)
    for an adapter that reads the encoder's states; or, of several adapters, a list of one for each.
    Tensors, or safetensors files with one, which alone can be named in a manifest.
    ``negative_prompt_image_embeds`` are what guidance leads away from, the first half of what
    Diffusers has in one; where they are left out it is what the encoder says of no picture.
    ``prompt_image_mask`` as of ``image_prompt``.

    Args:
        path: as of ``image_prompt``.
        image_encoder: as of ``image_prompt``. Its weights are read only where negative embeddings
            are left out.
        scale: as of ``image_prompt``.
        pictures: as of ``image_prompt``.
    """
    return ImagePromptEmbeds(*read_options(path, image_encoder, scale, pictures))


def _input(default: Any, of: str) -> Input:
    kind: Any = Path | list[Path] if default is REQUIRED else Path | list[Path] | None
    return Input(
        kind, default, help=f"{of}: a .safetensors file, or one for each of several adapters"
    )


@dataclass(frozen=True)
class ImagePromptEmbeds(ImagePrompt):
    inputs: ClassVar[Mapping[str, Input]] = {
        NAME: _input(REQUIRED, "what the image encoder saw in pictures"),
        NEGATIVE: _input(None, "what it saw in those that guidance leads away from"),
        MASK: MASKS,
    }

    @property
    def _name(self) -> str:
        return NAME

    def check(self, request: Request) -> None:
        for name in (NAME, NEGATIVE):
            for (entry,) in different(request.inputs[name]):
                if name == NAME or entry is not None:
                    self._read(name, entry)
        self._count(request)
        for seen, away in zip(request.inputs[NAME], request.inputs[NEGATIVE], strict=True):
            if away is not None and _shapes(self._read(NEGATIVE, away)) != _shapes(
                self._read(NAME, seen)
            ):
                raise LdmError(f"the {NEGATIVE} of an image should be of the shape of its {NAME}.")
        if len({_shapes(self._read(NAME, entry)) for entry in request.inputs[NAME]}) > 1:
            raise LdmError(f"the {NAME} of all images should be of one shape.")
        self._masks(request)

    def _numbers(self, request: Request) -> list[int]:
        each = [self._read(NAME, entry) for entry in request.inputs[NAME]]
        return [sum(len(tensor) for tensor in tensors) for tensors in each]

    def _read(self, name: str, entry: Any) -> list[Tensor]:
        """An image's tensors, one for each adapter, pictures first.

        Raises:
            LdmError: they are not one for each adapter, or of another shape than it reads.
        """
        given = several(entry)
        if len(given) != len(self.adapters):
            raise LdmError(
                f"the {name} of an image should be one tensor for each of {len(self.adapters)} "
                f"adapters, not {len(given)}."
            )
        counts: tuple[int | None, ...] = self.counts or (None,)
        each = zip(given, self.adapters, counts, strict=True)
        return [
            _fitting(name, read_tensor(name, one), adapter, count) for one, adapter, count in each
        ]

    def _embeds(self, run: Run, number: int, branch: str, own: slice) -> Tensor:
        import torch

        adapter, inputs = self.adapters[number], run.request.inputs
        pairs = list(zip(inputs[NAME], inputs[NEGATIVE], strict=True))
        if branch != "negative":
            return torch.stack([self._read(NAME, seen)[number] for seen, _ in pairs]).to(run.device)
        nothing: Tensor | None = None
        if any(away is None for _, away in pairs):
            ability: ImagePromptAbility = run.model.abilities["image_prompt"]
            _, nothing = ability.embed(adapter.encoder, [GREY], adapter.pooled)
        rows = []
        for seen, away in pairs:
            if away is not None:
                rows.append(self._read(NEGATIVE, away)[number].to(run.device))
                continue
            assert nothing is not None
            like = self._read(NAME, seen)[number]
            if like.shape[1:] != nothing.shape[1:]:
                raise LdmError(
                    f"the {NAME} are of shape {tuple(like.shape)}, and the image encoder gives "
                    f"{tuple(nothing.shape[1:])} for a picture; give {NEGATIVE} of that shape."
                )
            rows.append(nothing.expand_as(like).to(run.device))
        return torch.stack(rows)


def _fitting(name: str, tensor: Tensor, adapter: AdapterFile, count: int | None) -> Tensor:
    """A tensor of one image, pictures first, as an adapter reads it.

    Args:
        count: at so many pictures it looks; None for any.
    """
    rank = 2 if adapter.pooled else 3
    one = tensor[None] if tensor.ndim == rank - 1 else tensor
    one = one[0] if one.ndim == rank + 1 and len(one) == 1 else one
    fits = one.ndim == rank and one.shape[-1] == adapter.width and one.numel() > 0
    if not fits or count not in (None, len(one)):
        shape = ["pictures" if count is None else count, *(["tokens"] * (rank - 2)), adapter.width]
        raise LdmError(
            f"the {name} of one image should have the shape ({', '.join(map(str, shape))}), not "
            f"{tuple(tensor.shape)}; of what Diffusers has in one for both branches the first half "
            f"is the {NEGATIVE}."
        )
    return one


def _shapes(tensors: list[Tensor]) -> tuple[tuple[int, ...], ...]:
    return tuple([tuple(tensor.shape) for tensor in tensors])
