"""What this package offers: the models that ship, and the commands that train."""

from __future__ import annotations

from pathlib import Path

from ldm_core.hookspecs import Register, RegisterModel, hookimpl

ldm_api_version = 1


@hookimpl
def ldm_models(register: RegisterModel) -> None:
    models = Path(__file__).parent / "models"
    register("shapes", models / "shapes", "text to 64x64 pictures of one coloured shape")


@hookimpl
def ldm_commands(register: Register) -> None:
    register("train autoencoder", "ldm_pipelines.training.commands:train_autoencoder")
    register("train denoiser", "ldm_pipelines.training.commands:train_denoiser")
