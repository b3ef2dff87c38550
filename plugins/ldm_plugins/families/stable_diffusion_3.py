"""Stable Diffusion 3 and 3.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts.family import Condition, Model, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_core.model.place import Place
from ldm_core.numerics.point import Point
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.diffusers_folder import (
    DiffusersFolder,
    autoencoder_factor,
    class_of,
    latent_size,
)
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_defaults, read_flow_schedule
from ldm_plugins.families.shared.t5_text import T5Text, check_tokenizer

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 256  # T5 tokens
CLIPS = (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2"))


class StableDiffusion3(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer that reads two CLIPs and, where the folder
    has it, T5 (Esser et al. 2024, arXiv:2403.03206): folders of StableDiffusion3Pipeline."""

    pipelines = ("StableDiffusion3Pipeline",)
    components: ClassVar = {
        "transformer": ("SD3Transformer2DModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("CLIPTextModelWithProjection",),
        "tokenizer": ("CLIPTokenizer",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "tokenizer_2": ("CLIPTokenizer",),
        "text_encoder_3": ("T5EncoderModel",),
        "tokenizer_3": ("T5Tokenizer",),
    }
    optional = frozenset({"text_encoder_3", "tokenizer_3"})

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        transformer = read_json(folder / "transformer" / "config.json")
        vae = read_json(folder / "vae" / "config.json")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        _check_text(source, folder, index, transformer)
        channels = transformer.get("in_channels", 16)
        if channels != vae.get("latent_channels", 4):
            raise LdmError(
                f"'{source}': the network takes {channels} channels and the autoencoder gives "
                f"{vae.get('latent_channels', 4)}; only plain text-to-image models are known."
            )
        self.check(source, folder, index)
        factor, patch = autoencoder_factor(vae), transformer.get("patch_size", 2)
        width, height = latent_size(transformer, 128)
        return ModelInfo(
            family="stable_diffusion_3",
            source=source,
            folder=folder,
            noise_schedule=read_flow_schedule(scheduler),
            prediction_type="flow",
            latent_channels=channels,
            scale_factor=factor,
            default_size=(width * factor, height * factor),
            abilities=frozenset({"text"}),
            defaults={
                "num_inference_steps": 28,
                "guidance": {"name": "classifier_free", "scale": 7.0},
                "conditioning": ["text"],
                "attention": "native",
                "encoder": "autoencoder_kl",
                "decoder": "autoencoder_kl",
                **read_flow_defaults(scheduler, patch=patch),
            },
            patch=patch,
            needs=frozenset({"text"}),
            scheduler_config=scheduler,
        )

    def build(self, info: ModelInfo, components: Mapping[str, Any], place: Place) -> Model:
        import torch

        dtype = place.compute_dtype
        transformer = components["transformer"]
        most = transformer.config.pos_embed_max_size * info.patch

        def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
            if max(x.shape[-2:]) > most:
                raise LdmError(
                    f"this model has positions for sides of up to {most * info.scale_factor} "
                    f"pixels, not {max(x.shape[-2:]) * info.scale_factor}."
                )
            output: Tensor = transformer(
                hidden_states=x.to(dtype),
                timestep=torch.full((len(x),), point.t, device=x.device),
                encoder_hidden_states=condition["text"].to(dtype),
                pooled_projections=condition["pooled"].to(dtype),
                return_dict=False,
            )[0]
            return output.float()

        t5 = None
        if "text_encoder_3" in components:
            t5 = T5Text(components["text_encoder_3"], components["tokenizer_3"], WINDOW)
        clips = [ClipEncoder(components[name], components[tokenizer]) for name, tokenizer in CLIPS]
        text = JointText(clips, t5, transformer.config.joint_attention_dim)
        return Model(info, network, {"text": text}, components, place)


def _check_text(
    source: str, folder: Path, index: Mapping[str, Any], transformer: Mapping[str, Any]
) -> None:
    """See that the text encoders give what the network takes."""
    width = transformer.get("joint_attention_dim", 4096)
    hidden = pooled = 0
    for encoder, tokenizer in CLIPS:
        config = read_json(folder / encoder / "config.json")
        read_json(folder / tokenizer / "tokenizer_config.json")
        hidden += config.get("hidden_size", 512)
        pooled += config.get("projection_dim", 512)
    if hidden > width:
        raise LdmError(
            f"'{source}': the network takes text states of width {width}, and the two CLIPs "
            f"together give {hidden}."
        )
    if pooled != transformer.get("pooled_projection_dim", 2048):
        raise LdmError(
            f"'{source}': the network takes pooled text of width "
            f"{transformer.get('pooled_projection_dim', 2048)}, and the two CLIPs together give "
            f"{pooled}."
        )
    present = [class_of(index, name) is not None for name in ("text_encoder_3", "tokenizer_3")]
    if any(present):
        if not all(present):
            raise LdmError(
                f"'{source}': model_index.json has one of text_encoder_3 and tokenizer_3 without "
                "the other."
            )
        check_tokenizer(folder / "tokenizer_3")
        found = read_json(folder / "text_encoder_3" / "config.json").get("d_model", 512)
        if found != width:
            raise LdmError(
                f"'{source}': the network takes text states of width {width}, and T5 gives {found}."
            )


class JointText:
    """The states of two CLIPs side by side, padded to T5's width, then T5's, key ``text``; and
    both CLIPs' projected summaries, key ``pooled`` (arXiv:2403.03206, Figure 2)."""

    def __init__(self, clips: Sequence[ClipEncoder], t5: T5Text | None, width: int) -> None:
        self._clips = clips
        self._t5 = t5
        self._width = width

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, CLIP's window + 256, width) and (texts, both CLIPs' projections)."""
        import torch
        from torch.nn.functional import pad

        answers = [encoder(texts) for encoder in self._clips]
        clip = torch.cat([answer.hidden_states[-2] for answer in answers], dim=-1)
        clip = pad(clip, (0, self._width - clip.shape[-1]))
        t5 = self._t5.states(texts) if self._t5 else clip.new_zeros(len(clip), WINDOW, self._width)
        pooled = torch.cat([answer.text_embeds for answer in answers], dim=-1)
        return {"text": torch.cat([clip, t5], dim=1), "pooled": pooled}

    def overflow(self, text: str) -> str:
        """What the encoder with the widest window does not read."""
        return (self._t5 or self._clips[0]).overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[tuple[int, int]]]:
        t5 = self._t5.spans(text) if self._t5 else [(0, 0)] * WINDOW
        return {"text": [*self._clips[0].spans(text), *t5]}
