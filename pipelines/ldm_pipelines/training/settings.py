"""The settings of the three trainings, checked where they are made; cheap to import."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from ldm_core.errors import LdmError
from ldm_pipelines.training.folder import fingerprint

MAY_CHANGE = frozenset(
    {
        *("out", "autoencoder", "resume", "overwrite", "checkpoint_seconds", "num_workers"),
        *("quiet", "json"),
    }
)
"""Where files lie, when they are written, who draws and what is said; a run may continue with
others."""
MOST_STEPS = 100_000_000
"""Updates of a run: about a hundred times as many as large models were trained for."""


def _expanded(path: Path) -> Path:
    from ldm_core.contracts.files import to_read  # which brings NumPy

    return to_read(path)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What every training takes; those below add what is theirs, and the defaults.

    Args:
        out: Output folder; holds the checkpoint too.
        seed: Seed of weights, data and noise.
        resume: Continue from the checkpoint in the output folder.
        overwrite: Replace a model in the output folder that no run with a checkpoint there made.
        checkpoint_seconds: Time between checkpoints.
        from_model: Folder of a model whose weights the run starts from; random ones otherwise.
        quiet: Do not say how far the run is.
        json: Print how far it is, and what it wrote, as JSON objects on the standard output.
    Raises:
        LdmError: a value that no run can have.
    """

    result: ClassVar[str] = "model"
    """The folder in the output folder that the run writes."""

    data: str
    out: Path
    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    mixed_precision: str
    seed: int = 0
    resume: bool = True
    overwrite: bool = False
    checkpoint_seconds: float = 120.0
    from_model: Path | None = None
    quiet: bool = False
    json: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", _expanded(self.out))
        if self.from_model is not None:
            object.__setattr__(self, "from_model", _expanded(self.from_model))
        *names, last = self.sizes()
        for name, size in self.sizes().items():
            if size < 1:
                raise LdmError(
                    f"{', '.join(names)} and {last} must be at least 1", f"{name} is {size}"
                )
        if self.mixed_precision not in ("no", "bf16"):
            raise LdmError(f"mixed_precision must be 'no' or 'bf16', not {self.mixed_precision!r}")
        if self.learning_rate < 0:
            raise LdmError(f"learning_rate must not be negative, as {self.learning_rate} is")
        if self.seed < 0:
            raise LdmError(f"seed must not be negative, as {self.seed} is")
        if self.steps > MOST_STEPS:
            raise LdmError(f"steps must be at most {MOST_STEPS:,}, not {self.steps}")

    def check_free(self) -> None:
        """See that what is trained takes the place of nothing but an earlier state of its run.

        Raises:
            LdmError: there is a model that the run did not make.
        """
        place, checkpoint = self.out / self.result, self.out / "checkpoint"
        own = checkpoint.exists() or checkpoint.with_name("checkpoint.old").exists()
        if os.path.lexists(place) and not (own or self.overwrite):
            raise LdmError(
                f"'{place}' is there already, without the checkpoint of a run that made it, and is "
                "not overwritten.",
                "give another output folder; --overwrite, in Python overwrite=True, replaces it.",
            )

    def sizes(self) -> dict[str, int]:
        """Those that must be at least 1, by name."""
        return {"steps": self.steps, "batch_size": self.batch_size}

    def course(self, processes: int) -> dict[str, Any]:
        """What the course of a run on so many processes depends on, as a checkpoint keeps it."""
        values = {name: v for name, v in asdict(self).items() if name not in MAY_CHANGE}
        start = values.pop("from_model")
        # None where there is none, as it is for a checkpoint that does not know the entry.
        values["weights_at_the_start"] = None if start is None else fingerprint(start)
        return values | {"processes": processes}


@dataclass(frozen=True, kw_only=True)
class PictureSettings(TrainingSettings):
    """What a training on pictures takes.

    Args:
        resolution: Side of the training pictures in pixels.
    """

    resolution: int

    def __post_init__(self) -> None:
        super().__post_init__()
        from ldm_core.composition.limits import check_held  # which brings NumPy

        side = self.resolution
        check_held(f"a batch of {self.batch_size} at {side} pixels", self.batch_size * side**2 * 3)


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(PictureSettings):
    """What the autoencoder's training takes.

    Args:
        data: "shapes" for the drawn world, "digits" for handwritten ones, or a folder of images.
        resolution: Side of the training pictures in pixels.
        steps: Number of updates.
        crop_steps: Number of first updates that see 32 pixel crops instead of whole pictures.
        batch_size: Pictures per update and process.
        learning_rate: Peak learning rate.
        warmup: Number of updates over which the learning rate rises.
        kl_weight: Weight of the KL divergence.
        latent_channels: Channels of the latents.
        mixed_precision: "bf16" or "no".
        num_workers: Processes that draw pictures beside this one; 0 draws them in this one.
        decoder_only: Train the decoder of from_model alone; denoisers of its latents stay right.
    """

    result: ClassVar[str] = "vae"

    data: str = "shapes"
    resolution: int = 64
    steps: int = 5000
    crop_steps: int = 2500
    batch_size: int = 32
    learning_rate: float = 2e-3
    warmup: int = 100
    kl_weight: float = 5e-3
    latent_channels: int = 4
    mixed_precision: str = "bf16"
    num_workers: int = 0
    decoder_only: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_workers < 0:
            raise LdmError(f"num_workers must not be negative, as {self.num_workers} is")
        if self.decoder_only and self.from_model is None:
            raise LdmError(
                "decoder_only needs from_model, whose encoder stays as it is",
                "the encoder of a new autoencoder has learnt nothing yet.",
            )

    def sizes(self) -> dict[str, int]:
        return {**super().sizes(), "latent_channels": self.latent_channels}

    def course(self, processes: int) -> dict[str, Any]:
        # None where all is trained, as it is for a checkpoint that does not know the entry.
        return {**super().course(processes), "decoder_only": self.decoder_only or None}


@dataclass(frozen=True, kw_only=True)
class LatentSettings(PictureSettings):
    """What a training on latents takes.

    Args:
        autoencoder: Output folder of the autoencoder's training.
        learning_rate: Peak learning rate.
        warmup: Number of updates over which the learning rate rises.
        pool_size: Encoded pictures that a process keeps.
    """

    autoencoder: Path
    learning_rate: float = 1e-3
    warmup: int = 200
    pool_size: int = 4096
    pool_steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "autoencoder", _expanded(self.autoencoder))

    def sizes(self) -> dict[str, int]:
        return {**super().sizes(), "pool_size": self.pool_size, "pool_steps": self.pool_steps}


@dataclass(frozen=True, kw_only=True)
class DenoiserSettings(LatentSettings):
    """What the training of text encoder and UNet takes.

    Args:
        data: "shapes" for the drawn world, or a folder of images with metadata.jsonl.
        resolution: Side of the training pictures in pixels.
        steps: Number of updates.
        batch_size: Latents per update and process.
        max_tokens: Tokens of a caption, begin and end included.
        pool_steps: Number of updates after which the encoded pictures are drawn anew.
        mixed_precision: "bf16" or "no".
    """

    data: str = "shapes"
    resolution: int = 64
    steps: int = 11000
    batch_size: int = 64
    max_tokens: int = 20
    pool_steps: int = 1000
    mixed_precision: str = "bf16"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_tokens < 2:
            raise LdmError(f"max_tokens must be at least 2, begin and end, not {self.max_tokens}")


@dataclass(frozen=True, kw_only=True)
class TransformerSettings(LatentSettings):
    """What the training of the diffusion transformer takes.

    Args:
        data: "digits" for the handwritten ones, or a folder of images with metadata.jsonl, whose
            texts are the classes.
        resolution: Side of the training pictures in pixels.
        width: Width of the transformer's states.
        layers: Number of transformer blocks.
        steps: Number of updates.
        batch_size: Latents per update and process.
        ema_decay: Of the average of the weights that is written.
        pool_steps: Number of updates after which the encoded pictures are drawn anew.
        mixed_precision: "bf16" or "no".
    """

    data: str = "digits"
    resolution: int = 32
    width: int = 96
    layers: int = 6
    steps: int = 12000
    batch_size: int = 128
    ema_decay: float = 0.999
    pool_steps: int = 500
    mixed_precision: str = "no"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 4:
            raise LdmError(f"width must be a multiple of 4, its number of heads, not {self.width}")

    def sizes(self) -> dict[str, int]:
        return {**super().sizes(), "width": self.width, "layers": self.layers}
