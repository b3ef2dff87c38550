"""T5's encoder as a text encoder (Raffel et al. 2020, arXiv:1910.10683)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Part
from ldm_core.contracts.abilities import Span
from ldm_core.errors import LdmError
from ldm_plugins.families.shared import tokens
from ldm_plugins.families.shared.tokenizer_files import check_files

if TYPE_CHECKING:
    from torch import Tensor


def check_tokenizer(folder: Path) -> None:
    """See that a T5 tokenizer's vocabulary is there, in a form that can be read here.

    Raises:
        LdmError: it is missing, or packages that read it are.
    """
    check_files(folder, "T5Tokenizer")
    if (folder / "tokenizer.json").is_file():
        return
    check_sentencepiece(folder / "spiece.model")


def check_sentencepiece(file: Path) -> None:
    """See that a vocabulary of SentencePiece can be read here.

    Raises:
        LdmError: packages that read it are missing.
    """
    modules = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
    missing = [package for package, module in modules.items() if not _installed(module)]
    if missing:
        raise LdmError(
            f"{file} can only be read with {' and '.join(missing)}, which "
            f"{'are' if len(missing) > 1 else 'is'} not installed.",
            "`pip install 'ldm-core[t5]'`",
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it lies in
        return False


class T5Text:
    """Last hidden states of a window of tokens, where the encoder computes.

    Args:
        window: tokens that the network takes; T5 itself has no limit.
    """

    def __init__(self, encoder: Part, tokenizer: Any, window: int) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._window = window

    def states(self, texts: Sequence[str | None]) -> Tensor:
        """(texts, window, width), the padding attended like the words."""
        states: Tensor = self._encoder.module(self._tokens(texts).input_ids)[0]
        return states

    def states_and_mask(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """(texts, window, width), the padding attended like the words, and which are words
        (texts, window)."""
        window = self._tokens(texts)
        return self._encoder.module(window.input_ids)[0], window.attention_mask

    def masked_states(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """(texts, window, width), attending the words alone, and their mask (texts, window)."""
        window = self._tokens(texts)
        mask = window.attention_mask
        return self._encoder.module(window.input_ids, attention_mask=mask)[0], mask

    def windowed(self, length: int) -> T5Text:
        """The same encoder, of another window."""
        return T5Text(self._encoder, self._tokenizer, length)

    def overflow(self, text: str) -> str:
        return tokens.overflow(self._tokenizer, text, self._window)

    def spans(self, text: str) -> list[Span]:
        """The characters of the text that each token of the window stands for."""
        return tokens.spans(self._tokenizer, text, self._window)

    def _tokens(self, texts: Sequence[str | None]) -> Any:
        return tokens.tokenize(self._tokenizer, texts, self._window, self._encoder.device)
