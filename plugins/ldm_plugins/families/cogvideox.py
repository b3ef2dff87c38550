"""CogVideoX."""

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
    Run,
)
from ldm_core.contracts.abilities import FirstFrameAbility, Span, TextAbility
from ldm_core.values import is_whole
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.shifted_scheduler_config import read_shifted_scheduler
from ldm_plugins.families.shared.t5_text import T5Text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

RATIO = "temporal_compression_ratio"
RATE = 8.0  # frames a second; the folder does not say it
FROM_PICTURE = "CogVideoXImageToVideoPipeline"
FIRST = "first_frame"
ROTARY, TOGETHER = "use_rotary_positional_embeddings", "patch_size_t"
ADDED_NOISE = 2.0  # what a network of version 1.5 is told where it is shown a picture (its "ofs")
Rotations = tuple["Tensor", "Tensor"]


class CogVideoX(DiffusersFolder):
    """Text-to-video with a diffusion transformer that reads T5, whose tokens attend to each other
    with those of the video (Yang et al. 2024, arXiv:2408.06072), and from a picture, whose latents
    such a network sees beside those of the first frame: folders of CogVideoXPipeline,
    CogVideoXVideoToVideoPipeline and CogVideoXImageToVideoPipeline, in version 1.0 and 1.5.

    A network of version 1.5 takes several frames of latents as one token, and draws such ahead of
    the video as fill up its first token; they are thrown away."""

    pipelines = ("CogVideoXPipeline", "CogVideoXVideoToVideoPipeline", FROM_PICTURE)
    components: ClassVar = {
        "transformer": Component(("CogVideoXTransformer3DModel",), "network"),
        "vae": Component(("AutoencoderKLCogVideoX",), "autoencoder"),
        "text_encoder": Component(("T5EncoderModel",), "text"),
        "tokenizer": Component(("T5Tokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer, vae = folder.config("transformer"), folder.autoencoder
        channels, returned = transformer.get("in_channels", 16), transformer.get("out_channels", 16)
        latent = vae.get("latent_channels", 16)
        shown = folder.pipeline == FROM_PICTURE
        expected = latent * (2 if shown else 1)
        if (channels, returned or channels) != (expected, latent):
            raise folder.error(
                f"the network takes {channels} channels and returns {returned}, and the "
                f"autoencoder gives {latent}; that of a {folder.pipeline} takes {expected}."
            )
        together, turns = transformer.get(TOGETHER), transformer.get(ROTARY, False)
        if together is not None and not turns:
            raise folder.error(
                "the network takes several frames of latents as one token (version 1.5), which "
                f"none does without {ROTARY}."
            )
        width, gives = transformer.get("text_embed_dim", 4096), folder.config("text_encoder")
        folder.check_width(width, gives.get("d_model", 512), "T5")
        window = transformer.get("max_text_seq_length", 226)
        if not is_whole(window) or window < 1:
            raise folder.error(f"max_text_seq_length should be at least 1, not {window!r}.")
        if turns and transformer.get("attention_head_dim", 64) % 16:
            raise folder.error("the network's attention_head_dim should be a multiple of 16.")
        frames, stride = transformer.get("sample_frames", 49), vae.get(RATIO, 4)
        patch = transformer.get("patch_size", 2)
        sides = [
            transformer.get(f"sample_{side}", n) for side, n in (("height", 60), ("width", 90))
        ]
        # version 1.5 knows no places beyond those that it was trained on
        most = [None if together is None else side // patch * patch for side in sides]
        unit = together or 1
        time = Axis("frames", stride, unit, causal=True, ahead=unit - 1)
        needs = ["text", FIRST] if shown else ["text"]
        return folder.info(
            "cogvideox",
            read_shifted_scheduler(folder.scheduler),
            channels=latent,
            sample=(time.places(time.nearest(frames)), *sides),
            latents=LatentSpace(
                latent,
                (
                    time,
                    Axis("height", folder.factor, patch, most=most[0]),
                    Axis("width", folder.factor, patch, most=most[1]),
                ),
            ),
            encoder={"sample": False} if shown else {},
            steps=50,
            guidance={"name": "classifier_free", "scale": 6.0},
            abilities=needs,
            needs=frozenset(needs),
            conditioning=needs,
            rate=RATE,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        config = transformer.module.config

        def network(call: Call) -> Tensor:
            x = call.x
            if FIRST in call.condition:
                x = torch.cat([x, call.condition[FIRST].to(x)], dim=1)
            x = x.transpose(1, 2).to(device, dtype)  # frames before channels
            rotary = config.use_rotary_positional_embeddings
            shown = x.new_full((1,), ADDED_NOISE) if config.ofs_embed_dim else None
            output: Tensor = transformer.module(
                hidden_states=x,
                encoder_hidden_states=call.condition["text"].to(device, dtype),
                timestep=call.t.to(device),
                image_rotary_emb=rotations(config, x.shape, device) if rotary else None,
                ofs=shown,
                return_dict=False,
            )[0]
            return output.transpose(1, 2).to(call.x.device, torch.float32)

        window = config.max_text_seq_length
        t5 = T5Text(parts["text_encoder"], parts["tokenizer"].module, window)
        inverted = bool(parts["vae"].module.config.invert_scale_latents)
        factor = parts["vae"].module.config.scaling_factor ** 2 if inverted else 1.0
        abilities: dict[str, Any] = {
            "text": CogVideoXText(t5, device),
            FIRST: FirstFrame(factor, device),
        }
        abilities = {name: abilities[name] for name in info.abilities}
        return Model(info, network, abilities, parts, place)


def rotations(config: Any, shape: Sequence[int], device: torch.device) -> Rotations:
    """Cosines and sines of the places of a video's tokens, each (tokens, attention_head_dim).

    In version 1.0 a video of other sides than the trained ones is laid into the middle of those, as
    large as it fits there, so that its places lie closer or further apart. In version 1.5 it is
    laid into their corner.

    Args:
        shape: of x, (rows, frames, channels, height, width).
    """
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    patch = config.patch_size
    rows, columns = (side // patch for side in shape[-2:])
    most_rows, most_columns = config.sample_height // patch, config.sample_width // patch
    sizes = {"embed_dim": config.attention_head_dim, "grid_size": (rows, columns)}
    if config.patch_size_t is not None:
        cosines, sines = get_3d_rotary_pos_embed(
            **sizes,
            crops_coords=None,
            temporal_size=shape[1] // config.patch_size_t,
            grid_type="slice",
            max_size=(most_rows, most_columns),
            device=device,
        )
        return cosines, sines
    if rows / columns > most_rows / most_columns:
        high, wide = most_rows, round(most_rows / rows * columns)
    else:
        high, wide = round(most_columns / columns * rows), most_columns
    top, left = round((most_rows - high) / 2), round((most_columns - wide) / 2)
    cosines, sines = get_3d_rotary_pos_embed(
        **sizes,
        crops_coords=((top, left), (top + high, left + wide)),
        temporal_size=shape[1],
        device=device,
    )
    return cosines, sines


class CogVideoXText(TextAbility):
    """T5's states, key ``text``, the padding attended like the words.

    Args:
        device: where the condition goes.
    """

    def __init__(self, t5: T5Text, device: torch.device) -> None:
        self._t5 = t5
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width)."""
        return {"text": self._t5.states(texts).to(self._device)}

    def overflow(self, text: str) -> str:
        return self._t5.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        return {"text": self._t5.spans(text)}


class FirstFrame(FirstFrameAbility):
    """The first frame's latents as further channels beside the video's, key ``first_frame``: zeros
    beside all frames but the first.

    Args:
        factor: that by which the latents are divided, of models that were trained with their
            autoencoder's scale upside down.
        device: where the condition goes.
    """

    def __init__(self, factor: float, device: torch.device) -> None:
        self._factor = factor
        self._device = device

    def encode(self, run: Run, first: Tensor, last: Sequence[Tensor | None]) -> Condition:
        """(batch, channels, frames, height, width)."""
        import torch

        latents = run.to_latents(first.unsqueeze(2))[:, :, -1:] / self._factor
        frames = run.model.info.latents.axis("frames").places(run.request.extent["frames"])
        others = latents.new_zeros(*latents.shape[:2], frames - 1, *latents.shape[3:])
        return {FIRST: torch.cat([latents, others], dim=2).to(self._device)}

    def finish(self, run: Run, x: Tensor, first: Tensor) -> Tensor:
        """x: the network draws all frames."""
        return x
