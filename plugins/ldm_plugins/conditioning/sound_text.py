"""Prompts of sounds whose negative prompts are read as long as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ldm_core.contracts import Condition, Conditioning, Input, Request, Run, Unequal, concatenate
from ldm_core.contracts.sound_abilities import SoundTextAbility
from ldm_plugins.conditioning.shared.calls import shapes
from ldm_plugins.conditioning.text import INPUTS, Text


def sound_text() -> Conditioning:
    """A prompt and a negative prompt for each sound, of models whose text encoders read the
    negative prompt in as many tokens as the prompt has (AudioLDM 2, Liu et al. 2023,
    arXiv:2308.05734). Words have no weights."""
    return SoundText()


class SoundText(Conditioning):
    @property
    def ability(self) -> str:
        return "sound_text"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS

    def check(self, request: Request) -> None:
        Text("warn", weights=False).check(request)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        ability: SoundTextAbility = run.model.abilities["sound_text"]
        inputs = run.request.inputs
        rows = [ability.encode(text) for text in inputs["prompt"]]
        pairs = zip(inputs["negative_prompt"], rows, strict=True)
        away = (
            [ability.encode(text or "", row) for text, row in pairs]
            if "negative" in branches
            else []
        )
        return {branch: _joined(away if branch == "negative" else rows) for branch in branches}


def _joined(rows: Sequence[Condition]) -> Condition | Unequal:
    return Unequal(tuple(rows)) if len({shapes(row) for row in rows}) > 1 else concatenate(rows)
