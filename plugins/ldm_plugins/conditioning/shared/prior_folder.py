"""Folders of priors, which draw embeddings of pictures: found, and seen to fit a model."""

from __future__ import annotations

from pathlib import Path

from ldm_core.contracts import ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.model.weight_files import check_weights
from ldm_plugins.conditioning.shared.pipeline_folder import find_pipeline
from ldm_plugins.shared.cosine_schedule import read_cosine_schedule

CLASS = "StableCascadePriorPipeline"
PARTS = ["prior", "text_encoder"]


def find_prior(source: str, info: ModelInfo, channels: int) -> Path:
    """The folder of a StableCascadePriorPipeline that draws embeddings of so many channels.

    Raises:
        LdmError: it is another, its weights are missing, cut off or pickled, or its parts do not
            fit the embeddings or each other.
    """
    folder, configs = find_pipeline(source, "prior", CLASS, PARTS)
    prior, clip = (configs[name] for name in PARTS)
    drawn = (prior.get("in_channels", 16), prior.get("out_channels", 16))
    if drawn != (channels, channels):
        raise LdmError(
            f"the prior '{source}' takes and returns embeddings of {drawn[0]} and {drawn[1]} "
            f"channels, and '{info.source}' (family {info.family}) reads {channels}."
        )
    takes = (prior.get("clip_text_in_channels"), prior.get("clip_text_pooled_in_channels", 1280))
    gives = (clip.get("hidden_size", 512), clip.get("projection_dim", 512))
    if takes != gives:
        raise LdmError(
            f"the prior '{source}' reads text states of the widths {takes[0]} and {takes[1]}, and "
            f"its text encoder gives {gives[0]} and {gives[1]}."
        )
    if not prior.get("clip_image_in_channels"):
        raise LdmError(f"the prior '{source}' reads no picture beside the text, as {CLASS} does.")
    read_cosine_schedule(read_json(folder / "scheduler" / "scheduler_config.json"), "the prior")
    check_weights(folder, PARTS)
    return folder
