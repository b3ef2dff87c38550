"""Write the trained model as a folder of `diffusers.StableAudioPipeline`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_pipelines.training.folder import PREDICTION, halved, load_as_float32, new_folder

SIGMAS = (0.05, 80.0)
"""The least noise and the most, over latents of a mean square of about 1."""
SCHEDULER = "CosineDPMSolverMultistepScheduler"


def write_stable_audio(
    folder: Path, autoencoder: Any, networks: Mapping[str, Any], tokenizer: Any
) -> None:
    """Write float16 safetensors that `diffusers.StableAudioPipeline` loads, all at once.

    Args:
        folder: where the model is to lie; an old one is replaced.
        networks: ``text_encoder``, ``projection_model`` and ``transformer``.
    Raises:
        LdmError: a weight does not fit into float16.
    """
    import diffusers

    version = {"_diffusers_version": diffusers.__version__}
    scheduler = {
        "_class_name": SCHEDULER,
        **version,
        "prediction_type": PREDICTION,
        "sigma_min": SIGMAS[0],
        "sigma_max": SIGMAS[1],
        "sigma_data": 1.0,
        "sigma_schedule": "exponential",
    }
    index = {
        "_class_name": "StableAudioPipeline",
        **version,
        "projection_model": ["stable_audio", "StableAudioProjectionModel"],
        "scheduler": ["diffusers", SCHEDULER],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", "StableAudioDiTModel"],
        "vae": ["diffusers", "AutoencoderOobleck"],
    }
    with new_folder(folder) as fresh:
        for name, network in {**networks, "vae": autoencoder}.items():
            halved(network).save_pretrained(fresh / name)
        load_as_float32(fresh / "text_encoder" / "config.json")
        tokenizer.save_pretrained(fresh / "tokenizer")
        (fresh / "scheduler").mkdir()
        for name, content in {
            "scheduler/scheduler_config": scheduler,
            "model_index": index,
        }.items():
            file = fresh / f"{name}.json"
            file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
