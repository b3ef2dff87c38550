"""The commands ``ldm train autoencoder``, ``denoiser`` and ``transformer``; cheap to import."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ldm_pipelines.training.settings import (
    AutoencoderSettings,
    DenoiserSettings,
    TransformerSettings,
)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Have the output folder to this run, without what kills of earlier ones left there; of several
    processes the first holds it for all.

    Raises:
        LdmError: another run writes there.
    """
    from ldm_core.cli.choices import prepare_libraries
    from ldm_core.media.held import held
    from ldm_core.media.partial import sweep

    prepare_libraries()
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    with held(out):
        sweep(out)
        yield


def train_autoencoder(settings: AutoencoderSettings) -> None:
    """Train the autoencoder of a latent diffusion model; writes ``vae`` into the output folder.

    Runs on one CPU process, on several under torchrun, and on GPUs.

    Args:
        settings: What is trained, on what and how; see `AutoencoderSettings`.
    Raises:
        LdmError: Unusable data, a checkpoint of a run with other settings, or a damaged one, or
            another run in the output folder.
    """
    from ldm_pipelines.training import autoencoder

    with alone(settings.out):
        autoencoder.train_autoencoder(settings)


def train_denoiser(settings: DenoiserSettings) -> None:
    """Train text encoder and UNet; writes a Stable Diffusion folder, ``model``, into the output.

    Runs on one CPU process, on several under torchrun, and on GPUs.

    Args:
        settings: What is trained, on what and how; see `DenoiserSettings`.
    Raises:
        LdmError: Unusable data, a checkpoint of a run with other settings, or a damaged one, or
            another run in the output folder.
    """
    from ldm_pipelines.training import denoiser

    with alone(settings.out):
        denoiser.train_denoiser(settings)


def train_transformer(settings: TransformerSettings) -> None:
    """Train a diffusion transformer on classes; writes a DiT folder, ``model``, into the output.

    Runs on one CPU process, on several under torchrun, and on GPUs.

    Args:
        settings: What is trained, on what and how; see `TransformerSettings`.
    Raises:
        LdmError: Unusable data, a checkpoint of a run with other settings, or a damaged one, or
            another run in the output folder.
    """
    from ldm_pipelines.training import transformer

    with alone(settings.out):
        transformer.train_transformer(settings)
