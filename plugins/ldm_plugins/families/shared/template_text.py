"""Language models as text encoders, which read a prompt as what a person says to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, Part
from ldm_core.contracts.abilities import Span, TextAbility
from ldm_core.errors import LdmError
from ldm_plugins.families.shared.tokens import ONE_AT_A_TIME

if TYPE_CHECKING:
    import torch

Messages = Callable[[str], list[dict[str, Any]]]
PROBE = "a star"
"""Words by which a template is tried."""
WRONG = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What a template's expressions raise beside the errors of Jinja."""


def in_template(tokenizer: Any, messages: list[dict[str, Any]], **options: Any) -> str:
    """A conversation in the words of a tokenizer's template.

    Raises:
        LdmError: the template is damaged.
    """
    from jinja2 import TemplateError

    try:
        whole: str = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except (TemplateError, *WRONG) as error:
        raise LdmError(
            "the tokenizer's template of conversations (chat_template) makes no words of a prompt: "
            f"{type(error).__name__}: {error}.",
            "its file is of another model, or damaged.",
        ) from error
    return whole


def check_says(whole: str) -> None:
    """See that a prompt is among the words around it, of the words that are `PROBE`.

    Raises:
        LdmError: the template leaves it out.
    """
    if PROBE not in whole:
        raise LdmError(
            "the tokenizer's template of conversations (chat_template) leaves the prompt out.",
            "its file is of another model, or damaged.",
        )


class TemplateText(TextAbility):
    """The states of some of a language model's layers side by side, key ``text``, of a prompt in
    the words around it that its tokenizer has for a conversation.

    Args:
        layers: whose states are taken, 0 being what goes into the first.
        messages: the conversation in which a text is the last that is said.
        options: of the tokenizer's template.
        window: tokens that the network takes.
        device: where the condition goes.
    Raises:
        LdmError: the tokenizer has no template.
    """

    any_length = frozenset({"text"})

    def __init__(
        self,
        encoder: Part,
        tokenizer: Any,
        layers: Sequence[int],
        messages: Messages,
        options: Mapping[str, Any],
        window: int,
        device: torch.device,
    ) -> None:
        if not tokenizer.chat_template:
            raise LdmError(
                "the tokenizer has no template of conversations (chat_template), in whose words "
                "the text encoder reads a prompt."
            )
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._layers = layers
        self._messages = messages
        self._options = options
        self._window = window
        self._device = device
        check_says(self._whole(PROBE))

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, layers · width), the padding's states among them."""
        import torch

        tokens = self._tokens([self._whole(text or "") for text in texts], return_tensors="pt")
        device = self._encoder.device
        states = self._encoder.module(
            input_ids=tokens.input_ids.to(device),
            attention_mask=tokens.attention_mask.to(device),
            output_hidden_states=True,
            use_cache=False,
            logits_to_keep=1,  # what it would say is not asked for
        ).hidden_states
        chosen = [states[layer] for layer in self._layers]
        return {"text": torch.cat(chosen, dim=-1).to(self._device)}

    def windowed(self, length: int) -> TextAbility:
        other = copy(self)
        other._window = length
        return other

    def overflow(self, text: str) -> str:
        whole = self._whole(text)
        with ONE_AT_A_TIME:
            tokens = self._tokenizer(
                whole,
                truncation=False,
                verbose=False,
                return_offsets_mapping=True,
                add_special_tokens=self._adds_special(whole),
            )
        if len(tokens.input_ids) <= self._window:
            return ""
        cut = tokens.offset_mapping[self._window - 1][1] - self._start(whole, text)
        return text[max(cut, 0) :]

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        whole = self._whole(text)
        start, length = self._start(whole, text), len(text)
        spans = self._tokens([whole], return_offsets_mapping=True).offset_mapping[0]
        inside = ((max(a - start, 0), min(b - start, length)) for a, b in spans)
        return {"text": [(a, b) if a < b else (0, 0) for a, b in inside]}

    def _whole(self, text: str) -> str:
        """A text in the words around it."""
        messages = self._messages(text)
        return in_template(self._tokenizer, messages, **self._options)

    def _start(self, whole: str, text: str) -> int:
        """Where a text begins in the words around it, which may leave out spaces at its ends."""
        return whole.rfind(text.strip()) - (len(text) - len(text.lstrip()))

    def _adds_special(self, whole: str) -> bool:
        bos = self._tokenizer.bos_token
        return bos is None or not whole.startswith(bos)

    def _tokens(self, wholes: Sequence[str], **more: Any) -> Any:
        with ONE_AT_A_TIME:
            return self._tokenizer(
                list(wholes),
                padding="max_length",
                max_length=self._window,
                truncation=True,
                add_special_tokens=self._adds_special(wholes[0]),
                **more,
            )
