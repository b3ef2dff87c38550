"""Pictures as prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    FileName,
    Input,
    Model,
    ModelInfo,
    Request,
    Run,
)
from ldm_core.contracts.abilities import ImagePromptAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.ip_adapter_files import AdapterFile, find_adapter
from ldm_plugins.conditioning.shared.pictures import different, read_picture

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = Input(
    Path | list[Path], REQUIRED, help="a picture of any size, or several, to look at: files"
)


def image_prompt(*, path: FileName, image_encoder: FileName, scale: float = 1.0) -> ImagePrompt:
    """A picture whose content and style the image takes on, by an IP-Adapter (Ye et al. 2023,
    arXiv:2308.06721).

    Reads a ``prompt_image`` for each image, of any size: a file, PIL image, tensor (channels,
    height, width) or array (height, width, channels); or a list of several, as many for each
    image. The negative branch sees none.

    Args:
        path: the adapter's safetensors file, as its authors and Diffusers lay it out.
        image_encoder: folder of the CLIPVisionModelWithProjection that it was trained with.
        scale: factor of what the pictures add; 0 is the model without them.
    """
    return ImagePrompt(path, image_encoder, scale)


@dataclass(frozen=True)
class ImagePrompt(Conditioning):
    """
    Attributes:
        adapter: once the model is known.
    """

    inputs: ClassVar[Mapping[str, Input]] = {"prompt_image": PICTURES}

    path: str
    image_encoder: str
    scale: float
    adapter: AdapterFile | None = None

    @property
    def ability(self) -> str:
        return "image_prompt"

    def fit(self, info: ModelInfo) -> ImagePrompt:
        """The conditioning with its files, seen to fit the model."""
        if self.ability not in info.abilities:
            return self
        return replace(self, adapter=find_adapter(self.path, self.image_encoder, info))

    def check(self, request: Request) -> None:
        entries = request.inputs["prompt_image"]
        counts = {len(_several(entry)) for entry in entries}
        if counts == {0} or len(counts) > 1:
            raise LdmError(
                "prompt_image should have as many pictures for each image, and at least one, not "
                f"{' or '.join(map(str, sorted(counts)))}."
            )
        for (picture,) in different([p for entry in entries for p in _several(entry)]):
            read_picture("prompt_image", picture)

    def adapt(self, model: Model) -> Model:
        assert self.adapter is not None
        ability: ImagePromptAbility = model.abilities["image_prompt"]
        return ability.adapted(model, self.adapter.file, self.scale)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """``image_embeds``, (batch, pictures, width) or (batch, pictures, tokens, width)."""
        import torch

        assert self.adapter is not None
        ability: ImagePromptAbility = run.model.abilities["image_prompt"]
        each = [_several(entry) for entry in run.request.inputs["prompt_image"]]
        once = {id(picture): picture for pictures in each for picture in pictures}
        places = {key: place for place, key in enumerate(once)}
        rows = torch.tensor([[places[id(picture)] for picture in pictures] for pictures in each])
        embeds, nothing = ability.embed(
            self.adapter.encoder, [_image(p) for p in once.values()], self.adapter.pooled
        )
        return {
            branch: {"image_embeds": (nothing if branch == "negative" else embeds)[rows]}
            for branch in branches
        }


def _several(entry: Any) -> list[Any]:
    return list(entry) if isinstance(entry, list | tuple) else [entry]


def _image(picture: Any) -> Image:
    """A picture in 8 bits a channel, as image encoders' own preprocessing takes it."""
    import numpy as np
    from PIL import Image

    values = read_picture("prompt_image", picture)
    return Image.fromarray((values * 255).round().clip(0, 255).astype(np.uint8))
