"""Wan 2.1 and 2.2."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.model.files import read_index
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.image_embeds import ImageEmbeds
from ldm_plugins.families.shared.t5_text import T5Text
from ldm_plugins.families.shared.wan_folder import check_networks, frames_shown, latent_space
from ldm_plugins.families.shared.wan_frames import FRAMES, IMAGE, FramesAsChannels, FramesInPlace

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW = 512  # tokens; the network takes what lies before the last 512 for the picture's
EXTENT = {"frames": 81, "height": 480, "width": 832}
RATE, RATE_OF_TOKENWISE = 16.0, 24.0  # frames a second; the folder does not say it
FROM_PICTURE = "WanImageToVideoPipeline"


class Wan(DiffusersFolder):
    """Video with a rectified-flow transformer that reads UMT5 (Wan Team 2025, arXiv:2503.20314),
    from text or a first frame; in version 2.2 with one network for high noise and another for low,
    or with a timestep for each token: folders of WanPipeline, WanImageToVideoPipeline and
    WanVideoToVideoPipeline."""

    pipelines = ("WanPipeline", FROM_PICTURE, "WanVideoToVideoPipeline")
    components: ClassVar = {
        "transformer": Component(("WanTransformer3DModel",), "network"),
        "transformer_2": Component(("WanTransformer3DModel",), "network", optional=True),
        "vae": Component(("AutoencoderKLWan",), "autoencoder"),
        "text_encoder": Component(("UMT5EncoderModel",), "text"),
        "tokenizer": Component(("T5Tokenizer",), "other"),
        "image_encoder": Component(("CLIPVisionModel",), "side", optional=True),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        space = latent_space(folder, transformer)
        boundary = check_networks(folder)
        tokenwise = _has_timestep_a_token(folder.index)
        shown = frames_shown(folder, transformer, space.channels, tokenwise)
        width = transformer.get("text_dim", 4096)
        folder.check_width(width, folder.config("text_encoder").get("d_model", 512), "UMT5")
        needed = [a for a in shown if a != "last_frame" and not tokenwise]
        asked = bool(needed) or (tokenwise and folder.pipeline == FROM_PICTURE)
        return folder.info(
            "wan",
            read_flow_scheduler(folder.scheduler),
            channels=space.channels,
            sample=space.shape(EXTENT)[1:],
            latents=space,
            encoder={"sample": False},
            steps=50,
            guidance={
                "name": "classifier_free" if boundary is None else "by_network",
                "scale": 5.0,
            },
            abilities=["text", *shown],
            needs=frozenset({"text", *needed}),
            conditioning=["text", "first_frame"] if asked else ["text"],
            rate=RATE_OF_TOKENWISE if tokenwise else RATE,
            boundary=boundary,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        tokenwise = _has_timestep_a_token(read_index(info.folder))
        high, low, boundary = parts["transformer"], parts.get("transformer_2"), info.boundary

        def network(call: Call) -> Tensor:
            if low is None or boundary is None:
                return ask(high, call, tokenwise)
            ts = [row.point.t for row in call.rows] or call.t.tolist()
            below = [t < boundary for t in ts]
            if all(below) or not any(below):
                return ask(low if below[0] else high, call, tokenwise)
            output = call.x.clone()  # rows of several runs, which lie at different points
            for part, side in ((high, False), (low, True)):
                rows = [row for row, is_below in enumerate(below) if is_below is side]
                output[rows] = ask(part, _some(call, rows), tokenwise)
            return output

        t5 = T5Text(parts["text_encoder"], parts["tokenizer"].module, WINDOW)
        abilities: dict[str, Any] = {"text": WanText(t5, high.device)}
        images, device = parts.get("image_encoder"), high.device
        embeds = None if images is None else ImageEmbeds(images, info.folder / "image_processor")
        for name in info.abilities & {"first_frame", "first_and_last_frame"}:
            stride = info.latents.axis("frames").stride
            channels = FramesAsChannels(stride, embeds, device)
            abilities[name] = FramesInPlace(device) if tokenwise else channels
        if "last_frame" in info.abilities:
            abilities["last_frame"] = abilities["first_frame"]
        return Model(info, network, abilities, parts, place)


def _has_timestep_a_token(index: Mapping[str, Any]) -> bool:
    return index.get("expand_timesteps") is True


def _some(call: Call, rows: Sequence[int]) -> Call:
    """Some rows of a call."""
    condition = {key: value[rows] for key, value in call.condition.items()}
    return Call(call.x[rows], call.t[rows], condition, tuple(call.rows[row] for row in rows))


def ask(part: Part, call: Call, tokenwise: bool) -> Tensor:
    """What one network answers.

    Args:
        tokenwise: it takes a timestep for each token. That of the frames that it is shown in the
            place of x is 0.
    """
    import torch

    device, dtype = part.device, part.dtype
    x, t, condition = call.x.to(device), call.t.to(device), call.condition
    frames, image = condition.get(FRAMES), condition.get(IMAGE)
    if tokenwise:
        sides = zip(x.shape[2:], part.module.config.patch_size, strict=True)
        counts = [places // patch for places, patch in sides]
        t = t[:, None, None].repeat(1, counts[0], counts[1] * counts[2])
        if frames is not None:
            frames = frames.to(x)
            x = torch.cat([frames, x[:, :, frames.shape[2] :]], dim=2)
            t[:, : frames.shape[2]] = 0
        t = t.flatten(1)
    elif frames is not None:
        x = torch.cat([x, frames.to(x)], dim=1)
    if image is not None and part.module.config.pos_embed_seq_len is not None:
        image = image.reshape(
            2 * len(image), -1, image.shape[-1]
        )  # it joins the two of a video itself
    output: Tensor = part.module(
        hidden_states=x.to(dtype),
        timestep=t,
        encoder_hidden_states=condition["text"].to(device, dtype),
        encoder_hidden_states_image=None if image is None else image.to(device, dtype),
        return_dict=False,
    )[0]
    return output.to(call.x.device, torch.float32)


class WanText(TextAbility):
    """UMT5's states, key ``text``, zero where there are no words. The network attends to all of
    them.

    Args:
        device: where the condition goes.
    """

    def __init__(self, t5: T5Text, device: torch.device) -> None:
        self._t5 = t5
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width)."""
        states, mask = self._t5.masked_states([plain(text or "") for text in texts])
        return {"text": (states * mask.unsqueeze(-1).to(states.dtype)).to(self._device)}

    def overflow(self, text: str) -> str:
        return self._t5.overflow(plain(text))

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]] | None:
        """None of a text with letters that are written otherwise than they are read."""
        ahead = len(text) - len(text.lstrip())
        if plain(text) != text.strip():
            return None
        return {
            "text": [(start + ahead, end + ahead) for start, end in self._t5.spans(plain(text))]
        }


def plain(text: str) -> str:
    """A prompt as the networks learnt it: HTML's names of letters replaced, all space single."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(text)).strip()).strip()
