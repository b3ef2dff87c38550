"""Krea 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Model, ModelInfo, Part, Place
from ldm_core.model.files import read_index
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.flux_tokens import pack, positions, unpack
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.qwen_text import QWEN_IMAGE, QwenText, text_config
from ldm_plugins.families.shared.rotary import check_axes

if TYPE_CHECKING:
    from torch import Tensor

PATCH = 2  # the network takes one token for 2x2 latent pixels
LATENT_SIZE = 128  # of a square picture of the trained size; the folder does not say it
CHAT = QWEN_IMAGE._replace(window=512, kept=5)
LAYERS = (2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35)
"""Of the text encoder, whose states the network reads where the folder does not say which."""
TURBO_SHIFT = 1.15
"""The logarithm of the shift of times that Turbo was distilled with, for pictures of all sizes."""
MANY_TOKENS = 6400
"""Of a picture for which the greatest shift is, where the folder does not say it."""


class Krea2(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer of one stream that reads several layers of a
    language model (Krea 2026): folders of Krea2Pipeline, the model as it was trained and Turbo,
    which was distilled for 8 steps without guidance."""

    pipelines = ("Krea2Pipeline", "Krea2ModularPipeline", "Krea2TurboModularPipeline")
    components: ClassVar = {
        "transformer": Component(("Krea2Transformer2DModel",), "network"),
        "vae": Component(("AutoencoderKLQwenImage",), "autoencoder"),
        "text_encoder": Component(("Qwen3VLModel",), "text"),
        "tokenizer": Component(("Qwen2Tokenizer", "AutoTokenizer"), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        _check_network(folder, transformer)
        scheduler = {"max_image_seq_len": MANY_TOKENS, **folder.scheduler}
        turbo = folder.index.get("is_distilled", "Turbo" in folder.pipeline)
        if turbo:  # whose line from few tokens to many is level
            scheduler |= dict.fromkeys(("base_shift", "max_shift"), TURBO_SHIFT)
        guided = {"name": "classifier_free", "scale": 4.5, "from_positive": True}
        return folder.info(
            "krea_2",
            read_flow_scheduler(scheduler, base="trailing", patch=PATCH),
            channels=folder.latent_channels,
            sample=(LATENT_SIZE, LATENT_SIZE),
            patch=PATCH,
            steps=8 if turbo else 28,
            guidance="none" if turbo else guided,
            abilities=["text"],
            needs=frozenset({"text"}),
            conditioning=["text"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        many = info.scheduler_config.get("num_train_timesteps", 1000)

        def network(call: Call) -> Tensor:
            states = call.condition["text"].to(device, dtype)
            rows, columns = call.x.shape[-2] // PATCH, call.x.shape[-1] // PATCH
            words = torch.zeros(states.shape[1], 3, device=device)
            output: Tensor = transformer.module(
                hidden_states=pack(call.x).to(device, dtype),
                encoder_hidden_states=states,
                timestep=network_times(call, device, many),
                position_ids=torch.cat([words, positions(rows, columns, device)]),
                return_dict=False,
            )[0]
            return unpack(output.to(call.x.device, torch.float32), rows, columns)

        text = QwenText(
            parts["text_encoder"],
            parts["tokenizer"].module,
            CHAT,
            device,
            layers=_layers(read_index(info.folder)),
        )
        return Model(info, network, {"text": text}, parts, place)


def _layers(index: Mapping[str, Any]) -> tuple[int, ...]:
    """The layers of the text encoder that the network reads; 0 are the words' embeddings."""
    return tuple(index.get("text_encoder_select_layers") or LAYERS)


def _check_network(folder: Folder, transformer: Mapping[str, Any]) -> None:
    """See that the network takes what the autoencoder and the text encoder give."""
    takes, channels = transformer.get("in_channels", 64), folder.latent_channels
    patch = folder.index.get("patch_size", PATCH)
    if patch != PATCH:
        raise folder.error(f"its tokens are of {patch}x{patch} latent pixels; 2x2 are known.")
    if takes != channels * PATCH**2:
        raise folder.error(
            f"the network takes {takes} channels a token, and 2x2 pixels of the autoencoder's "
            f"{channels} channels make {channels * PATCH**2}."
        )
    language = text_config(folder, "text_encoder")
    folder.check_width(transformer.get("text_hidden_dim", 2560), language.get("hidden_size", 4096))
    layers, takes = _layers(folder.index), transformer.get("num_text_layers", 12)
    last = language.get("num_hidden_layers", 32)
    if len(layers) != takes or not all(-last - 1 <= layer <= last for layer in layers):
        raise folder.error(
            f"the network reads {takes} of the text encoder's states, which are numbered from 0 to "
            f"{last}, and the folder names {list(layers)} (text_encoder_select_layers)."
        )
    check_axes(folder, (32, 48, 48))
