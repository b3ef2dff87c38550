"""Prompts that a family's own text model writes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Part
from ldm_plugins.families.shared.template_text import in_template
from ldm_plugins.families.shared.tokens import ONE_AT_A_TIME

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class PromptWriter:
    """Writes a prompt out as a language model answers to it, by Transformers' ``generate``.

    Each next token is drawn as ``generate`` draws it with its ``do_sample``, by numbers from a
    generator of the prompt's own, so that nothing else that runs has a part in it.

    Args:
        messages: ``messages(prompt, system)``, the conversation to whose last message the answer is
            the prompt.
        temperature: the one that its authors take.
        cleaned: what of an answer is the prompt.
        marked_again: before the mark with which the conversation begins stands another, as in what
            its authors run.
    """

    def __init__(
        self,
        encoder: Part,
        tokenizer: Any,
        messages: Callable[[str, str], list[dict[str, Any]]],
        temperature: float,
        cleaned: Callable[[str], str] = str,
        marked_again: bool = False,
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._messages = messages
        self.temperature = temperature
        self._cleaned = cleaned
        self._marked_again = marked_again

    def write(
        self, prompt: str, seed: int, temperature: float, tokens: int, system: str = ""
    ) -> str:
        """What the model answers, without the marks of its conversation."""
        import torch
        from transformers import LogitsProcessorList, TemperatureLogitsWarper

        messages = self._messages(prompt, system)
        whole = in_template(self._tokenizer, messages, add_generation_prompt=True)
        bos = self._tokenizer.bos_token
        marked = bos is not None and whole.startswith(bos)
        with ONE_AT_A_TIME:
            read = self._tokenizer(
                [whole],
                return_tensors="pt",
                add_special_tokens=self._marked_again or not marked,
            )
        device, module = self._encoder.device, self._encoder.module
        steps = [*_truncating(module.generation_config)]
        drawn = _Drawn(torch.Generator().manual_seed(seed))
        answer = module.generate(
            input_ids=read.input_ids.to(device),
            attention_mask=read.attention_mask.to(device),
            max_new_tokens=tokens,
            do_sample=False,  # it is drawn by the last of these
            temperature=None,
            top_k=None,
            top_p=None,
            pad_token_id=self._tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList(
                [TemperatureLogitsWarper(temperature), *steps, drawn]
            ),
            use_cache=True,
        )
        said = answer[0, read.input_ids.shape[1] :]
        text: str = self._tokenizer.decode(said, skip_special_tokens=True)
        return self._cleaned(text)


def _truncating(config: Any) -> list[Any]:
    """What leaves unlikely tokens out, as a model's generation config says and ``generate`` where
    it says nothing."""
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    top_k = 50 if config.top_k is None else config.top_k
    steps: list[Any] = [TopKLogitsWarper(top_k)] if top_k else []
    if config.top_p is not None and config.top_p < 1:
        steps.append(TopPLogitsWarper(config.top_p))
    return steps


class _Drawn:
    """Scores of which the largest is that of a token drawn by their softmax: probabilities over
    exponential numbers, as `torch.multinomial` draws one of them."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        import torch

        probabilities = scores.float().softmax(-1)
        numbers = torch.empty(probabilities.shape).exponential_(1, generator=self._generator)
        return probabilities / numbers.to(probabilities.device)
