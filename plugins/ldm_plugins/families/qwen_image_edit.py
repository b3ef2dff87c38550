"""Qwen-Image-Edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ldm_core.contracts import Condition, Model, ModelInfo, Part, Place, Unequal
from ldm_core.errors import LdmError
from ldm_core.model.files import read_index
from ldm_plugins.families.qwen_image import (
    LAST_TOKEN,
    PATCH,
    QwenImage,
    network_of,
    reference_key,
)
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.qwen_pictures import check_processor, read_processor, resized
from ldm_plugins.families.shared.qwen_text import Chat, QwenText, joined
from ldm_plugins.shared.frame_memory import alone
from ldm_plugins.shared.quiet import quiet

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

CHAT = Chat(
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, "
    "texture, objects, background), then explain how the user's text instruction should alter or "
    "modify the image. Generate a new image that meets the user's requirements while maintaining "
    "consistency with the original input where appropriate.<|im_end|>\n<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
    dropped=64,
    window=2**20,  # nothing is cut off
)
PICTURE = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>"
"""How a picture stands in a chat; the one between is there once for each of its tokens."""
AREA = 1024 * 1024
"""Pixels of a picture as the network sees it."""


class Kind(NamedTuple):
    """What is different in the two kinds of models.

    Attributes:
        label: what is said before a picture, with its number.
        area: pixels of a picture as the text encoder sees it.
        most: as many pictures there may be; None without a limit.
    """

    label: str
    area: int
    most: int | None


ONE = Kind("", AREA, 1)
SEVERAL = Kind("Picture {}: ", 384 * 384, None)
KINDS = {
    "QwenImageEditPipeline": ONE,
    "QwenImageEditInpaintPipeline": ONE,
    "QwenImageEditPlusPipeline": SEVERAL,
    "QwenImageEditModularPipeline": ONE,
    "QwenImageEditPlusModularPipeline": SEVERAL,
}


class QwenImageEdit(QwenImage):
    """Qwen-Image that sees one picture (Edit) or several (Edit Plus) and draws what a person says
    of them (Wu et al. 2025, arXiv:2508.02324, Section 4.3): folders of QwenImageEditPipeline and
    QwenImageEditPlusPipeline. The text encoder sees the pictures too."""

    pipelines = tuple(KINDS)
    components: ClassVar = QwenImage.components

    def describe(self, folder: Folder) -> ModelInfo:
        check_processor(folder)
        info = super().describe(folder)
        both = frozenset({"text", "reference"})
        return replace(
            info,
            family="qwen_image_edit",
            abilities=both,
            needs=both,
            most_references=KINDS[folder.pipeline].most,
            defaults={
                **info.defaults,
                "conditioning": ["text", "reference"],
                "encoder": {"name": info.defaults["encoder"], "sample": False},
            },
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        transformer = parts["transformer"]
        device = transformer.device
        kind = KINDS[read_index(info.folder)["_class_name"]]
        text = SeenText(parts, device, kind, read_processor(info.folder))
        stride = info.latents.axis("height").stride
        pictures = SeenPictures(parts["vae"], stride * PATCH, kind, device)
        abilities = {"text": text, "reference": pictures}
        return Model(info, network_of(transformer), abilities, parts, place)


class SeenText(QwenText):
    """The states of a text and of the pictures before it, key ``text``.

    Args:
        device: where the condition goes.
        processor: makes patches of pictures.
    """

    reads_references = True

    def __init__(
        self, parts: Mapping[str, Part], device: torch.device, kind: Kind, processor: Any
    ) -> None:
        encoder, tokenizer = parts["text_encoder"], parts["tokenizer"].module
        super().__init__(encoder, tokenizer, CHAT, device, options=LAST_TOKEN)
        self._kind = kind
        self._processor = processor

    def encode(self, texts: Sequence[str | None]) -> Condition | Unequal:
        return self.encode_beside(texts, [()] * len(texts))

    def encode_beside(
        self, texts: Sequence[str | None], references: Sequence[Sequence[Image]]
    ) -> Condition | Unequal:
        each = zip(texts, references, strict=True)
        return joined([{"text": self._seen(text or "", pictures)} for text, pictures in each])

    def _seen(self, text: str, pictures: Sequence[Image]) -> Tensor:
        """(1, tokens, width) of a text and the pictures that it is about."""
        import torch

        if not pictures:
            return self._states(text)
        with quiet():
            seen = self._processor([resized(p, self._kind.area) for p in pictures])
            pixels, grids = (torch.as_tensor(v) for v in (seen.pixel_values, seen.image_grid_thw))
        counts = (grids.prod(dim=1) // self._processor.merge_size**2).tolist()
        first, token, last = PICTURE
        marks = [
            f"{self._kind.label.format(number)}{first}{token * count}{last}"
            for number, count in enumerate(counts, start=1)
        ]
        head = self._tokenize(f"{self._chat.before}{''.join(marks)}{text}").input_ids
        numbers = [*head, *self._tokenize(self._chat.after).input_ids]
        own = self._encoder.module.config.image_token_id
        if numbers.count(own) != sum(counts):
            raise LdmError(f"a prompt must not hold '{token}', which stands for a picture.")
        if self._encoder.device.type == "meta":
            # on shapes alone; making patches into tokens takes less memory than reading the tokens
            return self._states_of(numbers)
        return self._states_of(
            numbers,
            pixel_values=pixels.to(self._encoder.device, self._encoder.dtype),
            image_grid_thw=grids.to(self._encoder.device),
            # without which the tokens of a picture would have the places of words
            mm_token_type_ids=torch.tensor(
                [[int(number == own) for number in numbers]], device=self._encoder.device
            ),
        )


class SeenPictures:
    """Ability ``reference``: the latents of pictures, keys `reference_key`, of about `AREA` pixels
    whatever size they were.

    Args:
        unit: the sides of a picture are multiples of so many pixels.
        device: where the condition goes.
    """

    def __init__(self, autoencoder: Part, unit: int, kind: Kind, device: torch.device) -> None:
        self._autoencoder = autoencoder
        self._unit = unit
        self._kind = kind
        self._device = device

    def encode(self, references: Sequence[Sequence[Image]]) -> Condition | Unequal:
        different = {id(p): p for pictures in references for p in pictures}
        latents = {key: self._latents(picture) for key, picture in different.items()}
        return joined(
            [
                {reference_key(n): latents[id(p)] for n, p in enumerate(pictures, start=1)}
                for pictures in references
            ]
        )

    def _latents(self, picture: Image) -> Tensor:
        """(1, channels, height, width) of a picture: the mean of the posterior, normalised."""
        import numpy as np
        import torch

        part = self._autoencoder
        values = np.asarray(resized(picture, AREA, self._unit), dtype=np.float32) / 255
        pixels = torch.from_numpy(values).permute(2, 0, 1)[None, :, None] * 2 - 1
        with alone(part.module):
            posterior = part.module.encode(pixels.to(part.device, part.dtype)).latent_dist
        config = part.module.config
        mean, deviation = (
            torch.tensor(config[name], device=part.device).view(1, -1, 1, 1)
            for name in ("latents_mean", "latents_std")
        )
        latents: Tensor = (posterior.mean.float().squeeze(2) - mean) / deviation
        return latents.to(self._device)
