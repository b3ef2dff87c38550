"""Language models as text encoders: what a transformer that was made to write knows of a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, Part
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.errors import LdmError
from ldm_core.model.reading import read_json
from ldm_plugins.families.shared import tokens
from ldm_plugins.families.shared.template_text import PROBE, check_says, in_template
from ldm_plugins.families.shared.tokenizer_files import CONFIG

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MARK = "\0"
"""A text that stands in no template."""
TEMPLATE = "chat_template.jinja"


class LanguageModel:
    """Hidden states of a window of tokens, padded on the right, where the encoder computes.

    Args:
        window: tokens that are read.
        template: puts what a family puts around a text.
        last: take the states behind the last block and its norm; else those before the last block.
        kept: keep the first token and so many less one at the window's end; all where None.
    """

    def __init__(
        self,
        encoder: Part,
        tokenizer: Any,
        window: int,
        *,
        template: Callable[[str], str] = str,
        last: bool = False,
        kept: int | None = None,
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._window = window
        self._template = template
        self._last = last
        self._kept = kept
        self._start = template(MARK).index(MARK)

    def states(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """(texts, window, width), attending the words alone, and their mask (texts, window)."""
        import torch

        wrapped = [self._template(text or "") for text in texts]
        read = tokens.tokenize(
            self._tokenizer, wrapped, self._window, self._encoder.device, "right"
        )
        mask: Tensor = read.attention_mask
        output = self._encoder.module(
            read.input_ids,
            attention_mask=mask,
            output_hidden_states=not self._last,
            use_cache=False,
        )
        states: Tensor = output.last_hidden_state if self._last else output.hidden_states[-2]
        if self._kept is None:
            return states, mask
        rest = 1 - self._kept
        kept, kept_mask = (torch.cat([v[:, :1], v[:, rest:]], dim=1) for v in (states, mask))
        return kept, kept_mask

    def windowed(self, length: int) -> LanguageModel:
        """The same encoder, of another window."""
        other = copy(self)
        other._window = length
        return other

    def overflow(self, text: str) -> str:
        """The end of the text that the window cuts off, what stands around it apart."""
        whole = self._template(text)
        behind = len(whole) - self._start - len(text)
        if tokens.cut(self._tokenizer, whole, self._window) >= len(whole) - behind:
            return ""
        lost = len(tokens.overflow(self._tokenizer, whole, self._window)) - behind
        return text[max(len(text) - lost, 0) :]

    def spans(self, text: str) -> list[Span] | None:
        """The characters of the text that each token of the window stands for; None where they
        cannot be told, as the template changes the text."""
        whole, count = self._template(text), len(text)
        if whole[self._start : self._start + count] != text:
            return None
        spans = []
        for span in tokens.spans(self._tokenizer, whole, self._window, "right"):
            start, end = (min(max(place - self._start, 0), count) for place in span)
            spans.append((start, end) if start < end else (0, 0))
        return spans if self._kept is None else [spans[0], *spans[1 - self._kept :]]


class LanguageModelText(TextAbility):
    """A language model's states, key ``text``, and which of them are words, key ``text_mask``.

    Args:
        device: where the condition goes.
        negative: encodes what guidance leads away from; the model where None.
        plain: what is made of a text first, such as small letters; it keeps its length but at its
            ends, where it may take spaces away.
    """

    any_length = frozenset({"text", "text_mask"})

    def __init__(
        self,
        model: LanguageModel,
        device: torch.device,
        negative: LanguageModel | None = None,
        plain: Callable[[str], str] = str,
    ) -> None:
        self._model = model
        self._device = device
        self._negative = negative
        self._plain = plain

    def for_negative(self) -> TextAbility:
        if self._negative is None:
            return self
        return LanguageModelText(self._negative, self._device, plain=self._plain)

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, window)."""
        states, mask = self._model.states([self._plain(text or "") for text in texts])
        return {"text": states.to(self._device), "text_mask": mask.to(self._device)}

    def windowed(self, length: int) -> TextAbility:
        """Of a model that keeps all of its window, and a negative text that is read as others."""
        return LanguageModelText(self._model.windowed(length), self._device, plain=self._plain)

    def overflow(self, text: str) -> str:
        return self._model.overflow(self._plain(text))

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]] | None:
        spans = self._model.spans(self._plain(text))
        if spans is None:
            return None
        ahead = len(text) - len(text.lstrip()) if self._plain(text) != text else 0
        return {"text": [(start + ahead, end + ahead) for start, end in spans]}


def chat_template(tokenizer: Any) -> Callable[[str], str]:
    """What makes a text what a person says to the model, which is to answer: the tokenizer's own
    template, which Transformers runs in a sandbox.

    Raises:
        LdmError: it is damaged.
    """

    def wrapped(text: str) -> str:
        said = [{"role": "user", "content": text}]
        return in_template(tokenizer, said, add_generation_prompt=True, enable_thinking=True)

    check_says(wrapped(PROBE))
    return wrapped


def check_chat_template(folder: Path) -> None:
    """See that a tokenizer has a template of a talk.

    Raises:
        LdmError: it has none.
    """
    if (folder / TEMPLATE).is_file() or read_json(folder / CONFIG).get("chat_template"):
        return
    raise LdmError(
        f"{folder} has no template of a talk: neither {TEMPLATE} nor 'chat_template' in {CONFIG}.",
        "copy or download it again.",
    )
