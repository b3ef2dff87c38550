"""HunyuanVideo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import (
    Axis,
    Call,
    Condition,
    LatentSpace,
    Model,
    ModelInfo,
    Part,
    Place,
)
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_plugins.families.shared import tokens
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

EXTENT = {"frames": 129, "height": 720, "width": 1280}
RATE = 24.0  # frames a second; the folder does not say it
BEFORE = (
    "<|start_header_id|>system<|end_header_id|>\n\nDescribe the video by detailing the following "
    "aspects: 1. The main content and theme of the video.2. The color, shape, size, texture, "
    "quantity, text, and spatial relationships of the objects.3. Actions, events, behaviors "
    "temporal relationships, physical movement changes of the objects.4. background environment, "
    "light, style and atmosphere.5. camera angles, movements, and transitions used in the "
    "video:<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
)
AFTER = "<|eot_id|>"
"""What is said around a prompt (Kong et al. 2024, arXiv:2412.03603, Section 4.3)."""
DROPPED = 95  # tokens of `BEFORE`, which the network is not told
WINDOW = 256  # those that it is
LAYER = -3  # of the language model, whose states are told


class HunyuanVideo(DiffusersFolder):
    """Text-to-video with a rectified-flow transformer that reads a language model and CLIP, and
    takes its guidance as a number (Kong et al. 2024, arXiv:2412.03603): folders of
    HunyuanVideoPipeline."""

    pipelines = ("HunyuanVideoPipeline",)
    components: ClassVar = {
        "transformer": Component(("HunyuanVideoTransformer3DModel",), "network"),
        "vae": Component(("AutoencoderKLHunyuanVideo",), "autoencoder"),
        "text_encoder": Component(("LlamaModel",), "text"),
        "tokenizer": Component(("LlamaTokenizer", "PreTrainedTokenizer"), "other"),
        "text_encoder_2": Component(("CLIPTextModel",), "text"),
        "tokenizer_2": Component(("CLIPTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer, vae = folder.config("transformer"), folder.autoencoder
        channels, returned = transformer.get("in_channels", 16), transformer.get("out_channels", 16)
        latent, seen = vae.get("latent_channels", 16), transformer.get("image_condition_type")
        if (channels, returned) != (latent, latent) or seen is not None:
            raise folder.error(
                f"the network takes {channels} channels and returns {returned}, and the "
                f"autoencoder gives {latent}; only plain text-to-video models are known."
            )
        llama, clip = (folder.config(name) for name in ("text_encoder", "text_encoder_2"))
        for name, takes, gives in (
            ("Llama", transformer.get("text_embed_dim", 4096), llama.get("hidden_size", 4096)),
            ("CLIP", transformer.get("pooled_projection_dim", 768), clip.get("hidden_size", 512)),
        ):
            folder.check_width(takes, gives, name)
        if llama.get("num_hidden_layers", 32) < -LAYER:
            raise folder.error("the language model has too few layers: 3 at least.")
        strides = [vae.get(f"{axis}_compression_ratio", n) for axis, n in STRIDES.items()]
        patch, patch_t = transformer.get("patch_size", 2), transformer.get("patch_size_t", 1)
        space = LatentSpace(
            latent,
            (
                Axis("frames", strides[0], patch_t, causal=True),
                Axis("height", strides[1], patch),
                Axis("width", strides[1], patch),
            ),
        )
        guided = bool(transformer.get("guidance_embeds", True))
        return folder.info(
            "hunyuan_video",
            read_flow_scheduler(folder.scheduler, base="trailing"),
            channels=latent,
            sample=space.shape(EXTENT)[1:],
            latents=space,
            encoder={"sample": False},
            steps=50,
            guidance={"name": "embedded", "scale": 6.0} if guided else "none",
            abilities=["text", "prompt_2", *(["guidance_embeds"] if guided else [])],
            needs=frozenset({"text"}),
            conditioning=["text"],
            rate=RATE,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        guided = "guidance_embeds" in info.abilities

        def network(call: Call) -> Tensor:
            guidance = call.condition.get("guidance")
            if guidance is None and guided:
                guidance = torch.ones(len(call.x))
            output: Tensor = transformer.module(
                hidden_states=call.x.to(device, dtype),
                timestep=call.t.to(device),
                encoder_hidden_states=call.condition["text"].to(device, dtype),
                encoder_attention_mask=call.condition["text_mask"].to(device, dtype),
                pooled_projections=call.condition["pooled"].to(device, dtype),
                guidance=None if guidance is None else guidance.to(device, dtype) * 1000,
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        text = HunyuanText(
            parts["text_encoder"],
            parts["tokenizer"].module,
            ClipEncoder(parts["text_encoder_2"], parts["tokenizer_2"].module),
            device,
        )
        abilities = {"text": text, **({"guidance_embeds": True} if guided else {})}
        return Model(info, network, abilities, parts, place)


STRIDES = {"temporal": 4, "spatial": 8}


class HunyuanText(TextAbility):
    """The states of a language model that is asked to describe a video, key ``text``; which of them
    are words, key ``text_mask``; and CLIP's pooled state, key ``pooled``.

    Args:
        device: where the condition goes.
    """

    def __init__(
        self, encoder: Part, tokenizer: Any, clip: ClipEncoder, device: torch.device
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._clip = clip
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width), (texts, window) and (texts, width of CLIP)."""
        window = tokens.tokenize(
            self._tokenizer, [asked(t) for t in texts], DROPPED + WINDOW, self._encoder.device
        )
        output = self._encoder.module(
            input_ids=window.input_ids,
            attention_mask=window.attention_mask,
            output_hidden_states=True,
            use_cache=False,
        )
        condition = {
            "text": output.hidden_states[LAYER][:, DROPPED:],
            "text_mask": window.attention_mask[:, DROPPED:],
            "pooled": self._clip(texts).pooler_output,
        }
        return {key: value.to(self._device) for key, value in condition.items()}

    def joined(self, conditions: Sequence[Condition]) -> Condition:
        """Of two conditions: the language model reads its own text, and so does CLIP."""
        asked_of, summed_up = conditions
        return {**asked_of, "pooled": summed_up["pooled"]}

    def overflow(self, text: str) -> str:
        """What the language model does not read; CLIP, which gives the network a mere summary,
        reads less."""
        lost = tokens.overflow(self._tokenizer, asked(text), DROPPED + WINDOW)
        return lost.removesuffix(AFTER) if len(lost) > len(AFTER) else ""

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        spans = tokens.spans(self._tokenizer, asked(text), DROPPED + WINDOW)[DROPPED:]
        ahead, last = len(BEFORE), len(text)
        within = [(min(max(place - ahead, 0), last) for place in span) for span in spans]
        places = [(start, end) for start, end in within]
        return {"text": places, "text_mask": places}


def asked(text: str | None) -> str:
    """A prompt as the language model is asked."""
    return f"{BEFORE}{text or ''}{AFTER}"
