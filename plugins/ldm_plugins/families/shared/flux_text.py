"""What Flux's networks are told of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ldm_core.contracts import Condition
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.t5_text import T5Text

if TYPE_CHECKING:
    import torch


class FluxText(TextAbility):
    """T5's states, key ``text``, and CLIP's pooled state, key ``pooled``.

    Args:
        device: where the condition goes.
    """

    any_length = frozenset({"text"})

    def __init__(self, clip: ClipEncoder, t5: T5Text, device: torch.device) -> None:
        self._clip = clip
        self._t5 = t5
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, width)."""
        condition = {"text": self._t5.states(texts), "pooled": self._clip(texts).pooler_output}
        return {key: value.to(self._device) for key, value in condition.items()}

    def windowed(self, length: int) -> TextAbility:
        return FluxText(self._clip, self._t5.windowed(length), self._device)

    def joined(self, conditions: Sequence[Condition]) -> Condition:
        clip, t5 = conditions
        return {"text": t5["text"], "pooled": clip["pooled"]}

    def overflow(self, text: str) -> str:
        """What T5 does not read; CLIP, which gives the network a mere summary, reads less."""
        return self._t5.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        return {"text": self._t5.spans(text)}
