"""Folders that read pictures as words of a prompt: found, and seen to fit a network."""

from __future__ import annotations

from pathlib import Path

from ldm_core.contracts import ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.weight_files import check_weights
from ldm_plugins.conditioning.shared.pipeline_folder import find_pipeline
from ldm_plugins.shared.networks import network_config

CLASS = "FluxPriorReduxPipeline"
PARTS = ["image_encoder", "image_embedder"]


def find_redux(source: str, info: ModelInfo) -> Path:
    """The folder of a FluxPriorReduxPipeline for a model whose network reads such states.

    Raises:
        LdmError: it is another, its weights are missing, cut off or pickled, or its parts do not
            fit the network or each other.
    """
    folder, configs = find_pipeline(source, "Redux model", CLASS, PARTS)
    siglip, redux = (configs[name] for name in PARTS)
    gives = siglip.get("vision_config", siglip).get("hidden_size", 768)
    takes = redux.get("redux_dim", 1152)
    if gives != takes:
        raise LdmError(
            f"'{source}': its image_embedder reads states of width {takes}, and its image_encoder "
            f"gives {gives}."
        )
    width = redux.get("txt_in_features", 4096)
    wanted = (network_config(info) or {}).get("joint_attention_dim", 4096)
    if width != wanted:
        raise LdmError(
            f"the Redux model '{source}' was made for another kind of model than '{info.source}' "
            f"(family {info.family}): it gives states of width {width}, and the network reads "
            f"{wanted}."
        )
    if not (folder / "feature_extractor" / "preprocessor_config.json").is_file():
        raise LdmError(f"'{source}' lacks feature_extractor/preprocessor_config.json.")
    check_weights(folder, PARTS)
    return folder
