"""Stable Cascade's prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import Condition, Place, Run
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.model.files import read_json
from ldm_core.numerics.prediction import EPSILON
from ldm_core.numerics.sums import weighted_sum
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.shared_parts import SharedParts
from ldm_plugins.shared.ancestral_step import ancestral_step
from ldm_plugins.shared.cosine_schedule import read_cosine_schedule

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NETWORK, TEXT = "StableCascadeUNet", "CLIPTextModelWithProjection"
SEED = 0x5052_494F_52
"""What is mixed into the seeds of the prior's noise, so that it is not that of the latents."""


class CascadePrior:
    """Ability ``image_embeddings`` of Stable Cascade: a network in another folder draws them of
    the text, by DDPM at even times (Pernias et al. 2023, arXiv:2306.00637)."""

    def __init__(self, place: Place) -> None:
        self._parts = SharedParts(place)
        self._device = place.device

    def prior_text(self, folder: Path) -> TextAbility:
        """See `ldm_core.contracts.image_embeddings.ImageEmbeddingsAbility`."""
        tokenizer = self._parts.read(folder / "tokenizer", "CLIPTokenizer").module
        encoder = self._parts.read(folder / "text_encoder", TEXT)
        return MaskedClip(ClipEncoder(encoder, tokenizer), self._device)

    def drawn(
        self,
        run: Run,
        folder: Path,
        shape: tuple[int, ...],
        texts: Sequence[Condition],
        steps: int,
        guidance_scale: float,
    ) -> Tensor:
        """See `ldm_core.contracts.image_embeddings.ImageEmbeddingsAbility`."""
        import torch

        from ldm_core.numerics.seeded_noise import SeededNoise

        part = self._parts.read(folder / "prior", NETWORK)
        said = read_json(folder / "scheduler" / "scheduler_config.json")
        schedule = read_cosine_schedule(said, "the prior")
        seeds = [(seed ^ SEED) % 2**63 for seed in run.request.seeds]
        noise = SeededNoise(seeds, shape, part.device)
        points = [schedule.at(schedule.last * (1 - i / steps)) for i in range(steps + 1)]
        rows = len(texts) * len(seeds)
        told = {
            key: torch.cat([text[key] for text in texts]).to(part.device, part.dtype)
            for key in ("text", "pooled")
        }
        width = part.module.config.clip_image_in_channels
        no_picture = torch.zeros(rows, 1, width, device=part.device, dtype=part.dtype)
        x = noise()
        for here, there in pairwise(points):
            output = part.module(
                torch.cat([x] * len(texts)).to(part.dtype),
                torch.full((rows,), here.t / schedule.last, device=part.device, dtype=part.dtype),
                clip_text_pooled=told["pooled"][:, None],
                clip_text=told["text"],
                clip_img=no_picture,
                return_dict=False,
            )[0].float()
            answers = output.chunk(len(texts))
            answer = answers[0]
            if len(answers) == 2:
                answer = torch.lerp(answers[1], answers[0], guidance_scale)
            step = ancestral_step(here, there)
            x0 = EPSILON.to_x0(answer, x, here)
            x = weighted_sum((step.kept, x), (step.toward, x0))
            if there is not points[-1]:
                x = weighted_sum((1.0, x), (step.deviation, noise()))
        return x


class MaskedClip(TextAbility):
    """CLIP's states behind its last layer, key ``text``, and of the text as a whole, key
    ``pooled``; it does not see the padding.

    Args:
        device: where the condition goes.
        whole: the network reads the latter alone, so that no word of it can be weighed.
    """

    def __init__(self, clip: ClipEncoder, device: torch.device, whole: bool = False) -> None:
        self._clip = clip
        self._device = device
        self._whole = whole

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, projection)."""
        output = self._clip(texts, masks_padding=True)
        condition = {"pooled": output.text_embeds.to(self._device)}
        if not self._whole:
            condition["text"] = output.hidden_states[-1].to(self._device)
        return condition

    def overflow(self, text: str) -> str:
        return self._clip.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]] | None:
        return None if self._whole else {"text": self._clip.spans(text)}
