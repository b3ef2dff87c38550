"""LTX-Video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, LatentSpace, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.contracts.latents import Axis
from ldm_core.model.files import read_index
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.ltx_keyframes import (
    PLACES as SHOWN_AT,
)
from ldm_plugins.families.shared.ltx_keyframes import (
    SIGMAS,
    TOKENS,
    LTXKeyframes,
    grid,
)
from ldm_plugins.families.shared.ltx_latents import (
    denormalised_noise,
    noise_ability,
    ratios,
    with_first,
)
from ldm_plugins.families.shared.t5_text import T5Text
from ldm_plugins.families.shared.wan_frames import FRAMES, FramesInPlace

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW = 128  # T5 tokens
RATE = 25.0
PLACES = (21, 16, 22)
"""Of what Diffusers' pipelines draw where nothing is chosen: 161 frames of 704x512."""
FROM_PICTURE = "LTXImageToVideoPipeline"
CONDITIONED = "LTXConditionPipeline"
"""The class of the versions from 0.9.5 on, whose networks are told where each token lies as its
place in the causal video, and whose T5 attends to the words alone."""


class LTXVideo(DiffusersFolder):
    """Text-to-video, and video from a picture, with a rectified-flow transformer that reads T5
    and takes a token for each place of a strongly shrunk latent (HaCohen et al. 2024,
    arXiv:2501.00103): folders of LTXPipeline, LTXImageToVideoPipeline and LTXConditionPipeline."""

    pipelines = ("LTXPipeline", FROM_PICTURE, CONDITIONED)
    components: ClassVar = {
        "transformer": Component(("LTXVideoTransformer3DModel",), "network"),
        "vae": Component(("AutoencoderKLLTXVideo",), "autoencoder"),
        "text_encoder": Component(("T5EncoderModel",), "text"),
        "tokenizer": Component(("T5Tokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels = transformer.get("in_channels", 128)
        check_transformer(folder, transformer)
        folder.check_channels(channels)
        frames, side = ratios(folder.autoencoder)
        abilities = ["text", "max_sequence_length", "frame_rate", "first_frame"]
        abilities += noise_ability(folder.autoencoder)
        if folder.pipeline == CONDITIONED:
            abilities.append("keyframes")
        base = "linear_quadratic" if folder.pipeline == CONDITIONED else "trailing"
        from_picture = ["first_frame"] if folder.pipeline == FROM_PICTURE else []
        return folder.info(
            "ltx_video",
            read_flow_scheduler(folder.scheduler, base=base, patch=1),
            channels=channels,
            sample=PLACES,
            latents=LatentSpace(
                channels,
                (Axis("frames", frames, causal=True), Axis("height", side), Axis("width", side)),
            ),
            encoder={"sample": False},
            steps=50,
            guidance={"name": "classifier_free", "scale": 3.0},
            abilities=abilities,
            needs=frozenset({"text"}),
            conditioning=["text", "frame_rate", *from_picture],
            rate=RATE,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        strides = [float(axis.stride) for axis in info.latents.axes]
        last = info.noise_schedule.last
        conditioned = read_index(info.folder)["_class_name"] == CONDITIONED

        def network(call: Call) -> Tensor:
            x, condition, timestep = call.x, call.condition, call.t.to(device)
            if FRAMES in condition:
                x, timestep = with_first(x, condition[FRAMES], timestep)
            if SIGMAS in condition:
                timestep = torch.minimum(timestep[:, None], condition[SIGMAS] * last)
            rate = condition.get("frame_rate", torch.full((len(x),), RATE))
            rates = rate.to(device).view(-1, 1, 1, 1, 1)
            tokens = x.flatten(2).transpose(1, 2)
            where: dict[str, Any] = {"rope_interpolation_scale": (strides[0] / rates, *strides[1:])}
            if conditioned:
                at = grid(x.shape[2:], strides, device).expand(len(x), -1, -1)
                if TOKENS in condition:
                    tokens = torch.cat([condition[TOKENS], tokens], dim=1)
                    at = torch.cat([condition[SHOWN_AT], at], dim=2)
                where = {"video_coords": in_seconds(at, rates)}
            output: Tensor = transformer.module(
                hidden_states=tokens.to(device, dtype),
                encoder_hidden_states=condition["text"].to(device, dtype),
                encoder_attention_mask=condition["text_mask"].to(device),
                timestep=timestep,
                num_frames=x.shape[2],
                height=x.shape[3],
                width=x.shape[4],
                **where,
                return_dict=False,
            )[0]
            output = output[:, tokens.shape[1] - x[0, 0].numel() :]
            return output.transpose(1, 2).reshape(x.shape).to(x.device, torch.float32)

        window = 2 * WINDOW if conditioned else WINDOW
        t5 = T5Text(parts["text_encoder"], parts["tokenizer"].module, window)
        abilities = {
            "text": LTXText(t5, conditioned, device),
            "max_sequence_length": True,
            "frame_rate": True,
            "first_frame": FramesInPlace(device),
            "keyframes": LTXKeyframes(strides, device),
            "decode_noise": DecodeNoise(parts["vae"]),
        }
        abilities = {name: abilities[name] for name in info.abilities}
        return Model(info, network, abilities, parts, place)


def check_transformer(folder: Folder, transformer: Mapping[str, Any]) -> None:
    """See that the network's widths fit each other and T5's, and that a token is one place.

    Raises:
        LdmError: they do not, or it is not.
    """
    width = transformer.get("num_attention_heads", 32) * transformer.get("attention_head_dim", 64)
    takes = transformer.get("cross_attention_dim", 2048)
    if width != takes:
        raise folder.error(
            f"the network's cross_attention_dim should be its width, {width}, not {takes}."
        )
    channels, returned = (transformer.get(f"{way}_channels", 128) for way in ("in", "out"))
    if returned not in (None, channels):
        raise folder.error(f"the network takes {channels} channels and returns {returned}.")
    for key in ("patch_size", "patch_size_t"):
        if transformer.get(key, 1) != 1:
            raise folder.error(
                f"the network's {key} is {transformer[key]}; only networks with a token for each "
                "place of the latent, a patch of 1, are known."
            )
    text = folder.config("text_encoder").get("d_model", 512)
    folder.check_width(transformer.get("caption_channels", 4096), text, "T5")


def in_seconds(places: Tensor, rates: Tensor) -> Tensor:
    """Where tokens lie in seconds and pixels, (rows, 3, tokens), of places in frames and pixels.

    Args:
        rates: frames a second of each row, (rows, 1, 1, 1, 1).
    """
    import torch

    seconds = places[:, :1] * (1 / rates[:, 0, 0])
    return torch.cat([seconds, places[:, 1:]], dim=1)


class LTXText(TextAbility):
    """T5's states, key ``text``, and which of them are words, key ``text_mask``.

    T5 itself attends to the padding where it did in training; the network does not.

    Args:
        masked: T5 does not either.
        device: where the condition goes.
    """

    joins_windows = True
    any_length = frozenset({"text", "text_mask"})

    def __init__(self, t5: T5Text, masked: bool, device: torch.device) -> None:
        self._t5 = t5
        self._masked = masked
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, window)."""
        read = self._t5.masked_states if self._masked else self._t5.states_and_mask
        states, mask = read(texts)
        return {"text": states.to(self._device), "text_mask": mask.to(self._device)}

    def windowed(self, length: int) -> TextAbility:
        return LTXText(self._t5.windowed(length), self._masked, self._device)

    def overflow(self, text: str) -> str:
        return self._t5.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        spans = self._t5.spans(text)
        return {"text": spans, "text_mask": spans}


class DecodeNoise:
    """Noise in latents as the autoencoder has them."""

    def __init__(self, autoencoder: Part) -> None:
        self._autoencoder = autoencoder

    def mix(self, x: Tensor, noise: Tensor, scale: float) -> Tensor:
        return denormalised_noise(self._autoencoder, x, noise, scale)
