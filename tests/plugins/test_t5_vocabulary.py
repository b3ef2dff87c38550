"""T5's own vocabulary file, as PixArt's folders have it, read without a tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path

import sentencepiece

from ldm_plugins.families.shared.t5_text import check_tokenizer
from ldm_plugins.shared.classes import find_class


def test_a_sentencepiece_vocabulary_gives_its_own_tokens(tmp_path: Path) -> None:
    words = [
        "a",
        "red",
        "star",
        "on",
        "the",
        "blue",
        "circle",
        "green",
        "square",
        "large",
        "small",
        "yellow",
        "background",
    ]
    lines = [" ".join([*words[i:], *words[:i]]) for i in range(len(words))]
    (tmp_path / "text.txt").write_text("\n".join(lines * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}
    special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, **special}))
    check_tokenizer(tmp_path)
    found = find_class("T5Tokenizer").from_pretrained(tmp_path, local_files_only=True)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    text = "a large red star on the blue circle"
    assert found(text).input_ids == [*theirs.encode(text), theirs.eos_id()]
