"""What this package offers: models that ship, ready-made pipelines, and commands that train."""

from __future__ import annotations

from pathlib import Path

from ldm_core.plugins.hookspecs import Register, RegisterModel, hookimpl

ldm_api = ">=2,<3"

PIPELINES = (
    "audio-to-audio",
    "augment",
    "blend",
    "class-to-image",
    "features",
    "image-to-image",
    "image-to-video",
    "inpaint",
    "interpolate",
    "invert",
    "outpaint",
    "restore",
    "text-to-audio",
    "text-to-image",
    "text-to-video",
    "two-stages",
    "unconditional",
    "upscale",
    "video-to-video",
)


@hookimpl
def ldm_models(register: RegisterModel) -> None:
    models = Path(__file__).parent / "models"
    register("digits", models / "digits", "handwritten digits by class, 32x32")
    register(
        "moving-shapes", models / "moving-shapes", "text to 8 frames of one moving shape, 64x64"
    )
    register("shapes", models / "shapes", "text to 64x64 pictures of one coloured shape")
    register("tones", models / "tones", "text to a second of tones, beeps or noise, 8 kHz")


@hookimpl
def ldm_commands(register: Register) -> None:
    for name in PIPELINES:
        function = name.replace("-", "_")
        register(name, f"ldm_pipelines.{function}:{function}")
    register("ui", "ldm_pipelines.page.command:ui")
    register("evaluate", "ldm_pipelines.evaluating.command:evaluate_command")
    register("compare", "ldm_pipelines.comparing.command:compare")
    register("converge", "ldm_pipelines.convergence.command:converge")
    register("train autoencoder", "ldm_pipelines.training.commands:train_autoencoder")
    register("train denoiser", "ldm_pipelines.training.commands:train_denoiser")
    register("train transformer", "ldm_pipelines.training.commands:train_transformer")
