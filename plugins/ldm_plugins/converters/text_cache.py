"""Prompts that were encoded before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from ldm_core.contracts import Converter, Model, ModelInfo, Part, Phase, Place, PlaceNames
from ldm_core.errors import LdmError
from ldm_plugins.converters.shared.kept_texts import KeptTexts

NAME = "text_cache"


def text_cache(*, mebibytes: Annotated[int, Field(ge=1)] = 256) -> Converter:
    """Encode equal prompts once in the life of a pipeline, such as the empty negative prompt of
    all batches of a job.

    A prompt that is new is encoded together with the others of its batch that are, as without;
    one that is not has the states that it had then. Where the encoder sees the reference pictures
    too, equal prompts beside equal pictures are. A pipeline with other LoRA has a cache of its own.

    Args:
        mebibytes: at most so much is kept; those that were used longest ago are forgotten.
    """
    return TextCache(mebibytes)


@dataclass(frozen=True)
class TextCache(Converter):
    mebibytes: int
    phase = Phase.CACHE
    lossless = True
    between_runs = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        if "text" not in info.abilities:
            reads = any(part.role == "text" for part in info.parts)
            why = "it encodes more than a text at once" if reads else "it reads no text"
            raise LdmError(
                f"the converter '{NAME}' does not fit the model '{info.source}' (family "
                f"{info.family}): {why}; leave it out."
            )
        return self

    def beside(self, others: Sequence[Converter]) -> None:
        if any(isinstance(other, TextCache) for other in others):
            raise LdmError(f"the converter '{NAME}' stands in the recipe twice; leave one out.")

    def convert(self, model: Model) -> Model:
        return self._with_cache(model, None)

    def _with_cache(self, model: Model, before: Model | None) -> Model:
        """The model whose text ability keeps what it encodes; so do those that are made of it,
        which go on with what is kept where they have the same text encoders.

        Args:
            before: the one that it was made of, with a cache already.
        """
        from torch import nn

        remake, text = model.remake, model.abilities["text"]
        kept = None
        if before is not None and _which(before) == _which(model):
            kept = before.abilities["text"]
        watched = [module for module in _encoders(model) if isinstance(module, nn.Module)]
        caching = KeptTexts(text, self.mebibytes * 2**20, watched, kept)
        cached = replace(model, abilities={**model.abilities, "text": caching})
        if remake is None:
            return cached

        def remade(parts: Mapping[str, Part], place: Place) -> Model:
            return self._with_cache(remake(parts, place), cached)

        return replace(cached, remake=remade)


def _encoders(model: Model) -> list[Any]:
    return [part.module for part in model.parts.values() if part.role == "text"]


def _which(model: Model) -> list[int]:
    """Which text encoders a model has; the model keeps them, so that no other is taken for one."""
    return [id(module) for module in _encoders(model)]
