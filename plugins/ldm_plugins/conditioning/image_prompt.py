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
    Guidance,
    Input,
    Model,
    ModelInfo,
    Request,
    Run,
)
from ldm_core.contracts.abilities import ImagePromptAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.image_prompt_options import read_options
from ldm_plugins.conditioning.shared.ip_adapter_files import (
    AdapterFile,
    check_attention,
    find_adapter,
)
from ldm_plugins.conditioning.shared.ip_adapter_layouts import Scale
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
NEGATIVES = Input(
    Path | list[Path] | None,
    None,
    help="a picture that the image should not be like, or several, in place of none: files",
)
MASKS = Input(
    Path | list[Path] | None,
    None,
    help="a picture of the image's size, white where the prompt_image holds, or one for each of "
    "several: files",
)
NAME, NEGATIVE, MASK = "prompt_image", "negative_prompt_image", "prompt_image_mask"


def image_prompt(
    *,
    path: FileName | list[FileName],
    image_encoder: FileName,
    scale: float | list[Any] | dict[str, Any] | None = None,
    pictures: list[int] | None = None,
) -> ImagePrompt:
    """A picture whose content and style the image takes on, by an IP-Adapter (Ye et al. 2023,
    arXiv:2308.06721).

    Reads a ``prompt_image`` for each image, of any size: a file, PIL image, tensor (channels,
    height, width) or array (height, width, channels); or a list of several, as many for each
    image. The negative branch sees none, or as many of ``negative_prompt_image``. In a UNet, a
    ``prompt_image_mask`` for each of the pictures says where in the image it holds: white from
    middle grey on. Several pictures are then each looked at by itself, and what they add is summed;
    without masks they are looked at together.

    Args:
        path: the adapter's safetensors file, as its authors and Diffusers lay it out; or several
            adapters', which look at one picture each, in order.
        image_encoder: folder of the CLIPVisionModelWithProjection that they were trained with; of
            the SiglipVisionModel for Stable Diffusion 3. In that of a whole CLIPModel or
            SiglipModel it is found.
        scale: factor of what the pictures add; 0 is the model without them. Where it is left out it
            is Diffusers' own: 0.5 for Stable Diffusion 3, and else 1. For a UNet also a table
            by block in Diffusers' words, such as ``{"up": {"block_0": [0, 1, 0]}}`` for SDXL's
            style; blocks that it does not name have 0. For Flux and Chroma also a list of one for
            each block of two streams. Of several adapters a list of one for each of them.
        pictures: how many of an image's pictures each of several adapters looks at, in order.
    """
    return ImagePrompt(*read_options(path, image_encoder, scale, pictures))


@dataclass(frozen=True)
class ImagePrompt(Conditioning):
    """
    Attributes:
        scales: of each adapter; None for the one that Diffusers takes.
        counts: how many of an image's pictures each adapter looks at; nothing where one looks at
            all of them.
        adapters: once the model is known.
    """

    inputs: ClassVar[Mapping[str, Input]] = {NAME: PICTURES, NEGATIVE: NEGATIVES, MASK: MASKS}

    paths: tuple[str, ...]
    image_encoder: str
    scales: tuple[Scale | None, ...]
    counts: tuple[int, ...] = ()
    adapters: tuple[AdapterFile, ...] = ()

    @property
    def ability(self) -> str:
        return "image_prompt"

    @property
    def _name(self) -> str:
        """The input that tells of the pictures."""
        return NAME

    def fit(self, info: ModelInfo) -> ImagePrompt:
        """The conditioning with its files, seen to fit the model."""
        if self.ability not in info.abilities:
            return self
        pairs = zip(self.paths, self.scales, strict=True)
        adapters = [find_adapter(path, self.image_encoder, scale, info) for path, scale in pairs]
        if self.counts not in ((), (1,)) and not adapters[0].several:
            raise LdmError(
                f"a model of the family {info.family} has one IP-Adapter, which looks at one "
                "picture of an image."
            )
        return replace(self, adapters=tuple(adapters))

    def files(self) -> Sequence[Path]:
        return [*(one.file for one in self.adapters), *(one.encoder for one in self.adapters[:1])]

    def check(self, request: Request) -> None:
        count = self._count(request)
        for name in (NAME, NEGATIVE):
            values = request.inputs[name]
            for (picture,) in different([p for entry in values for p in several(entry)]):
                read_picture(name, picture)
        if any(len(several(entry)) not in (0, count) for entry in request.inputs[NEGATIVE]):
            raise LdmError(
                f"negative_prompt_image should have as many pictures as prompt_image, {count}."
            )
        self._masks(request)

    def _numbers(self, request: Request) -> list[int]:
        """At how many pictures each image looks."""
        return [len(several(entry)) for entry in request.inputs[self._name]]

    def _count(self, request: Request) -> int:
        """At how many pictures the images look.

        Raises:
            LdmError: they do not all look at as many, or not at as many as the adapters.
        """
        name, counts = self._name, {*self._numbers(request)}
        if counts == {0} or len(counts) > 1:
            raise LdmError(
                f"{name} should have as many pictures for each image, and at least one, not "
                f"{' or '.join(map(str, sorted(counts)))}."
            )
        (count,) = counts
        if self.counts and count != sum(self.counts):
            raise LdmError(
                f"an image has {count} pictures in {name}, and its adapters look at "
                f"{' + '.join(map(str, self.counts))}."
            )
        if count > 1 and not self.adapters[0].several:
            raise LdmError(f"this model's IP-Adapter looks at one picture, not {count}.")
        return count

    def check_guidance(self, guidance: Guidance, request: Request) -> None:
        check_attention(self.adapters[0], guidance.altered_attention)

    def adapt(self, model: Model) -> Model:
        ability: ImagePromptAbility = model.abilities["image_prompt"]
        files, scales = zip(*((one.file, one.scale) for one in self.adapters), strict=True)
        return ability.adapted(model, files, scales)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """``image_embeds``, (batch, pictures, width) or (batch, pictures, tokens, width), of the
        first adapter, ``image_embeds_1`` of the second, and so on."""
        whole: dict[str, dict[str, Tensor]] = {branch: {} for branch in branches}
        masks = self._masks(run.request)
        first = 0
        for number in range(len(self.adapters)):
            count = self.counts[number] if self.counts else None
            own = slice(first, None if count is None else first + count)
            first += count or 0
            name = f"_{number}" if number else ""
            for branch in branches:
                embeds = self._embeds(run, number, branch, own)
                whole[branch][f"image_embeds{name}"] = embeds
                if masks is not None:
                    whole[branch][f"image_masks{name}"] = masks[:, own].to(embeds.device)
        return whole

    def _embeds(self, run: Run, number: int, branch: str, own: slice) -> Tensor:
        """What an adapter, by its number, sees of its pictures under a branch, (batch, pictures,
        ...)."""
        import torch

        adapter = self.adapters[number]
        ability: ImagePromptAbility = run.model.abilities["image_prompt"]
        inputs, negative = run.request.inputs, branch == "negative"
        instead = inputs[NEGATIVE] if negative else [None] * len(inputs[NAME])
        rows = []
        each = [
            several(entry if other is None else other)[own]
            for entry, other in zip(inputs[NAME], instead, strict=True)
        ]
        once = {id(picture): picture for pictures in each for picture in pictures}
        places = {key: place for place, key in enumerate(once)}
        embeds, nothing = ability.embed(
            adapter.encoder, [in_eight_bits(NAME, p) for p in once.values()], adapter.pooled
        )
        for pictures, other in zip(each, instead, strict=True):
            seen = nothing if negative and other is None else embeds
            rows.append(seen[[places[id(picture)] for picture in pictures]])
        return torch.stack(rows)

    def _masks(self, request: Request) -> Tensor | None:
        """Where each picture holds, 1 or 0, (batch, pictures, height, width); None where nothing is
        said of it.

        Raises:
            LdmError: they are of another size, or not one for each picture, or the network's
                layers take none.
        """
        import torch

        each = [several(entry) for entry in request.inputs[MASK]]
        if not any(each):
            return None
        if not self.adapters[0].masks:
            raise LdmError(
                f"the layers of an IP-Adapter take a {MASK} in a UNet alone; in this model's "
                "network the pictures hold for the whole image."
            )
        masks = []
        for own, count in zip(each, self._numbers(request), strict=True):
            if not own and count > 1:
                raise LdmError(
                    f"some images have a {MASK} and one with several pictures has none: with masks "
                    "each picture is looked at by itself; give white ones."
                )
            if own and len(own) != count:
                raise LdmError(
                    f"there should be a {MASK} for each {self._name} of an image, not {len(own)} "
                    f"for {count}."
                )
            for picture in own:
                check_size(MASK, read_picture(MASK, picture, "L", mask=True), request)
            whole = torch.ones(count, request.height, request.width)
            masks.append(to_pixels(MASK, own, "L", mask=True)[:, 0] if own else whole)
        return (torch.stack(masks) >= 0.5).float()
