"""Sana."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ldm_core.contracts import Call, Model, ModelInfo, Part, Place
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.language_model import LanguageModel, LanguageModelText

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 300  # tokens that the network takes
INSTRUCTION = """\
Given a user prompt, generate an 'Enhanced prompt' that provides detailed visual descriptions \
suitable for image generation. Evaluate the level of detail in the user prompt:
- If the prompt is simple, focus on adding specifics about colors, shapes, sizes, textures, and \
spatial relationships to create vivid and concrete scenes.
- If the prompt is already detailed, refine and enhance the existing details slightly without \
overcomplicating.
Here are examples of how to transform or refine prompts:
- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat curled up in a round shape, \
sleeping peacefully on a warm sunny windowsill, surrounded by pots of blooming red flowers.
- User Prompt: A busy city street -> Enhanced: A bustling city street scene at dusk, featuring \
glowing street lamps, a diverse crowd of people in colorful clothing, and a double-decker bus \
passing by towering glass skyscrapers.
Please generate only the enhanced description for the prompt below and avoid including any \
additional commentary or evaluations:
User Prompt: """
"""What the text encoder reads before a prompt, so that it thinks of more than it says (Xie et al.
2024, arXiv:2410.10629, Section 2.3); before none that guidance leads away from. The network is
told none of it."""


class Sana(DiffusersFolder):
    """Text-to-image with a transformer of linear attention on strongly compressed latents, which
    reads Gemma 2 (Xie et al. 2024, arXiv:2410.10629): folders of SanaPipeline.

    A folder draws pictures of the size that its network was trained on, and of any other without
    a detour by the nearest of a list of sizes.
    """

    pipelines = ("SanaPipeline",)
    components: ClassVar = {
        "transformer": Component(("SanaTransformer2DModel",), "network"),
        "vae": Component(("AutoencoderDC",), "autoencoder"),
        "text_encoder": Component(("Gemma2Model",), "text"),
        "tokenizer": Component(("GemmaTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels = transformer.get("in_channels", 32)
        folder.check_channels(channels)
        if transformer.get("guidance_embeds", False):
            raise folder.error(
                "the network is one of few steps, distilled to take its guidance as a number "
                "(guidance_embeds), which is not known here.",
                "models of SanaPipeline without it are.",
            )
        width = folder.config("text_encoder").get("hidden_size", 2304)
        folder.check_width(transformer.get("caption_channels", 2304), width, "Gemma 2")
        return folder.info(
            "sana",
            read_flow_scheduler(folder.scheduler),
            channels=channels,
            sample=sample_size(transformer, 32),
            patch=transformer.get("patch_size", 1),
            steps=20,
            guidance={"name": "classifier_free", "scale": 4.5},
            abilities=["text"],
            needs=frozenset({"text"}),
            conditioning=["text"],
            learned_variance=folder.learns_variance(
                channels, transformer.get("out_channels", 32) or channels
            ),
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        scale = transformer.module.config.timestep_scale

        def network(call: Call) -> Tensor:
            output: Tensor = transformer.module(
                call.x.to(device, dtype),
                encoder_hidden_states=call.condition["text"].to(device, dtype),
                encoder_attention_mask=call.condition["text_mask"].to(device),
                timestep=call.t.to(device) * scale,
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        encoder, tokenizer = parts["text_encoder"], parts["tokenizer"].module
        # The instruction's tokens and the prompt's window, of which the first token is the same.
        read = len(tokenizer.encode(INSTRUCTION)) + WINDOW - 2
        instructed = LanguageModel(
            encoder,
            tokenizer,
            read,
            template=lambda text: f"{INSTRUCTION}{text}",
            last=True,
            kept=WINDOW,
        )
        negative = LanguageModel(encoder, tokenizer, WINDOW, last=True)
        text = LanguageModelText(instructed, device, negative, plain=_plain)
        return Model(info, network, {"text": text}, parts, place)


def _plain(text: str) -> str:
    return text.lower().strip()
