"""Start a training from the weights of a model folder in place of random ones."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError, LdmWarning
from ldm_core.model.from_folder import read_module
from ldm_core.model.loading import check_finite, reading
from ldm_core.model.reading import read_json
from ldm_pipelines.training.folder import PREDICTION, SCHEDULE, fingerprint

BESIDE_THE_WEIGHTS = frozenset(
    {"architectures", "dtype", "force_upcast", "sample_size", "transformers_version"}
)
"""Entries of a network's config that may differ though the weights mean the same."""


def take_weights(network: Any, folder: Path, part: str) -> None:
    """Load the weights of ``folder/part`` into `network`, as this training has built it.

    Args:
        network: of Diffusers or of Transformers.
    Raises:
        LdmError: there is no such part, or it is built otherwise than `network`.
    """
    stored = _read(folder / part / "config.json")
    kind = type(network)
    architectures = stored.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else "?"
    stored_kind = stored.get("_class_name") or named
    differences = [
        f"{name} is {stored[name]!r}, not {value!r}"
        for name, value in _config(network).items()
        if name in stored
        and stored[name] != value
        and name not in BESIDE_THE_WEIGHTS
        and not name.startswith("_")
    ]
    if stored_kind != kind.__name__:
        differences = [f"it is of class {stored_kind}, not {kind.__name__}"]
    if differences:
        raise LdmError(
            f"{folder / part} is built otherwise than this training builds it: "
            + "; ".join(differences),
            "a training can start from the weights of a network of its own kind and size alone",
        )
    what = f"the {part} in {folder / part}"
    loaded = read_module(what, folder / part, kind, diffusers="_class_name" in stored)
    check_finite(what, loaded.state_dict())
    network.load_state_dict(loaded.state_dict())


def check_start(folder: Path, autoencoder: Path, tokenizer: Any = None) -> None:
    """See that a model's denoiser learnt what the training will go on to teach it.

    Args:
        autoencoder: folder whose ``vae`` makes the latents of the training.
        tokenizer: that of the training, if its captions go through one.
    Raises:
        LdmError: the model predicts something else, has another noise schedule or vocabulary.
    Warns:
        LdmWarning: the model's autoencoder is another one than the training's.
    """
    scheduler = _read(folder / "scheduler" / "scheduler_config.json")
    for name, value in {**SCHEDULE, "prediction_type": PREDICTION}.items():
        if scheduler.get(name) != value:
            raise LdmError(
                f"the model in {folder} has {name} {scheduler.get(name)!r}; "
                f"this training teaches {value!r}",
                "start from a model that `ldm train` made, or from random weights",
            )
    if tokenizer is not None:
        from transformers import CLIPTokenizer

        if not (folder / "tokenizer").is_dir():
            raise LdmError(
                f"no tokenizer in {folder}, from whose weights this training is to start"
            )
        with reading(f"the tokenizer in {folder / 'tokenizer'}"):
            words = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        if words.get_vocab() != tokenizer.get_vocab():
            raise LdmError(
                f"the captions of this training have other words than those of {folder}",
                "start from a model that was trained on captions of the same words",
            )
    if fingerprint(folder, "vae") != fingerprint(autoencoder, "vae"):
        warnings.warn(
            f"the autoencoder in {autoencoder} is another one than that of {folder}: its latents "
            "are not those from which the weights learnt",
            LdmWarning,
            stacklevel=2,
        )


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise LdmError(
            f"no {file.parent.name} in {file.parent.parent}, from whose weights this training is "
            "to start",
            "name a model's folder that holds one, or leave it out to start from random weights",
        )
    return read_json(file)


def _config(network: Any) -> dict[str, Any]:
    """The network's config as its file would hold it."""
    from transformers import PreTrainedModel

    config = network.config.to_dict() if isinstance(network, PreTrainedModel) else network.config
    return dict(json.loads(json.dumps(dict(config))))
