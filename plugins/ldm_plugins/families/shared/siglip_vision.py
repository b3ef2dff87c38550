"""What scales pictures for SigLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ldm_plugins.families.shared.image_prompts import read_processor
from ldm_plugins.shared.quiet import quiet


def siglip_processor(folder: Path, net: Any) -> Any:
    """What scales pictures for an encoder: that of a folder, or SigLIP's for its size."""
    # the one in PIL, so that pictures do not depend on whether torchvision is installed
    try:
        from transformers import SiglipImageProcessorPil as SiglipImageProcessor
    except ImportError:  # in versions that have this one alone
        from transformers import SiglipImageProcessor

    side = net.config.image_size
    if (folder / "preprocessor_config.json").is_file():
        with quiet(f"the image encoder in {folder}"):
            return read_processor(SiglipImageProcessor, folder, side)
    return SiglipImageProcessor(size={"height": side, "width": side})
