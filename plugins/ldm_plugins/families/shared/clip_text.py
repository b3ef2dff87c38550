"""CLIP text encoders with their tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, Part
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.errors import LdmError
from ldm_plugins.families.shared.tokens import overflow, spans, tokenize

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ClipEncoder:
    """One CLIP text encoder with its tokenizer; texts are padded and cut to its window.

    Attributes:
        skip: so many of its last layers are left out of its states; not of its summary.
    """

    encoder: Part
    tokenizer: Any
    skip: int = 0

    @property
    def width(self) -> int:
        """Of its states."""
        width: int = self.encoder.module.config.hidden_size
        return width

    @property
    def summary(self) -> int:
        """The width of its projected summary."""
        width: int = self.encoder.module.config.projection_dim
        return width

    def skipping(self, layers: int, more: int = 0) -> ClipEncoder:
        """The encoder without its last layers.

        Args:
            more: that are left out anyway.
        Raises:
            LdmError: it has no so many.
        """
        most: int = self.encoder.module.config.num_hidden_layers - more
        if layers > most:
            raise LdmError(
                f"{layers} layers of the text encoder cannot be left out: at most {most} can."
            )
        return replace(self, skip=layers)

    def states(self, output: Any) -> Any:
        """What comes of its last layer that is not left out, as its final norm gives it."""
        if self.skip == 0:
            return output.last_hidden_state
        modules = self.encoder.module.named_modules()
        norm = next(module for name, module in modules if name.endswith("final_layer_norm"))
        return norm(output.hidden_states[-1 - self.skip])

    def penultimate(self, output: Any) -> Any:
        """What comes of the layer before the last that is not left out, without the norm."""
        return output.hidden_states[-2 - self.skip]

    @property
    def window(self) -> int:
        """Tokens that it reads, begin and end included; a tokenizer may state no length."""
        positions: int = self.encoder.module.config.max_position_embeddings
        stated: int = self.tokenizer.model_max_length
        return min(stated, positions)

    def __call__(self, texts: Sequence[str | None], masks_padding: bool = False) -> Any:
        """The encoder's output with all hidden states, where it computes; None is encoded as the
        empty text."""
        tokens = tokenize(self.tokenizer, texts, self.window, self.encoder.device)
        mask = tokens.attention_mask if masks_padding else None
        return self.encoder.module(tokens.input_ids, attention_mask=mask, output_hidden_states=True)

    def overflow(self, text: str) -> str:
        """The end of the text that the window would cut off; empty where it fits."""
        return overflow(self.tokenizer, text, self.window)

    def spans(self, text: str) -> list[Span]:
        """The characters of the text that each token of the window stands for."""
        return spans(self.tokenizer, text, self.window)


class ClipText(TextAbility):
    """CLIP's last hidden states as the network's condition, key ``text``.

    Args:
        device: where the condition goes.
    """

    joins_windows = True
    any_length = frozenset({"text"})

    def __init__(self, encoder: Part, tokenizer: Any, device: torch.device, skip: int = 0) -> None:
        self._clip = ClipEncoder(encoder, tokenizer).skipping(skip)
        self._masks_padding = bool(encoder.module.config.to_dict().get("use_attention_mask"))
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) hidden states."""
        states = self._clip.states(self._clip(texts, self._masks_padding))
        return {"text": states.to(self._device)}

    def skipping(self, layers: int) -> TextAbility:
        return ClipText(self._clip.encoder, self._clip.tokenizer, self._device, layers)

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
    any_length = frozenset({"text"})

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
        states = [
            encoder.penultimate(output).to(self._device)
            for encoder, output in zip(self._encoders, outputs, strict=True)
        ]
        condition = {
            "text": torch.cat(states, dim=-1),
            "pooled": outputs[-1].text_embeds.to(self._device),
        }
        silent = [i for i, text in enumerate(texts) if text is None and self._zeros_for_none]
        for value in condition.values():
            value[silent] = 0
        return condition

    def skipping(self, layers: int) -> TextAbility:
        encoders = [encoder.skipping(layers, more=1) for encoder in self._encoders]
        return ClipTexts(encoders, self._zeros_for_none, self._device)

    def joined(self, conditions: Sequence[Condition]) -> Condition:
        import torch

        states, end = [], 0
        for encoder, condition in zip(self._encoders, conditions, strict=True):
            start, end = end, end + encoder.width
            states.append(condition["text"][..., start:end])
        return {"text": torch.cat(states, dim=-1), "pooled": conditions[-1]["pooled"]}

    def overflow(self, text: str) -> str:
        """What at least one encoder would not see."""
        return max((encoder.overflow(text) for encoder in self._encoders), key=len)

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        """All encoders' tokens are the same."""
        return {"text": self._encoders[0].spans(text)}
