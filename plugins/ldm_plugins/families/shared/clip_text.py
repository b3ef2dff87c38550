"""CLIP text encoders with their tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ldm_core.contracts.family import Condition
from ldm_plugins.families.shared.tokens import overflow, spans, tokenize


class ClipEncoder:
    """One CLIP text encoder with its tokenizer; texts are padded and cut to its window."""

    def __init__(self, text_encoder: Any, tokenizer: Any) -> None:
        self._encoder = text_encoder
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str | None], masks_padding: bool = False) -> Any:
        """The encoder's output with all hidden states; None is encoded as the empty text."""
        window = self._tokenizer.model_max_length
        tokens = tokenize(self._tokenizer, texts, window, self._encoder.device)
        mask = tokens.attention_mask if masks_padding else None
        return self._encoder(tokens.input_ids, attention_mask=mask, output_hidden_states=True)

    def overflow(self, text: str) -> str:
        """The end of the text that the window would cut off; empty where it fits."""
        return overflow(self._tokenizer, text, self._tokenizer.model_max_length)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters of the text that each token of the window stands for."""
        return spans(self._tokenizer, text, self._tokenizer.model_max_length)


class ClipText:
    """CLIP's last hidden states as the network's condition, key ``text``."""

    side_by_side = True

    def __init__(self, text_encoder: Any, tokenizer: Any) -> None:
        self._clip = ClipEncoder(text_encoder, tokenizer)
        self._masks_padding = bool(getattr(text_encoder.config, "use_attention_mask", False))

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) hidden states."""
        return {"text": self._clip(texts, self._masks_padding).last_hidden_state}

    def overflow(self, text: str) -> str:
        return self._clip.overflow(text)

    def tokens(self, text: str) -> Mapping[str, Sequence[tuple[int, int]]]:
        return {"text": self._clip.spans(text)}


class ClipTexts:
    """Hidden states of one or several CLIP encoders side by side, and the last one's summary.

    All read the same text; each gives the states before its last layer (Podell et al. 2023,
    arXiv:2307.01952, Section 2.1).

    Args:
        zeros_for_none: where nothing was said the condition is zero, not that of an empty text.
    """

    side_by_side = True

    def __init__(self, encoders: Sequence[ClipEncoder], zeros_for_none: bool) -> None:
        self._encoders = encoders
        self._zeros_for_none = zeros_for_none

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """``text`` (texts, window, sum of widths) and ``pooled`` (texts, projection)."""
        import torch

        outputs = [encoder(texts) for encoder in self._encoders]
        found = {
            "text": torch.cat([output.hidden_states[-2] for output in outputs], dim=-1),
            "pooled": outputs[-1].text_embeds,
        }
        silent = [i for i, text in enumerate(texts) if text is None and self._zeros_for_none]
        for value in found.values():
            value[silent] = 0
        return found

    def overflow(self, text: str) -> str:
        """What at least one encoder would not see."""
        return max((encoder.overflow(text) for encoder in self._encoders), key=len)

    def tokens(self, text: str) -> Mapping[str, Sequence[tuple[int, int]]]:
        """All encoders' tokens are the same."""
        return {"text": self._encoders[0].spans(text)}
