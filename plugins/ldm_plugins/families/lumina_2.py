"""Lumina-Image 2.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ldm_core.contracts import Call, Model, ModelInfo, Part, Place
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.language_model import LanguageModel, LanguageModelText
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.rotary import check_axes
from ldm_plugins.families.shared.shapes_alone import as_much_as_can_be

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 256  # tokens of a caption, the instruction with them
INSTRUCTION = (
    "You are an assistant designed to generate superior images with the superior degree of "
    "image-text alignment based on textual prompts or user prompts. <Prompt Start> "
)
"""Before every prompt, and before none that guidance leads away from."""


class Lumina2(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer that reads Gemma 2's hidden states in the
    same stream as the picture (Qin et al. 2025, arXiv:2503.21758): folders of Lumina2Pipeline."""

    pipelines = ("Lumina2Pipeline", "Lumina2Text2ImgPipeline")
    components: ClassVar = {
        "transformer": Component(("Lumina2Transformer2DModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("Gemma2Model",), "text"),
        "tokenizer": Component(("GemmaTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels, patch = transformer.get("in_channels", 16), transformer.get("patch_size", 2)
        folder.check_channels(channels)
        width = folder.config("text_encoder").get("hidden_size", 2304)
        folder.check_width(transformer.get("cap_feat_dim", 1024), width, "Gemma 2")
        head = transformer.get("hidden_size", 2304) // transformer.get("num_attention_heads", 24)
        check_axes(folder, (32, 32, 32), key="axes_dim_rope", head=head)
        words, *sides = transformer.get("axes_lens", (300, 512, 512))
        if len(sides) != 2 or words <= WINDOW:
            raise folder.error(
                f"the network's axes_lens should be more than {WINDOW} places of a caption, rows "
                f"and columns, not {[words, *sides]}."
            )
        return folder.info(
            "lumina_2",
            read_flow_scheduler(folder.scheduler, base="trailing", patch=patch),
            channels=channels,
            sample=sample_size(transformer, 128),
            patch=patch,
            most=patch * min(sides),
            steps=30,
            guidance={"name": "renormed", "scale": 4.0, "over": "line"},
            abilities=["text"],
            needs=frozenset({"text"}),
            conditioning=["text"],
            data_dependent=True,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        trained = info.scheduler_config.get("num_train_timesteps", 1000)

        def network(call: Call) -> Tensor:
            mask = call.condition["text_mask"].to(device)
            words = {torch.Tensor.tolist: lambda counts: [mask.shape[1]] * len(counts)}
            with as_much_as_can_be(mask, words):
                output: Tensor = transformer.module(
                    hidden_states=call.x.to(device, dtype),
                    timestep=1 - network_times(call, device, trained),
                    encoder_hidden_states=call.condition["text"].to(device, dtype),
                    encoder_attention_mask=mask,
                    return_dict=False,
                )[0]
            # time runs from noise to picture, and so does the velocity
            return -output.to(call.x.device, torch.float32)

        encoder, tokenizer = parts["text_encoder"], parts["tokenizer"].module
        instructed = LanguageModel(
            encoder, tokenizer, WINDOW, template=lambda text: f"{INSTRUCTION}{text}"
        )
        text = LanguageModelText(instructed, device, LanguageModel(encoder, tokenizer, WINDOW))
        return Model(info, network, {"text": text}, parts, place)
