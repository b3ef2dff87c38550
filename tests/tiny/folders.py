"""One folder of each kind that a family knows, with what a person asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tiny.ddpm import write_ddpm
from tiny.dit import write_dit
from tiny.flux import write_flux
from tiny.latent_diffusion import write_latent_diffusion
from tiny.latent_diffusion_text import write_latent_diffusion_text
from tiny.pixart import write_pixart
from tiny.stable_diffusion import write_stable_diffusion
from tiny.stable_diffusion_3 import write_stable_diffusion_3
from tiny.stable_diffusion_xl import write_stable_diffusion_xl

TEXT = {"prompt": ["a red star", "a blue circle"]}


@dataclass(frozen=True)
class Kind:
    """How a folder is written, and the inputs of two images."""

    write: Callable[[Path], Path]
    inputs: dict[str, Any] = field(default_factory=dict)
    painted: bool = False

    def inputs_in(self, folder: Path) -> dict[str, Any]:
        """The inputs, with a picture and a mask written into the folder where they are needed."""
        if not self.painted:
            return self.inputs
        from PIL import Image

        Image.new("RGB", (16, 16), "red").save(folder / "image.png")
        mask = Image.new("L", (16, 16))
        mask.paste(255, (4, 4, 12, 12))
        mask.save(folder / "mask.png")
        files = {name: str(folder / f"{name}.png") for name in ("image", "mask")}
        return {**self.inputs, **files}


FOLDERS = {
    "Stable Diffusion": Kind(write_stable_diffusion, TEXT),
    "SD v-prediction": Kind(
        partial(write_stable_diffusion, scheduler={"prediction_type": "v_prediction"}), TEXT
    ),
    "SD inpainting": Kind(
        partial(write_stable_diffusion, pipeline="StableDiffusionInpaintPipeline", in_channels=9),
        TEXT,
        painted=True,
    ),
    "LCM": Kind(
        partial(
            write_stable_diffusion,
            pipeline="LatentConsistencyModelPipeline",
            scheduler={"_class_name": "LCMScheduler"},
            time_cond_proj_dim=32,
        ),
        TEXT,
    ),
    "SDXL": Kind(write_stable_diffusion_xl, TEXT),
    "SDXL refiner": Kind(
        partial(
            write_stable_diffusion_xl, pipeline="StableDiffusionXLImg2ImgPipeline", refiner=True
        ),
        TEXT,
    ),
    "LDM": Kind(write_latent_diffusion),
    "LDM text": Kind(write_latent_diffusion_text, TEXT),
    "DiT": Kind(write_dit, {"class_label": [3, 7]}),
    "PixArt alpha": Kind(write_pixart, TEXT),
    "PixArt sigma": Kind(partial(write_pixart, pipeline="PixArtSigmaPipeline"), TEXT),
    "SD 3": Kind(write_stable_diffusion_3, TEXT),
    "Flux dev": Kind(write_flux, {**TEXT, "width": 64, "height": 64}),
    "Flux schnell": Kind(partial(write_flux, guided=False), {**TEXT, "width": 64, "height": 64}),
    "DDPM": Kind(write_ddpm),
}
