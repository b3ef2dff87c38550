"""Flux."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.t5_text import T5Text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PATCH = 2  # the network takes one token for 2x2 latent pixels
LATENT_SIZE = 128  # of a square picture of the trained size; the folder does not say it
WINDOW = 512  # T5 tokens
SCALES = {
    "FluxPipeline": 3.5,
    "FluxImg2ImgPipeline": 7.0,
    "FluxInpaintPipeline": 7.0,
    "FluxControlNetPipeline": 7.0,
    "FluxControlNetImg2ImgPipeline": 7.0,
    "FluxControlNetInpaintPipeline": 7.0,
}
"""The scale that each class takes that Diffusers may have saved such a model from."""


class Flux(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer, distilled to take its guidance as a number
    (dev) or none (schnell) (Black Forest Labs 2024): folders of FluxPipeline and
    of its classes for other tasks."""

    pipelines = tuple(SCALES)
    components: ClassVar = {
        "transformer": Component(("FluxTransformer2DModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("CLIPTextModel",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
        "text_encoder_2": Component(("T5EncoderModel",), "text"),
        "tokenizer_2": Component(("T5Tokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        in_channels, channels = transformer.get("in_channels", 64), folder.latent_channels
        if in_channels != channels * PATCH**2:
            raise folder.error(
                f"the network takes {in_channels} channels a token, and 2x2 pixels of the "
                f"autoencoder's {channels} channels make {channels * PATCH**2}; only plain "
                "text-to-image models are known."
            )
        t5, clip = (folder.config(name) for name in ("text_encoder_2", "text_encoder"))
        for name, takes, gives in (
            ("T5", transformer.get("joint_attention_dim", 4096), t5.get("d_model", 512)),
            ("CLIP", transformer.get("pooled_projection_dim", 768), clip.get("hidden_size", 512)),
        ):
            if takes != gives:
                raise folder.error(
                    f"the network takes text states of width {takes} from {name}, which gives "
                    f"{gives}."
                )
        axes, head = transformer.get("axes_dims_rope", (16, 56, 56)), "attention_head_dim"
        if len(axes) != 3 or sum(axes) != transformer.get(head, 128) or any(n % 2 for n in axes):
            raise folder.error(
                f"the network's axes_dims_rope should be three even numbers that make {head} = "
                f"{transformer.get(head, 128)} together, not {list(axes)}."
            )
        guided = bool(transformer.get("guidance_embeds", False))
        return folder.info(
            "flux",
            read_flow_scheduler(folder.scheduler, base="trailing", patch=PATCH),
            channels=channels,
            sample=(LATENT_SIZE, LATENT_SIZE),
            patch=PATCH,
            steps=28,
            guidance={"name": "embedded", "scale": SCALES[folder.pipeline]} if guided else "none",
            abilities=["text", "guidance_embeds"] if guided else ["text"],
            needs=frozenset({"text"}),
            conditioning=["text"],
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        guided = "guidance_embeds" in info.abilities

        def network(call: Call) -> Tensor:
            states = call.condition["text"].to(device, dtype)
            rows, columns = call.x.shape[-2] // PATCH, call.x.shape[-1] // PATCH
            # The network multiplies by 1000, whatever number of timesteps it was trained on.
            t = call.t.to(device) / 1000
            if call.rows:  # in whose points it is exact
                exact = [row.point.t / 1000 for row in call.rows]
                t = torch.tensor(exact, dtype=torch.float32, device=device)
            guidance = call.condition.get("guidance")
            if guidance is None and guided:
                guidance = torch.ones(len(call.x))
            output: Tensor = transformer.module(
                hidden_states=pack(call.x).to(device, dtype),
                timestep=t,
                guidance=None if guidance is None else guidance.to(device),
                encoder_hidden_states=states,
                pooled_projections=call.condition["pooled"].to(device, dtype),
                txt_ids=torch.zeros(states.shape[1], 3, device=device),
                img_ids=positions(rows, columns, device),
                return_dict=False,
            )[0]
            return unpack(output.to(call.x.device, torch.float32), rows, columns)

        text = FluxText(
            ClipEncoder(parts["text_encoder"], parts["tokenizer"].module),
            T5Text(parts["text_encoder_2"], parts["tokenizer_2"].module, WINDOW),
            device,
        )
        abilities = {"text": text, **({"guidance_embeds": True} if guided else {})}
        return Model(info, network, abilities, parts, place)


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


class FluxText(TextAbility):
    """T5's states, key ``text``, and CLIP's pooled state, key ``pooled``.

    Args:
        device: where the condition goes.
    """

    def __init__(self, clip: ClipEncoder, t5: T5Text, device: torch.device) -> None:
        self._clip = clip
        self._t5 = t5
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, width)."""
        condition = {"text": self._t5.states(texts), "pooled": self._clip(texts).pooler_output}
        return {key: value.to(self._device) for key, value in condition.items()}

    def overflow(self, text: str) -> str:
        """What T5 does not read; CLIP, which gives the network a mere summary, reads less."""
        return self._t5.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        return {"text": self._t5.spans(text)}
