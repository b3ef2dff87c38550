"""Qwen-Image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Model, ModelInfo, Network, Part, Place
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.flux_tokens import pack, unpack
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.qwen_text import QWEN_IMAGE, QwenText, text_config
from ldm_plugins.families.shared.rotary import check_axes

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 2  # the network takes one token for 2x2 latent pixels
LATENT_SIZE = 128  # of a square picture of the trained size; the folder does not say it
LAST_TOKEN = {"logits_to_keep": 1}
"""Of the words that the text encoder would say next, which nobody reads, no more than one."""


class QwenImage(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer that reads a language model (Wu et al. 2025,
    arXiv:2508.02324): folders of QwenImagePipeline and of its classes for other tasks."""

    pipelines: ClassVar[tuple[str, ...]] = (
        "QwenImagePipeline",
        "QwenImageImg2ImgPipeline",
        "QwenImageInpaintPipeline",
        "QwenImageModularPipeline",
    )
    components: ClassVar = {
        "transformer": Component(("QwenImageTransformer2DModel",), "network"),
        "vae": Component(("AutoencoderKLQwenImage",), "autoencoder"),
        "text_encoder": Component(("Qwen2_5_VLForConditionalGeneration",), "text"),
        "tokenizer": Component(("Qwen2Tokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        check_network(folder, transformer)
        return folder.info(
            "qwen_image",
            read_flow_scheduler(folder.scheduler, base="trailing", patch=PATCH),
            channels=folder.latent_channels,
            sample=(LATENT_SIZE, LATENT_SIZE),
            patch=PATCH,
            steps=50,
            guidance={"name": "renormed", "scale": 4.0},
            abilities=["text"],
            needs=frozenset({"text"}),
            conditioning=["text"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        transformer = parts["transformer"]
        text = QwenText(
            parts["text_encoder"],
            parts["tokenizer"].module,
            QWEN_IMAGE,
            transformer.device,
            options=LAST_TOKEN,
        )
        return Model(info, network_of(transformer), {"text": text}, parts, place)


def check_network(folder: Folder, transformer: Mapping[str, Any]) -> None:
    """See that the network takes what the autoencoder and the text encoder give.

    Args:
        transformer: its config.
    Raises:
        LdmError: it does not.
    """
    takes, channels = transformer.get("in_channels", 64), folder.latent_channels
    returns = PATCH**2 * (transformer.get("out_channels", 16) or takes)
    if takes != channels * PATCH**2 or returns != takes:
        raise folder.error(
            f"the network takes {takes} channels a token and returns {returns}, and 2x2 pixels of "
            f"the autoencoder's {channels} channels make {channels * PATCH**2}."
        )
    gives = text_config(folder, "text_encoder").get("hidden_size", 8192)
    folder.check_width(transformer.get("joint_attention_dim", 3584), gives)
    check_axes(folder, (16, 56, 56))
    for setting, kind in {
        "guidance_embeds": "one distilled to take its guidance as a number",
        "use_layer3d_rope": "one for pictures in layers",
        "use_additional_t_cond": "one for pictures in layers",
    }.items():
        if transformer.get(setting, False):
            raise folder.error(
                f"the network is {kind} ({setting}), which is not known here.",
                "models of QwenImagePipeline and QwenImageEditPipeline are.",
            )


def network_of(transformer: Part) -> Network:
    """What answers a call, by a QwenImageTransformer2DModel; pictures that it sees beside x are
    the conditions `reference_key`."""
    import torch

    device, dtype = transformer.device, transformer.dtype

    def network(call: Call) -> Tensor:
        pictures = [call.x]
        while (key := reference_key(len(pictures))) in call.condition:
            pictures.append(call.condition[key])
        shapes = [(1, p.shape[-2] // PATCH, p.shape[-1] // PATCH) for p in pictures]
        output: Tensor = transformer.module(
            hidden_states=torch.cat([pack(p).to(device, dtype) for p in pictures], dim=1),
            timestep=network_times(call, device),
            encoder_hidden_states=call.condition["text"].to(device, dtype),
            img_shapes=[shapes] * len(call.x),
            return_dict=False,
        )[0]
        _, rows, columns = shapes[0]
        own = output[:, : rows * columns].to(call.x.device, torch.float32)
        return unpack(own, rows, columns)

    return network


def reference_key(number: int) -> str:
    """The condition that is the latents (rows, channels, height, width) of a picture that the
    network sees, the first being 1."""
    return f"reference_{number}"
