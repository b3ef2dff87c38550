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
from ldm_plugins.conditioning.shared.pictures import (
    check_size,
    different,
    in_eight_bits,
    read_picture,
    several,
    to_pixels,
)

if TYPE_CHECKING:
    from torch import Tensor

PICTURES = Input(
    Path | list[Path], REQUIRED, help="a picture of any size, or several, to look at: files"
)
MASKS = Input(
    Path | list[Path] | None,
    None,
    help="a picture of the image's size, white where the prompt_image holds, or one for each of "
    "several: files",
)
NAME = "prompt_image_mask"


def image_prompt(
    *, path: FileName, image_encoder: FileName, scale: float | dict[str, Any] = 1.0
) -> ImagePrompt:
    """A picture whose content and style the image takes on, by an IP-Adapter (Ye et al. 2023,
    arXiv:2308.06721).

    Reads a ``prompt_image`` for each image, of any size: a file, PIL image, tensor (channels,
    height, width) or array (height, width, channels); or a list of several, as many for each
    image. The negative branch sees none. A ``prompt_image_mask`` for each of the pictures says
    where in the image it holds: white from middle grey on. Several pictures are then each looked at
    by itself, and what they add is summed; without masks they are looked at together.

    Args:
        path: the adapter's safetensors file, as its authors and Diffusers lay it out.
        image_encoder: folder of the CLIPVisionModelWithProjection that it was trained with.
        scale: factor of what the pictures add; 0 is the model without them. Or a table by block in
            Diffusers' words, such as ``{"up": {"block_0": [0, 1, 0]}}`` for SDXL's style; blocks
            that it does not name have 0.
    """
    return ImagePrompt(path, image_encoder, scale)


@dataclass(frozen=True)
class ImagePrompt(Conditioning):
    """
    Attributes:
        adapter: once the model is known.
    """

    inputs: ClassVar[Mapping[str, Input]] = {"prompt_image": PICTURES, NAME: MASKS}

    path: str
    image_encoder: str
    scale: float | dict[str, Any]
    adapter: AdapterFile | None = None

    @property
    def ability(self) -> str:
        return "image_prompt"

    def fit(self, info: ModelInfo) -> ImagePrompt:
        """The conditioning with its files, seen to fit the model."""
        if self.ability not in info.abilities:
            return self
        return replace(self, adapter=find_adapter(self.path, self.image_encoder, info))

    def files(self) -> Sequence[Path]:
        return () if self.adapter is None else (self.adapter.file, self.adapter.encoder)

    def check(self, request: Request) -> None:
        entries = request.inputs["prompt_image"]
        counts = {len(several(entry)) for entry in entries}
        if counts == {0} or len(counts) > 1:
            raise LdmError(
                "prompt_image should have as many pictures for each image, and at least one, not "
                f"{' or '.join(map(str, sorted(counts)))}."
            )
        for (picture,) in different([p for entry in entries for p in several(entry)]):
            read_picture("prompt_image", picture)
        self._masks(request)

    def adapt(self, model: Model) -> Model:
        assert self.adapter is not None
        ability: ImagePromptAbility = model.abilities["image_prompt"]
        return ability.adapted(model, self.adapter.file, self.scale)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """``image_embeds``, (batch, pictures, width) or (batch, pictures, tokens, width)."""
        import torch

        assert self.adapter is not None
        ability: ImagePromptAbility = run.model.abilities["image_prompt"]
        each = [several(entry) for entry in run.request.inputs["prompt_image"]]
        once = {id(picture): picture for pictures in each for picture in pictures}
        places = {key: place for place, key in enumerate(once)}
        rows = torch.tensor([[places[id(picture)] for picture in pictures] for pictures in each])
        embeds, nothing = ability.embed(
            self.adapter.encoder,
            [in_eight_bits("prompt_image", p) for p in once.values()],
            self.adapter.pooled,
        )
        masks = self._masks(run.request)
        more = {} if masks is None else {"image_masks": masks.to(embeds.device)}
        return {
            branch: {"image_embeds": (nothing if branch == "negative" else embeds)[rows], **more}
            for branch in branches
        }

    def _masks(self, request: Request) -> Tensor | None:
        """Where each picture holds, 1 or 0, (batch, pictures, height, width); None where nothing is
        said of it.

        Raises:
            LdmError: they are of another size, or not one for each picture.
        """
        import torch

        each = [several(entry) for entry in request.inputs[NAME]]
        if not any(each):
            return None
        masks = []
        for own, seen in zip(each, request.inputs["prompt_image"], strict=True):
            pictures = several(seen)
            if not own and len(pictures) > 1:
                raise LdmError(
                    f"some images have a {NAME} and one with several pictures has none: with masks "
                    "each picture is looked at by itself; give white ones."
                )
            if own and len(own) != len(pictures):
                raise LdmError(
                    f"there should be a {NAME} for each prompt_image of an image, not {len(own)} "
                    f"for {len(pictures)}."
                )
            for picture in own:
                check_size(NAME, read_picture(NAME, picture, "L", mask=True), request)
            whole = torch.ones(len(pictures), request.height, request.width)
            masks.append(to_pixels(NAME, own, "L", mask=True)[:, 0] if own else whole)
        return (torch.stack(masks) >= 0.5).float()
