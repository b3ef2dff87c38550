"""Latent diffusion from text, before Stable Diffusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts.family import Condition, Model, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.model.place import Place
from ldm_core.numerics.point import Point
from ldm_plugins.families.shared.diffusers_folder import (
    DiffusersFolder,
    autoencoder_factor,
    class_of,
    latent_size,
)
from ldm_plugins.families.shared.scheduler_config import (
    read_defaults,
    read_prediction_type,
    read_schedule,
)
from ldm_plugins.families.shared.tokens import overflow, spans, tokenize

if TYPE_CHECKING:
    from torch import Tensor

AUTOENCODERS = {"VQModel": "vq", "AutoencoderKL": "autoencoder_kl"}


class LatentDiffusionText(DiffusersFolder):
    """Text-to-image with a UNet and a text encoder trained along with it (Rombach et al. 2022,
    arXiv:2112.10752, Section 4.3.1): folders whose model_index.json says LDMTextToImagePipeline."""

    pipelines = ("LDMTextToImagePipeline",)
    components: ClassVar = {
        "unet": ("UNet2DConditionModel",),
        "vqvae": tuple(AUTOENCODERS),
        "bert": ("LDMBertModel",),
        "tokenizer": ("BertTokenizer",),
    }

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        unet = read_json(folder / "unet" / "config.json")
        vqvae = read_json(folder / "vqvae" / "config.json")
        bert = read_json(folder / "bert" / "config.json")
        read_json(folder / "tokenizer" / "tokenizer_config.json")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        self.check(source, folder, index)
        autoencoder = AUTOENCODERS[str(class_of(index, "vqvae"))]
        latents = vqvae.get("latent_channels", 3 if autoencoder == "vq" else 4)
        channels = unet.get("in_channels", 4)
        if channels != (vqvae.get("vq_embed_dim") or latents):
            raise LdmError(
                f"'{source}': the network takes {channels} channels and the autoencoder gives "
                f"{vqvae.get('vq_embed_dim') or latents}."
            )
        width, given = unet.get("cross_attention_dim", 1280), bert.get("d_model", 1280)
        if width != given:
            raise LdmError(
                f"'{source}': the network takes text states of width {width}, and the text "
                f"encoder gives {given}."
            )
        factor = autoencoder_factor(vqvae)
        width, height = latent_size(unet, 32)
        return ModelInfo(
            family="latent_diffusion_text",
            source=source,
            folder=folder,
            noise_schedule=read_schedule(scheduler),
            prediction_type=read_prediction_type(scheduler),
            latent_channels=channels,
            scale_factor=factor,
            default_size=(width * factor, height * factor),
            abilities=frozenset({"text"}),
            scheduler_config=scheduler,
            defaults={
                "num_inference_steps": 50,
                "guidance": {"name": "classifier_free", "scale": 1.0},
                "conditioning": ["text"],
                "attention": "native",
                "encoder": autoencoder,
                "decoder": autoencoder,
                **read_defaults(scheduler),
            },
        )

    def build(self, info: ModelInfo, components: Mapping[str, Any], place: Place) -> Model:
        import torch

        dtype = place.compute_dtype
        unet = components["unet"]

        def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
            t = torch.full((len(x),), point.t, device=x.device)
            states = condition["text"].to(dtype)
            output: Tensor = unet(x.to(dtype), t, states, return_dict=False)[0]
            return output.float()

        # The folder calls its autoencoder vqvae even where it is a KL one, which goes by vae.
        components = {**components, "vae": components["vqvae"]}
        text = BertText(components["bert"], components["tokenizer"])
        return Model(info, network, {"text": text}, components, place)


class BertText:
    """The text encoder's states as the network's condition, key ``text``; padding is read too."""

    side_by_side = True

    def __init__(self, encoder: Any, tokenizer: Any) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._window: int = encoder.config.max_position_embeddings

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) hidden states."""
        tokens = tokenize(self._tokenizer, texts, self._window, self._encoder.device)
        return {"text": self._encoder(tokens.input_ids, return_dict=False)[0]}

    def overflow(self, text: str) -> str:
        return overflow(self._tokenizer, text, self._window)

    def tokens(self, text: str) -> Mapping[str, Sequence[tuple[int, int]]]:
        return {"text": spans(self._tokenizer, text, self._window)}
