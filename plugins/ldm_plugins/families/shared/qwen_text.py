"""Qwen's language models as text encoders: a prompt is what a user says in a chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.contracts import Condition, Part, Unequal, concatenate
from ldm_core.contracts.abilities import TextAbility
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.tokens import ONE_AT_A_TIME

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Chat(NamedTuple):
    """What is said before and after a prompt.

    Attributes:
        before, after: the words around it.
        dropped: so many tokens at the head, which are those of ``before``, are not told the
            network.
        window: so many of the others it is told at most.
        kept: the last so many tokens of the window, which are those of ``after``, stay where the
            prompt is too long; where 0, they are cut off first.
    """

    before: str
    after: str
    dropped: int
    window: int
    kept: int = 0

    @property
    def longest(self) -> int:
        """The most tokens of a prompt with what is said before it."""
        return self.dropped + self.window - self.kept


QWEN_IMAGE = Chat(
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity,"
    " text, spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
    dropped=34,
    window=1024,
)
"""How Qwen-Image was trained (Wu et al. 2025, arXiv:2508.02324, Section 2.2, Figure 7)."""


class QwenText(TextAbility):
    """The hidden states of a causal language model, key ``text``.

    A caption has as many states as tokens: without padding, it does not matter how long the others
    of a batch are, and no attention needs a mask.

    Args:
        layers: those whose states are told, side by side in a dimension behind the tokens; the last
            one's alone where None.
        options: what the encoder is called with beside the tokens.
        device: where the condition goes.
    """

    any_length = frozenset({"text"})

    def __init__(
        self,
        encoder: Part,
        tokenizer: Any,
        chat: Chat,
        device: torch.device,
        layers: Sequence[int] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._chat = chat
        self._device = device
        self._layers = layers
        self._options = options or {}

    def encode(self, texts: Sequence[str | None]) -> Condition | Unequal:
        """(texts, tokens, width), or (texts, tokens, layers, width); where texts are of different
        length, each by itself."""
        return joined([{"text": self._states(text or "")} for text in texts])

    def overflow(self, text: str) -> str:
        head = self._tokenize(self._chat.before + text)
        if len(head.input_ids) <= self._chat.longest:
            return ""
        start: int = head.offset_mapping[self._chat.longest][0]
        return text[max(start - len(self._chat.before), 0) :]

    def _states(self, text: str) -> Tensor:
        """(1, tokens, ...) of one text."""
        chat = self._chat
        head = self._tokenize(chat.before + text).input_ids[: chat.longest]
        tail = self._tokenize(chat.after).input_ids
        return self._states_of([*head, *tail][: chat.dropped + chat.window])

    def _states_of(self, numbers: Sequence[int], **beside: Any) -> Tensor:
        """(1, tokens, ...) of so many tokens and the dropped ones.

        Args:
            beside: what the encoder is called with for them.
        """
        import torch

        ids = torch.tensor([numbers], device=self._encoder.device)
        output = self._encoder.module(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            output_hidden_states=True,
            use_cache=False,
            **self._options,
            **beside,
        )
        states = output.hidden_states
        if self._layers is None:
            chosen: Tensor = states[-1]
        else:
            chosen = torch.stack([states[layer] for layer in self._layers], dim=2)
        return chosen[:, self._chat.dropped :].to(self._device)

    def _tokenize(self, text: str) -> Any:
        with ONE_AT_A_TIME:
            return self._tokenizer(
                text,
                padding=False,
                truncation=False,
                verbose=False,
                return_offsets_mapping=True,
            )


def joined(rows: Sequence[Condition]) -> Condition | Unequal:
    """The conditions of images, of a single row each, as one where they are of the same shapes."""
    if len({frozenset((key, row[key].shape) for key in row) for row in rows}) > 1:
        return Unequal(tuple(rows))
    return concatenate(rows)


def text_config(folder: Folder, component: str) -> Mapping[str, Any]:
    """What the config of a model of language and pictures says of language: in a table of its own,
    or, as older versions of Transformers wrote it, beside the rest."""
    config = folder.config(component)
    table = config.get("text_config")
    return table if isinstance(table, Mapping) else config
