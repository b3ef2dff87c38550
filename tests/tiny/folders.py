"""One folder of each kind that a family knows, with what a person asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tiny.ace_step import write_ace_step
from tiny.animatediff import write_animatediff
from tiny.audioldm_2 import write_audioldm_2
from tiny.aura_flow import write_aura_flow
from tiny.chroma import write_chroma
from tiny.cogvideox import write_cogvideox
from tiny.cogview_4 import write_cogview_4
from tiny.ddpm import write_ddpm
from tiny.dit import write_dit
from tiny.flux import write_flux
from tiny.flux_2 import write_flux_2
from tiny.hidream import write_hidream
from tiny.hunyuan_video import write_hunyuan_video
from tiny.kolors import write_kolors
from tiny.krea_2 import write_krea_2
from tiny.latent_diffusion import write_latent_diffusion
from tiny.latent_diffusion_text import write_latent_diffusion_text
from tiny.ltx_2 import write_ltx_2
from tiny.ltx_video import write_ltx_video
from tiny.lumina_2 import write_lumina_2
from tiny.pixart import write_pixart
from tiny.qwen_image import write_qwen_image, write_qwen_image_edit
from tiny.sana import write_sana
from tiny.stable_audio import write_stable_audio
from tiny.stable_audio_3 import write_stable_audio_3
from tiny.stable_cascade import write_embeddings, write_stable_cascade
from tiny.stable_diffusion import write_stable_diffusion
from tiny.stable_diffusion_3 import write_stable_diffusion_3
from tiny.stable_diffusion_xl import write_stable_diffusion_xl
from tiny.stable_video_diffusion import write_stable_video_diffusion
from tiny.unclip import write_stable_unclip, write_unclip
from tiny.upscale import write_latent_upscale, write_stable_diffusion_upscale
from tiny.wan import write_wan
from tiny.z_image import write_z_image

TEXT = {"prompt": ["a red star", "a blue circle"]}
SMALL = {"width": 64, "height": 64}


@dataclass(frozen=True)
class Kind:
    """How a folder is written, and the inputs of two images.

    Attributes:
        painted: they need a picture and a mask.
        shown: the input that takes a picture, where they need one.
        embedded: they need embeddings of a picture, of a file.
        smaller: how many times fewer pixels a side it has than what is drawn.
    """

    write: Callable[[Path], Path]
    inputs: dict[str, Any] = field(default_factory=dict)
    painted: bool = False
    shown: str = ""
    smaller: int = 1
    embedded: bool = False

    @property
    def size(self) -> dict[str, int]:
        """Height and width of a picture that is quickly drawn, where its own are large."""
        return {side: self.inputs[side] for side in ("height", "width") if side in self.inputs}

    def inputs_in(self, folder: Path) -> dict[str, Any]:
        """The inputs, with the pictures that are needed, written into the folder."""
        if self.embedded:
            file = folder / "embeddings.safetensors"
            sides = {side: self.inputs[side] for side in ("height", "width")}
            return {**self.inputs, "image_embeddings": str(write_embeddings(file, **sides))}
        if self.shown:
            from PIL import Image

            file = folder / f"{self.shown}.png"
            sides = (self.inputs[side] // self.smaller for side in ("width", "height"))
            Image.new("RGB", tuple(sides), "red").save(file)
            return {**self.inputs, self.shown: str(file)}
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

VIDEO = {**TEXT, "frames": 5, "width": 32, "height": 16}
FRAMED = "WanImageToVideoPipeline"

MORE_FOLDERS = {
    "Chroma": Kind(write_chroma, {**TEXT, **SMALL}),
    "Flux Kontext": Kind(
        partial(write_flux, pipeline="FluxKontextPipeline"),
        {**TEXT, **SMALL},
    ),
    "Flux Fill": Kind(
        partial(write_flux, pipeline="FluxFillPipeline"),
        {**TEXT, "width": 16, "height": 16},
        painted=True,
    ),
    "Flux Control": Kind(
        partial(write_flux, pipeline="FluxControlPipeline"),
        {**TEXT, "width": 16, "height": 16},
        shown="control_image",
    ),
    "FLUX.2 dev": Kind(partial(write_flux_2, pipeline="Flux2Pipeline"), {**TEXT, **SMALL}),
    "FLUX.2 klein": Kind(write_flux_2, {**TEXT, **SMALL}),
    "Qwen-Image": Kind(write_qwen_image, {**TEXT, "width": 32, "height": 32}),
    "Qwen-Image-Edit": Kind(
        partial(write_qwen_image_edit, levels=5), {**TEXT, **SMALL}, shown="reference"
    ),
    "Qwen-Image-Edit Plus": Kind(
        partial(write_qwen_image_edit, pipeline="QwenImageEditPlusPipeline", levels=5),
        {**TEXT, **SMALL},
        shown="reference",
    ),
    "Krea 2": Kind(write_krea_2, {**TEXT, "width": 32, "height": 32}),
    "Krea 2 Turbo": Kind(partial(write_krea_2, turbo=True), {**TEXT, "width": 32, "height": 32}),
    "Wan 2.1": Kind(write_wan, VIDEO),
    "Wan 2.1 from a frame": Kind(
        partial(write_wan, pipeline=FRAMED, shown="first"), VIDEO, shown="first_frame"
    ),
    "Wan 2.2": Kind(partial(write_wan, two=True), VIDEO),
    "Wan 2.2 from a frame": Kind(
        partial(write_wan, pipeline=FRAMED, shown="channels", two=True), VIDEO, shown="first_frame"
    ),
    "Wan 2.2 5B": Kind(partial(write_wan, tokenwise=True), {**VIDEO, "height": 32}),
    "CogVideoX": Kind(write_cogvideox, VIDEO),
    "CogVideoX from a frame": Kind(
        partial(write_cogvideox, pipeline="CogVideoXImageToVideoPipeline", rotary=True),
        VIDEO,
        shown="first_frame",
    ),
    "CogVideoX 1.5": Kind(
        partial(write_cogvideox, rotary=True, patch_size_t=2), {**VIDEO, "frames": 9}
    ),
    "HunyuanVideo": Kind(write_hunyuan_video, VIDEO),
    "LTX-Video": Kind(write_ltx_video, VIDEO),
    "LTX-Video from a frame": Kind(
        partial(write_ltx_video, pipeline="LTXImageToVideoPipeline"), VIDEO, shown="first_frame"
    ),
    "LTX-2": Kind(write_ltx_2, VIDEO),
    "AnimateDiff": Kind(write_animatediff, VIDEO),
    "Stable Video Diffusion": Kind(
        write_stable_video_diffusion, {"frames": 3, "width": 32, "height": 16}, shown="first_frame"
    ),
    "Z-Image": Kind(write_z_image, {**TEXT, "width": 24, "height": 16}),
    "Kolors": Kind(write_kolors, TEXT),
    "Lumina 2": Kind(write_lumina_2, TEXT),
    "Sana": Kind(write_sana, TEXT),
    "AuraFlow": Kind(write_aura_flow, {**TEXT, "width": 24, "height": 16}),
    "CogView 4": Kind(write_cogview_4, TEXT),
    "ACE-Step": Kind(write_ace_step, {**TEXT, "samples": 64}),
    "AudioLDM 2": Kind(write_audioldm_2, {**TEXT, "samples": 64}),
    "Stable Audio": Kind(write_stable_audio, {**TEXT, "samples": 64}),
    "Stable Audio 3": Kind(write_stable_audio_3, {**TEXT, "samples": 64}),
    "HiDream": Kind(write_hidream, {**TEXT, "width": 16, "height": 16}),
    "Stable Cascade": Kind(
        write_stable_cascade, {**TEXT, "width": 48, "height": 32}, embedded=True
    ),
    "unCLIP": Kind(write_unclip, TEXT),
    "unCLIP of a picture": Kind(
        partial(write_unclip, variation=True),
        {**TEXT, "width": 32, "height": 32},
        shown="prompt_image",
    ),
    "Stable unCLIP": Kind(
        write_stable_unclip, {**TEXT, "width": 16, "height": 16}, shown="prompt_image"
    ),
    "SD upscaler": Kind(
        write_stable_diffusion_upscale,
        {**TEXT, "width": 32, "height": 32},
        shown="low_resolution",
        smaller=4,
    ),
    "SD latent upscaler": Kind(
        write_latent_upscale,
        {**TEXT, "width": 64, "height": 32},
        shown="low_resolution",
        smaller=2,
    ),
}
"""Further ones, for the loops that run at night."""

OTHER_FOLDERS = {
    "LTX-Video 0.9.5": Kind(
        partial(
            write_ltx_video,
            pipeline="LTXConditionPipeline",
            scheduler={"shift": 1.0, "use_dynamic_shifting": False},
        ),
        VIDEO,
    ),
    "Stable unCLIP of text": Kind(
        partial(write_stable_unclip, prior=True), {**TEXT, "width": 16, "height": 16}
    ),
}
"""Kinds of the networks of some above, for the loops over what families draw."""
