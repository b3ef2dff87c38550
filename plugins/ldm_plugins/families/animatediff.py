"""AnimateDiff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Family, LatentSpace, Model, ModelInfo, Part, PartInfo, Place
from ldm_core.contracts.latents import Axis
from ldm_plugins.families.shared.clip_text import ClipText
from ldm_plugins.families.shared.component import Component, read_part
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.image_prompts import ImagePrompts
from ldm_plugins.families.shared.motion_adapter import (
    ADAPTER,
    check_adapter,
    check_place,
    is_adapted,
    with_motion,
)
from ldm_plugins.families.shared.scheduler_config import read_scheduler
from ldm_plugins.families.shared.seen_pictures import seen

if TYPE_CHECKING:
    from torch import Tensor

FRAMES = 16
RATE = 8.0
CODEC = "autoencoder_kl_by_frame"
ANIMATED = "UNetMotionModel"


class AnimateDiff(DiffusersFolder):
    """Text-to-video with Stable Diffusion's UNet between whose layers others attend along the
    frames (Guo et al. 2023, arXiv:2307.04725): folders of AnimateDiffPipeline, which Diffusers
    saves of a Stable Diffusion folder and a motion adapter, or these two as they are, the adapter
    named as a component: ``components = { motion_adapter = FOLDER }``."""

    pipelines = ("AnimateDiffPipeline", "AnimateDiffVideoToVideoPipeline")
    components: ClassVar = {
        "unet": Component((ANIMATED,), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("CLIPTextModel",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
    }

    def matches(self, index: Mapping[str, Any]) -> bool:
        return super().matches(index) or is_adapted(index)

    def of_components(self, components: Mapping[str, Path]) -> Family | None:
        return AnimatedStableDiffusion(components[ADAPTER]) if {*components} == {ADAPTER} else None

    def motion(self, folder: Folder) -> Mapping[str, Any]:
        """The config that says how many frames the network's layers see."""
        return folder.config("unet")

    def describe(self, folder: Folder) -> ModelInfo:
        unet = folder.config("unet")
        channels = unet.get("in_channels", 4)
        folder.check_channels(channels)
        text = folder.config("text_encoder").get("hidden_size", 512)
        folder.check_width(unet.get("cross_attention_dim", 1280), text)
        for key in ("time_cond_proj_dim", "addition_embed_type"):
            if unet.get(key) is not None:
                raise folder.error(
                    f"the network's {key} is {unet[key]!r}; only networks made of Stable Diffusion "
                    "1 and 2 are known, which have none."
                )
        side, most = folder.factor, self.motion(folder).get("motion_max_seq_length", 32)
        frames = Axis("frames", 1, most=most)
        info = folder.info(
            "animatediff",
            read_scheduler(folder.scheduler),
            channels=channels,
            sample=(min(FRAMES, most), *sample_size(unet, 64)),
            latents=LatentSpace(channels, (frames, Axis("height", side), Axis("width", side))),
            steps=50,
            guidance={"name": "classifier_free", "scale": 7.5},
            abilities=["text", "image_prompt", "clip_skip"],
            needs=frozenset({"text"}),
            conditioning=["text"],
            rate=RATE,
        )
        return replace(info, defaults={**info.defaults, "encoder": CODEC, "decoder": CODEC})

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        unet = parts["unet"]

        def network(call: Call) -> Tensor:
            text = call.condition["text"].to(unet.device, unet.dtype)
            frames = call.x.shape[2]
            embeds = seen(call.condition, "image_embeds", unet)
            masks = [
                mask.repeat_interleave(frames, dim=0)
                for mask in seen(call.condition, "image_masks", unet)
            ]
            output: Tensor = unet.module(
                call.x.to(unet.device, unet.dtype),
                call.t.to(unet.device),
                encoder_hidden_states=text.repeat_interleave(frames, dim=0),
                added_cond_kwargs={"image_embeds": embeds} if embeds else None,
                cross_attention_kwargs={"ip_adapter_masks": masks} if masks else None,
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        text = ClipText(parts["text_encoder"], parts["tokenizer"].module, unet.device)
        abilities = {"text": text, "image_prompt": ImagePrompts(place, unet.device)}
        return Model(info, network, abilities, parts, place)


class AnimatedStableDiffusion(AnimateDiff):
    """A Stable Diffusion folder and a motion adapter's.

    Args:
        adapter: the latter.
    """

    components: ClassVar = {
        **AnimateDiff.components,
        "unet": Component(("UNet2DConditionModel",), "network"),
    }

    def __init__(self, adapter: Path) -> None:
        self._adapter = adapter

    def motion(self, folder: Folder) -> Mapping[str, Any]:
        return check_adapter(self._adapter, folder)

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        info = super().inspect(source, folder, index)
        parts = [replace(p, cls=ANIMATED) if p.role == "network" else p for p in info.parts]
        return replace(info, parts=tuple(parts))

    def load(self, info: ModelInfo, place: Place) -> Model:
        check_place(place)
        return super().load(info, place)

    def prepare(self, name: str, part: Part, place: Place) -> Part:
        if name != "unet":
            return part
        about = PartInfo("unet", "MotionAdapter", "network")
        adapter = read_part(self._adapter, about, place)
        return replace(part, module=with_motion(part, adapter))
