"""A `CLIPTokenizer` whose vocabulary is a list of whole words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

BEGIN, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|unknown|>"
SPECIAL = (BEGIN, END, UNKNOWN)
SUFFIX = "</w>"  # marks a word's end in CLIP's byte-pair encoding


def words_of(texts: Iterable[str]) -> list[str]:
    """Every word of the texts as CLIP's tokenizer splits them (lower case, byte level), sorted."""
    from transformers import CLIPTokenizer

    backend = CLIPTokenizer().backend_tokenizer
    words = set()
    for text in set(texts):
        pieces = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        words |= {piece for piece, _ in pieces}
    return sorted(words)


def build_tokenizer(words: Iterable[str], max_length: int) -> Any:
    """A tokenizer that gives each of `words` one token.

    Byte-pair encoding reaches a word by joining letters; the fragments on the way follow the words
    in the vocabulary. Words outside the vocabulary come out as fragments, or as the unknown token
    where a letter was never seen.

    Args:
        words: as `words_of` gives them, in the order of their token numbers.
        max_length: tokens of a caption, begin and end included.
    """
    from transformers import CLIPTokenizer

    words = list(dict.fromkeys(words))
    merges, fragments = word_merges(words)
    tokens = [*SPECIAL, *(w + SUFFIX for w in words), *fragments]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=END,
        model_max_length=max_length,
    )


def word_merges(words: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Joins that turn each word into one token, in order, and all fragments on the way.

    Byte-pair encoding learnt to the end (Sennrich et al. 2016, arXiv:1508.07909, Algorithm 1):
    join the commonest neighbours in every word until each word is one piece. Joins are applied
    in the order in which they were learnt, so no word can take a wrong turn.
    """
    pieces = [[*word[:-1], word[-1] + SUFFIX] for word in dict.fromkeys(words)]
    fragments = dict.fromkeys(piece for word in pieces for piece in word)
    merges = []
    while pairs := Counter(pair for word in pieces for pair in pairwise(word)):
        best = max(pairs, key=pairs.__getitem__)
        merges.append(best)
        fragments["".join(best)] = None
        pieces = [_join(word, best) for word in pieces]
    return merges, list(fragments)


def _join(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    word: list[str] = []
    for piece in pieces:
        if word and (word[-1], piece) == pair:
            word[-1] += piece
        else:
            word.append(piece)
    return word


def first_fragment(words: Iterable[str]) -> int:
    """The number of tokens with a meaning: special ones and whole words come first."""
    return len(SPECIAL) + len(set(words))
