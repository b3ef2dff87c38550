"""The commands ``ldm train autoencoder``, ``denoiser`` and ``transformer``; cheap to import."""

from __future__ import annotations

from ldm_pipelines.training.settings import (
    AutoencoderSettings,
    DenoiserSettings,
    TransformerSettings,
)


def train_autoencoder(settings: AutoencoderSettings) -> None:
    """Train the autoencoder of a latent diffusion model; writes ``vae`` into the output folder.

    Runs on one CPU process, on several under torchrun, and on GPUs.

    Args:
        settings: What is trained, on what and how; see `AutoencoderSettings`.
    Raises:
        LdmError: Unusable data, or a checkpoint of a run with other settings.
    """
    from ldm_pipelines.training import autoencoder

    autoencoder.train_autoencoder(settings)


def train_denoiser(settings: DenoiserSettings) -> None:
    """Train text encoder and UNet; writes a Stable Diffusion folder, ``model``, into the output.

    Runs on one CPU process, on several under torchrun, and on GPUs.

    Args:
        settings: What is trained, on what and how; see `DenoiserSettings`.
    Raises:
        LdmError: Unusable data, or a checkpoint of a run with other settings.
    """
    from ldm_pipelines.training import denoiser

    denoiser.train_denoiser(settings)


def train_transformer(settings: TransformerSettings) -> None:
    """Train a diffusion transformer on classes; writes a DiT folder, ``model``, into the output.

    Runs on one CPU process, on several under torchrun, and on GPUs.

    Args:
        settings: What is trained, on what and how; see `TransformerSettings`.
    Raises:
        LdmError: Unusable data, or a checkpoint of a run with other settings.
    """
    from ldm_pipelines.training import transformer

    transformer.train_transformer(settings)
