"""What a text encoder gave, in place of prompts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    Input,
    ModelInfo,
    Request,
    Run,
    Unequal,
    concatenate,
)
from ldm_core.contracts.abilities import TextAbility
from ldm_core.contracts.sound_abilities import SoundTextAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.calls import shapes
from ldm_plugins.conditioning.shared.pictures import different
from ldm_plugins.conditioning.shared.tensors import read_tensor, read_tensors

if TYPE_CHECKING:
    from torch import Tensor

TEXT, POOLED = "text", "pooled"
"""The keys of a condition that Diffusers calls prompt_embeds and pooled_prompt_embeds."""

SOUND_TEXT = "sound_text"
SOUND_TOKENS = frozenset({"text", "text_mask"})
"""Of that ability's condition, what is as long as the text."""


def _input(default: Any, of: str) -> Input:
    kind: Any = Path if default is REQUIRED else Path | None
    return Input(kind, default, help=f"{of}: a .safetensors file")


def prompt_embeds() -> Conditioning:
    """What the network is told of a text, computed before, in place of the prompts of ``text``.

    Reads, for each image, ``prompt_embeds`` (tokens, width) and, where the network is told
    something of the text as a whole, ``pooled_prompt_embeds`` (width); ``negative_prompt_embeds``
    and ``negative_pooled_prompt_embeds`` are what guidance leads away from, the empty text where
    they are left out. Tensors, or safetensors files, which alone can be named in a manifest. A file
    or a table of tensors may hold all that a network is told of a text, by the keys of its
    condition: ``text``, ``pooled``, and what else its family has, such as a mask; a single tensor
    of another name is the states. The number of tokens is any where the family says so
    (`TextAbility.any_length`), and else that of its window.
    """
    return PromptEmbeds()


@dataclass(frozen=True)
class PromptEmbeds(Conditioning):
    """
    Attributes:
        replaced: the ability whose place it takes.
    """

    replaced: str = "text"
    inputs: ClassVar[Mapping[str, Input]] = {
        "prompt_embeds": _input(REQUIRED, "the text encoder's states"),
        "pooled_prompt_embeds": _input(None, "what it says of the text as a whole"),
        "negative_prompt_embeds": _input(None, "its states of what guidance leads away from"),
        "negative_pooled_prompt_embeds": _input(None, "what it says of that as a whole"),
    }

    @property
    def ability(self) -> str:
        return self.replaced

    def fit(self, info: ModelInfo) -> PromptEmbeds:
        sounds = SOUND_TEXT in info.abilities and "text" not in info.abilities
        return replace(self, replaced=SOUND_TEXT) if sounds else self

    def check(self, request: Request) -> None:
        for name in self.inputs:
            for (value,) in different(request.inputs[name]):
                if value is not None and len(read_tensors(name, value)) == 0:
                    raise LdmError(f"the {name} holds no tensor.")
        pairs = zip(
            request.inputs["negative_prompt_embeds"],
            request.inputs["negative_pooled_prompt_embeds"],
            strict=True,
        )
        if any(states is None and pooled is not None for states, pooled in pairs):
            raise LdmError(
                "negative_pooled_prompt_embeds are given and no negative_prompt_embeds; the "
                "network would be told two texts."
            )

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        rows = self._rows(run, "")
        away = self._rows(run, "negative_", rows) if "negative" in branches else rows
        return {branch: _joined(away if branch == "negative" else rows) for branch in branches}

    def _rows(self, run: Run, start: str, likes: Sequence[Condition] = ()) -> list[Condition]:
        """The condition of each image, of a single row.

        Args:
            likes: of negative ones, those of the prompts.
        """
        names = (f"{start}prompt_embeds", f"{start}pooled_prompt_embeds")
        pairs = list(zip(*(run.request.inputs[name] for name in names), strict=True))
        if self.replaced == SOUND_TEXT:
            sound: SoundTextAbility = run.model.abilities[SOUND_TEXT]
            ones: Sequence[Condition | None] = likes or [None] * len(pairs)
            empties = [sound.encode("", like) for like in ones]
            free: Collection[str] = SOUND_TOKENS
        else:
            ability: TextAbility = run.model.abilities["text"]
            reading = ability.for_negative() if start else ability
            encoded, free = reading.encode([None]), reading.any_length
            empties = [encoded.each[0] if isinstance(encoded, Unequal) else encoded] * len(pairs)
        return [
            empty if states is None else _row(names, states, pooled, empty, free)
            for (states, pooled), empty in zip(pairs, empties, strict=True)
        ]


def _joined(rows: Sequence[Condition]) -> Condition | Unequal:
    if len({shapes(row) for row in rows}) > 1:
        return Unequal(tuple(rows))
    return rows[0] if len(rows) == 1 else concatenate(rows)


def _told(name: str, value: Any, keys: Collection[str]) -> dict[str, Tensor]:
    """Tensors by the keys of a condition; a single one that has none of their names is the
    states, or what else alone the network is told."""
    tensors = read_tensors(name, value)
    if len(tensors) != 1 or tensors.keys() <= set(keys):
        return tensors
    (only,) = keys if len(keys) == 1 else (TEXT,)
    return dict(zip([only], tensors.values(), strict=True))


def _row(
    names: tuple[str, str], states: Any, pooled: Any, empty: Condition, free: Collection[str]
) -> Condition:
    """The condition of a single row, seen to be as the empty text's.

    Args:
        free: the keys of which the number of tokens is any.

    Raises:
        LdmError: something is missing, is too much, or has another width or length.
    """
    told = _told(names[0], states, empty)
    if pooled is not None:
        if POOLED in told:
            raise LdmError(f"the {names[0]} hold '{POOLED}' already; leave out {names[1]}.")
        told[POOLED] = read_tensor(names[1], pooled)
    missing, strange = empty.keys() - told.keys(), told.keys() - empty.keys()
    if missing:
        more = f"; give {names[1]}" if POOLED in missing else ""
        raise LdmError(
            f"this model's network is told {_words(empty)} of a text, and the {names[0]} lack "
            f"{_words(missing)}{more}."
        )
    if strange:
        raise LdmError(
            f"this model's network is told {_words(empty)} of a text, and not {_words(strange)}."
        )
    row = {key: _fitting(names, key, told[key], own, key in free) for key, own in empty.items()}
    lengths = {key: row[key].shape[1] for key in row if key in free}
    if len(set(lengths.values())) > 1:
        each = " and ".join(f"{length} for '{key}'" for key, length in lengths.items())
        raise LdmError(f"the {names[0]} of one image are of a different number of tokens: {each}.")
    return row


def _fitting(names: tuple[str, str], key: str, value: Tensor, own: Tensor, free: bool) -> Tensor:
    """A tensor of one image as a row of what the network takes.

    Args:
        free: the number of its tokens, dimension 1 of the row, is any but 0.
    """
    name = names[1] if key == POOLED else names[0]
    row = value if value.ndim == own.ndim and len(value) == 1 else value[None]
    kept = slice(2 if free else 1, None)
    if row.ndim != own.ndim or row.shape[kept] != own.shape[kept] or 0 in row.shape:
        shape = ["tokens" if free else own.shape[1], *own.shape[2:]]
        raise LdmError(
            f"the {name} ('{key}') of one image should have the shape "
            f"({', '.join(map(str, shape))}), not {tuple(value.shape)}; give those of several "
            "images as a list."
        )
    return row.to(own.device, own.dtype)


def _words(keys: Any) -> str:
    return " and ".join(f"'{key}'" for key in sorted(keys))
