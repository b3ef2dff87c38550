"""CLIP text encoders with their tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, Part
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_plugins.families.shared.tokens import overflow, spans, tokenize

if TYPE_CHECKING:
    import torch


class ClipEncoder:
    """One CLIP text encoder with its tokenizer; texts are padded and cut to its window."""

    def __init__(self, encoder: Part, tokenizer: Any) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer

    @property
    def window(self) -> int:
        """Tokens that it reads, begin and end included; a tokenizer may state no length."""
        positions: int = self._encoder.module.config.max_position_embeddings
        stated: int = self._tokenizer.model_max_length
        return min(stated, positions)

    def __call__(self, texts: Sequence[str | None], masks_padding: bool = False) -> Any:
        """The encoder's output with all hidden states, where it computes; None is encoded as the
        empty text."""
        tokens = tokenize(self._tokenizer, texts, self.window, self._encoder.device)
        mask = tokens.attention_mask if masks_padding else None
        return self._encoder.module(
            tokens.input_ids, attention_mask=mask, output_hidden_states=True
        )

    def overflow(self, text: str) -> str:
        """The end of the text that the window would cut off; empty where it fits."""
        return overflow(self._tokenizer, text, self.window)

    def spans(self, text: str) -> list[Span]:
        """The characters of the text that each token of the window stands for."""
        return spans(self._tokenizer, text, self.window)


class ClipText(TextAbility):
    """CLIP's last hidden states as the network's condition, key ``text``.

    Args:
        device: where the condition goes.
    """

    joins_windows = True

    def __init__(self, encoder: Part, tokenizer: Any, device: torch.device) -> None:
        self._clip = ClipEncoder(encoder, tokenizer)
        self._masks_padding = bool(encoder.module.config.to_dict().get("use_attention_mask"))
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) hidden states."""
        states = self._clip(texts, self._masks_padding).last_hidden_state
        return {"text": states.to(self._device)}

    def overflow(self, text: str) -> str:
        return self._clip.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        return {"text": self._clip.spans(text)}


class ClipTexts(TextAbility):
    """Hidden states of one or several CLIP encoders side by side, and the last one's summary.

    All read the same text; each gives the states before its last layer (Podell et al. 2023,
    arXiv:2307.01952, Section 2.1).

    Args:
        zeros_for_none: where nothing was said the condition is zero, not that of an empty text.
        device: where the condition goes.
    """

    joins_windows = True

    def __init__(
        self, encoders: Sequence[ClipEncoder], zeros_for_none: bool, device: torch.device
    ) -> None:
        self._encoders = encoders
        self._zeros_for_none = zeros_for_none
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """``text`` (texts, window, sum of widths) and ``pooled`` (texts, projection)."""
        import torch

        outputs = [encoder(texts) for encoder in self._encoders]
        states = [output.hidden_states[-2].to(self._device) for output in outputs]
        condition = {
            "text": torch.cat(states, dim=-1),
            "pooled": outputs[-1].text_embeds.to(self._device),
        }
        silent = [i for i, text in enumerate(texts) if text is None and self._zeros_for_none]
        for value in condition.values():
            value[silent] = 0
        return condition

    def overflow(self, text: str) -> str:
        """What at least one encoder would not see."""
        return max((encoder.overflow(text) for encoder in self._encoders), key=len)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        """All encoders' tokens are the same."""
        return {"text": self._encoders[0].spans(text)}
