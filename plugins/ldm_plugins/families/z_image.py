"""Z-Image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Model, ModelInfo, Part, Place
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.language_model import (
    LanguageModel,
    LanguageModelText,
    chat_template,
    check_chat_template,
)
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.rotary import check_axes
from ldm_plugins.families.shared.tokens import lengths

if TYPE_CHECKING:
    from torch import Tensor

PATCH, FRAMES = 2, 1  # of the patches that are asked for; a network may know others
LATENT_SIZE = 128  # of a square picture of the trained size; the folder does not say it
WINDOW = 512  # tokens of a caption, its template with them


class ZImage(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer that reads the caption's tokens in the same
    stream as the picture's, by Qwen3's hidden states (Tongyi-MAI 2025, arXiv:2511.22699): folders
    of ZImagePipeline, base and Turbo, and of its classes for other tasks.

    Captions are as long as they are; the network itself fills them up to whole 32 tokens. The
    folders of Turbo say nothing of its distillation: its authors take 9 steps without guidance.
    """

    pipelines = ("ZImagePipeline", "ZImageImg2ImgPipeline", "ZImageInpaintPipeline")
    components: ClassVar = {
        "transformer": Component(("ZImageTransformer2DModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("Qwen3Model", "Qwen3ForCausalLM"), "text"),
        "tokenizer": Component(("Qwen2Tokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels = transformer.get("in_channels", 16)
        folder.check_channels(channels)
        width = folder.config("text_encoder").get("hidden_size", 4096)
        folder.check_width(transformer.get("cap_feat_dim", 2560), width, "Qwen3")
        _check_shapes(folder, transformer)
        check_chat_template(folder.path / "tokenizer")
        return folder.info(
            "z_image",
            read_flow_scheduler(folder.scheduler, base="trailing", patch=PATCH),
            channels=channels,
            sample=(LATENT_SIZE, LATENT_SIZE),
            patch=PATCH,
            most=PATCH * min(transformer.get("axes_lens", (1024, 512, 512))[1:]),
            steps=50,
            guidance={"name": "classifier_free", "scale": 5.0, "from_positive": True},
            abilities=["text", "max_sequence_length"],
            needs=frozenset({"text"}),
            conditioning=["text"],
            data_dependent=True,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype

        def network(call: Call) -> Tensor:
            states, mask = call.condition["text"], call.condition["text_mask"]
            pairs = zip(states.to(device, dtype), lengths(mask), strict=True)
            outputs: list[Tensor] = transformer.module(
                [*call.x.to(device, dtype).unsqueeze(2)],  # each a video of a single frame
                1 - network_times(call, device),
                [caption[:length] for caption, length in pairs],
                patch_size=PATCH,
                f_patch_size=FRAMES,
                return_dict=False,
            )[0]
            # time runs from noise to picture, and so does the velocity
            return -torch.stack(outputs).squeeze(2).to(call.x.device, torch.float32)

        tokenizer = parts["tokenizer"].module
        model = LanguageModel(
            parts["text_encoder"], tokenizer, WINDOW, template=chat_template(tokenizer)
        )
        return Model(info, network, {"text": LanguageModelText(model, device)}, parts, place)


def _check_shapes(folder: Folder, transformer: Mapping[str, Any]) -> None:
    """See that the network takes our patches and captions."""
    sides = transformer.get("all_patch_size", (2,)), transformer.get("all_f_patch_size", (1,))
    if (PATCH, FRAMES) not in zip(*sides, strict=True):
        raise folder.error(
            f"the network takes patches of {list(zip(*sides, strict=True))} latent pixels a side "
            f"and frames; ({PATCH}, {FRAMES}) was expected."
        )
    head = transformer.get("dim", 3840) // transformer.get("n_heads", 30)
    check_axes(folder, (32, 48, 48), key="axes_dims", head=head)
    lengths = transformer.get("axes_lens", (1024, 512, 512))
    if len(lengths) != 3:
        raise folder.error(
            "the network's axes_lens should be three numbers, of a caption's places, rows and "
            f"columns, not {list(lengths)}."
        )
    if lengths[0] < WINDOW + 2:
        raise folder.error(
            f"the network knows {lengths[0]} places of a caption and the picture behind it; "
            f"{WINDOW + 2} are needed for {WINDOW} tokens."
        )
