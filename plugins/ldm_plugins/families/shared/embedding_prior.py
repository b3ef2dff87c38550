"""unCLIP's prior, which draws of a text what CLIP would see in a picture of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, Part, Run
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.numerics.point import Point
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.scheduler_config import read_prediction_type, read_schedule
from ldm_plugins.families.shared.tokens import tokenize
from ldm_plugins.shared.ancestral_walk import AncestralWalk

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SEED = 0x0055_4E43_4C49_50
"""What is mixed into the seeds of the prior's noise, so that it is not that of the latents."""


def check_prior(folder: Folder, text: str, width: int) -> None:
    """See that a folder's prior draws embeddings of a width, of the states of a text encoder.

    Args:
        text: the encoder's component.
    Raises:
        LdmError: it does not.
    """
    prior, clip = folder.config("prior"), folder.config(text)
    drawn = prior.get("embedding_dim", 768)
    if prior.get("clip_embed_dim") not in (None, drawn) or drawn != width:
        raise folder.error(f"the prior draws embeddings of width {drawn}, and {width} are read.")
    takes = (drawn, prior.get("embedding_proj_dim") or drawn)
    gives = (clip.get("hidden_size", 512), clip.get("projection_dim", 512))
    if takes != gives:
        raise folder.error(
            f"the prior reads text states of the widths {takes[0]} and {takes[1]}, and {text} "
            f"gives {gives[0]} and {gives[1]}."
        )
    window, tokens = clip.get("max_position_embeddings", 77), prior.get("num_embeddings", 77)
    if window != tokens or prior.get("added_emb_type", "prd") != "prd":
        raise folder.error(
            f"the prior reads {tokens} tokens and {text} gives {window}, or it lacks the token in "
            "whose place it answers (added_emb_type)."
        )


class EmbeddingPrior:
    """Draws embeddings of texts by DDPM (Ramesh et al. 2022, arXiv:2204.06125, Section 2.2).

    Args:
        part: the network.
        config: of its scheduler, as the usual class has it.
        clip: its text encoder.
        device: where the embeddings go.
    """

    def __init__(
        self, part: Part, config: Mapping[str, Any], clip: ClipEncoder, device: torch.device
    ) -> None:
        bound = config["clip_sample_range"] if config["clip_sample"] else None
        leading = config["timestep_spacing"] == "leading"
        self._walk = AncestralWalk(read_schedule(config), bound, leading)
        self._prediction = read_prediction_type(config)
        self._part = part
        self._device = device
        self.text = UnclipText(clip, part.device)

    def drawn(
        self, run: Run, texts: Sequence[Condition], steps: int, guidance_scale: float
    ) -> Tensor:
        """See `ldm_core.contracts.picture_embedding.PictureEmbeddingAbility`."""
        import torch

        from ldm_core.numerics.seeded_noise import SeededNoise

        part = self._part
        told = {key: torch.cat([text[key] for text in texts]) for key in texts[0]}
        seeds = [(seed ^ SEED) % 2**63 for seed in run.request.seeds]
        width = part.module.config.embedding_dim

        def denoise(x: Tensor, point: Point, last: bool) -> Tensor:
            output = part.module(
                torch.cat([x] * len(texts)).to(part.dtype),
                timestep=torch.tensor(point.t, device=part.device),
                proj_embedding=told["pooled"].to(part.dtype),
                encoder_hidden_states=told["text"].to(part.dtype),
                attention_mask=told["text_mask"],
                return_dict=False,
            )[0].float()
            answers = output.chunk(len(texts))
            answer = answers[0]
            if len(answers) == 2:
                answer = torch.lerp(answers[1], answers[0], guidance_scale)
            return self._prediction.to_x0(answer, x, point)

        x = self._walk(SeededNoise(seeds, (width,), part.device), steps, denoise)
        own = dict(part.at_rest.named_parameters())
        mean, deviation = (own[name].to(x) for name in ("clip_mean", "clip_std"))
        embeddings: Tensor = x * deviation + mean
        return embeddings.to(self._device)


class UnclipText(TextAbility):
    """CLIP's last states, key ``text``; of the text as a whole, key ``pooled``; and which of the
    states are words, key ``text_mask``.

    Args:
        device: where the condition goes.
    """

    def __init__(self, clip: ClipEncoder, device: torch.device) -> None:
        self._clip = clip
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width), (texts, projection) and (texts, window)."""
        clip = self._clip
        output = clip(texts)
        window = tokenize(clip.tokenizer, texts, clip.window, clip.encoder.device)
        condition = {
            "text": output.last_hidden_state,
            "pooled": output.text_embeds,
            "text_mask": window.attention_mask,
        }
        return {key: value.to(self._device) for key, value in condition.items()}

    def overflow(self, text: str) -> str:
        return self._clip.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        return {"text": self._clip.spans(text)}
