"""The text encoder of LTX-2, as it writes prompts out."""

from __future__ import annotations

from typing import Any

from ldm_core.contracts import Part
from ldm_plugins.families.shared.prompt_writer import PromptWriter

TEMPERATURE = 0.7


def prompt_writer(encoder: Part, tokenizer: Any) -> PromptWriter:
    """Gemma, told by a person what to do (Lightricks 2026, LTX-2's ``enhance_t2v``)."""
    return PromptWriter(encoder, tokenizer, _messages, TEMPERATURE, _cleaned, marked_again=True)


def _messages(prompt: str, system: str) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": f"user prompt: {prompt}"},
    ]


def _cleaned(answer: str) -> str:
    """An answer without the marks before its first letter, its quotation marks plain."""
    from diffusers.pipelines.ltx2.prompt_enhancement import clean_response

    text: str = clean_response(answer)
    return text
