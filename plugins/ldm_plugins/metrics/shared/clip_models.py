"""CLIP models: features of pictures and texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError, LdmWarning
from ldm_core.model.component_folder import component_folder
from ldm_core.model.loading import check_finite, reading
from ldm_core.model.reading import read_json
from ldm_plugins.metrics.shared.features import Features
from ldm_plugins.shared.quiet import quiet
from ldm_plugins.shared.stamps import Stamps, stamps

if TYPE_CHECKING:
    from torch import Tensor

TYPE = "clip"


class ClipModel:
    """A CLIP model with what prepares pictures and texts for it, in Transformers' format.

    Args:
        folder: with config.json, safetensors weights, and the files of its processors.
    Raises:
        LdmError: it is of another kind, or has no weights or tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        file = folder / "config.json"
        if not file.is_file() or (kind := read_json(file).get("model_type")) != TYPE:
            kind = f"a model of the type '{kind}'" if file.is_file() else "without a config.json"
            raise LdmError(f"the folder '{folder}' is {kind}, and no CLIP model in it is known.")
        if not [*folder.glob("*.safetensors")]:
            raise LdmError(
                f"the folder '{folder}' has no safetensors weights, and no others are read."
            )

    def pictures(self, pictures: Tensor) -> Tensor:
        """Projected features, (batch, values), of pictures (batch, 3, height, width) in [0, 1]."""
        from ldm_core.media.pixels import from_pixels

        images = from_pixels(pictures * 2 - 1, "pil")
        read = stamps(self.folder)
        pixels = _processor(self.folder, read)(images, return_tensors="pt").pixel_values
        model = _model(self.folder, read, str(pictures.device))
        return _pooled(model.get_image_features(pixel_values=pixels.to(pictures.device)))

    def texts(self, texts: Sequence[str], device: Any) -> Tensor:
        """Projected features, (texts, values); words beyond the window are left out, and said."""
        read = stamps(self.folder)
        model, tokenizer = _model(self.folder, read, str(device)), _tokenizer(self.folder, read)
        window = model.config.text_config.max_position_embeddings
        with quiet("the tokenizer of CLIP"):
            lengths = [len(ids) for ids in tokenizer([*texts]).input_ids]
            tokens = tokenizer(
                [*texts], padding=True, truncation=True, max_length=window, return_tensors="pt"
            ).to(device)
        if long := sum(length > window for length in lengths):
            warnings.warn(
                f"texts are longer than the {window} tokens that CLIP reads ({long} of "
                f"{len(texts)}); their ends are left out",
                LdmWarning,
                stacklevel=2,
            )
        return _pooled(
            model.get_text_features(
                input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
            )
        )


def clip_model(source: str) -> ClipModel:
    """The CLIP model in a folder, or of an id of the Hub.

    Raises:
        LdmError: there is none; seen before any weight is read.
    """
    return ClipModel(component_folder(source, "CLIP model"))


def clip_features(source: str) -> Features:
    """The projected features of a CLIP model's pictures, scaled and cut as the model takes them."""
    return Features(f"clip of {source}", clip_model(source).pictures)


def _pooled(output: Any) -> Tensor:
    """Features as Transformers gives them, by themselves or with what they were made of."""
    import torch

    features: Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return features


@lru_cache(maxsize=4)
def _model(folder: Path, read: Stamps, device: str) -> Any:
    from transformers import CLIPModel

    what = f"the CLIP model in {folder}"
    with quiet(what), reading(what):
        model, report = CLIPModel.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    if missing := sorted(report["missing_keys"]):
        raise LdmError(f"{what} lacks weights, such as {missing[0]}.")
    check_finite(what, dict(model.named_parameters()))
    return model.float().eval().requires_grad_(False).to(device)


@lru_cache(maxsize=4)
def _processor(folder: Path, read: Stamps) -> Any:
    # the one in PIL, so that figures do not depend on whether torchvision is installed
    try:
        from transformers import CLIPImageProcessorPil as CLIPImageProcessor
    except ImportError:  # in versions that have this one alone
        from transformers import CLIPImageProcessor

    what = f"the picture processor of the CLIP model in {folder}"
    with quiet(what), reading(what):
        return CLIPImageProcessor.from_pretrained(folder, local_files_only=True)


@lru_cache(maxsize=4)
def _tokenizer(folder: Path, read: Stamps) -> Any:
    from transformers import CLIPTokenizerFast

    what = f"the tokenizer of the CLIP model in {folder}"
    with quiet(what), reading(what):
        return CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
