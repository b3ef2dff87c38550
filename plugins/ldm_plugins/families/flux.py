"""Flux."""

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
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder, autoencoder_factor
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_defaults, read_flow_schedule
from ldm_plugins.families.shared.t5_text import T5Text, check_tokenizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PATCH = 2  # the network takes one token for 2x2 latent pixels
LATENT_SIZE = 128  # of a square picture of the trained size; the folder does not say it
WINDOW = 512  # T5 tokens


class Flux(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer, distilled to take its guidance as a number
    (dev) or none (schnell) (Black Forest Labs 2024): folders of FluxPipeline."""

    pipelines = ("FluxPipeline",)
    components: ClassVar = {
        "transformer": ("FluxTransformer2DModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("CLIPTextModel",),
        "tokenizer": ("CLIPTokenizer",),
        "text_encoder_2": ("T5EncoderModel",),
        "tokenizer_2": ("T5Tokenizer",),
    }

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        transformer = read_json(folder / "transformer" / "config.json")
        vae = read_json(folder / "vae" / "config.json")
        clip = read_json(folder / "text_encoder" / "config.json")
        t5 = read_json(folder / "text_encoder_2" / "config.json")
        read_json(folder / "tokenizer" / "tokenizer_config.json")
        check_tokenizer(folder / "tokenizer_2")
        scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
        taken, channels = transformer.get("in_channels", 64), vae.get("latent_channels", 4)
        if taken != channels * PATCH**2:
            raise LdmError(
                f"'{source}': the network takes {taken} channels a token, and 2x2 pixels of the "
                f"autoencoder's {channels} channels make {channels * PATCH**2}; only plain "
                "text-to-image models are known."
            )
        for name, key, width, found in (
            ("T5", "joint_attention_dim", 4096, t5.get("d_model", 512)),
            ("CLIP", "pooled_projection_dim", 768, clip.get("hidden_size", 512)),
        ):
            if transformer.get(key, width) != found:
                raise LdmError(
                    f"'{source}': the network takes text states of width "
                    f"{transformer.get(key, width)} from {name}, which gives {found}."
                )
        self.check(source, folder, index)
        factor = autoencoder_factor(vae)
        guided = bool(transformer.get("guidance_embeds", False))
        return ModelInfo(
            family="flux",
            source=source,
            folder=folder,
            noise_schedule=read_flow_schedule(scheduler),
            prediction_type="flow",
            latent_channels=channels,
            scale_factor=factor,
            default_size=(LATENT_SIZE * factor, LATENT_SIZE * factor),
            abilities=frozenset({"text", "embedded_guidance"} if guided else {"text"}),
            defaults={
                "num_inference_steps": 28,
                "guidance": {"name": "embedded", "scale": 3.5} if guided else "none",
                "conditioning": ["text"],
                "attention": "native",
                "encoder": "autoencoder_kl",
                "decoder": "autoencoder_kl",
                **read_flow_defaults(scheduler, base="trailing", patch=PATCH),
            },
            patch=PATCH,
            needs=frozenset({"text"}),
            scheduler_config=scheduler,
        )

    def build(self, info: ModelInfo, components: Mapping[str, Any], place: Place) -> Model:
        import torch

        dtype = place.compute_dtype
        transformer = components["transformer"]
        guided = "embedded_guidance" in info.abilities

        def network(x: Tensor, point: Point, condition: Condition) -> Tensor:
            states = condition["text"].to(dtype)
            rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
            told = condition.get("guidance_scale")
            if told is None and guided:
                told = torch.ones(len(x), device=x.device)
            output: Tensor = transformer(
                hidden_states=pack(x).to(dtype),
                # The network multiplies by 1000, whatever number of timesteps it was trained on.
                timestep=torch.full((len(x),), point.t / 1000, device=x.device),
                guidance=told,
                encoder_hidden_states=states,
                pooled_projections=condition["pooled"].to(dtype),
                txt_ids=torch.zeros(states.shape[1], 3, device=x.device),
                img_ids=positions(rows, columns, x.device),
                return_dict=False,
            )[0]
            return unpack(output.float(), rows, columns)

        text = FluxText(
            ClipEncoder(components["text_encoder"], components["tokenizer"]),
            T5Text(components["text_encoder_2"], components["tokenizer_2"], WINDOW),
        )
        abilities = {"text": text, **({"embedded_guidance": True} if guided else {})}
        return Model(info, network, abilities, components, place)


def pack(x: Tensor) -> Tensor:
    """(batch, channels, height, width) to tokens (batch, height/2 · width/2, 4 · channels)."""
    from torch.nn.functional import pixel_unshuffle

    return pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)


def unpack(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `pack`, for so many rows and columns of tokens."""
    from torch.nn.functional import pixel_shuffle

    channels = tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)
    return pixel_shuffle(channels, PATCH)


def positions(rows: int, columns: int, device: torch.device) -> Tensor:
    """(rows · columns, 3): 0, row and column of each token, row by row."""
    import torch

    axes = (torch.arange(side, dtype=torch.float32, device=device) for side in (rows, columns))
    row, column = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
    return torch.stack([torch.zeros_like(row), row, column], dim=1)


class FluxText:
    """T5's states, key ``text``, and CLIP's pooled state, key ``pooled``."""

    def __init__(self, clip: ClipEncoder, t5: T5Text) -> None:
        self._clip = clip
        self._t5 = t5

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, width)."""
        return {"text": self._t5.states(texts), "pooled": self._clip(texts).pooler_output}

    def overflow(self, text: str) -> str:
        """What T5 does not read; CLIP, which gives the network a mere summary, reads less."""
        return self._t5.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[tuple[int, int]]]:
        return {"text": self._t5.spans(text)}
