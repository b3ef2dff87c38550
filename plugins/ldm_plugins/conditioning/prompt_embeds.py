"""What a text encoder gave, in place of prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    Input,
    Request,
    Run,
    Unequal,
    concatenate,
)
from ldm_core.contracts.abilities import TextAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.calls import shapes
from ldm_plugins.conditioning.shared.pictures import different
from ldm_plugins.conditioning.shared.tensors import read_tensor, read_tensors

if TYPE_CHECKING:
    from torch import Tensor

TEXT, POOLED = "text", "pooled"
"""The keys of a condition that Diffusers calls prompt_embeds and pooled_prompt_embeds."""


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
    condition: ``text``, ``pooled``, and what else its family has, such as a mask. The number of
    tokens is any where the family says so (`TextAbility.any_length`), and else that of its window.
    """
    return PromptEmbeds()


@dataclass(frozen=True)
class PromptEmbeds(Conditioning):
    inputs: ClassVar[Mapping[str, Input]] = {
        "prompt_embeds": _input(REQUIRED, "the text encoder's states"),
        "pooled_prompt_embeds": _input(None, "what it says of the text as a whole"),
        "negative_prompt_embeds": _input(None, "its states of what guidance leads away from"),
        "negative_pooled_prompt_embeds": _input(None, "what it says of that as a whole"),
    }

    @property
    def ability(self) -> str:
        return "text"

    def check(self, request: Request) -> None:
        for name in self.inputs:
            for (value,) in different(request.inputs[name]):
                if value is not None:
                    read_tensors(name, value)
        for name in ("prompt_embeds", "negative_prompt_embeds"):
            for (value,) in different(request.inputs[name]):
                if value is not None and len(_told(name, value)) == 0:
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
        return {
            branch: self._condition(run, "negative_" if branch == "negative" else "")
            for branch in branches
        }

    def _condition(self, run: Run, start: str) -> Condition | Unequal:
        ability: TextAbility = run.model.abilities["text"]
        reading = ability.for_negative() if start else ability
        encoded = reading.encode([None])
        empty = encoded.each[0] if isinstance(encoded, Unequal) else encoded
        names = (f"{start}prompt_embeds", f"{start}pooled_prompt_embeds")
        pairs = zip(*(run.request.inputs[name] for name in names), strict=True)
        rows = [
            empty if states is None else _row(names, states, pooled, empty, reading)
            for states, pooled in pairs
        ]
        if len({shapes(row) for row in rows}) > 1:
            return Unequal(tuple(rows))
        return rows[0] if len(rows) == 1 else concatenate(rows)


def _told(name: str, value: Any) -> dict[str, Tensor]:
    """Tensors by the keys of a condition; one that has no other name is the states."""
    tensors = read_tensors(name, value)
    return dict(zip([TEXT], tensors.values(), strict=True)) if len(tensors) == 1 else tensors


def _row(
    names: tuple[str, str], states: Any, pooled: Any, empty: Condition, ability: TextAbility
) -> Condition:
    """The condition of a single row, seen to be as the empty text's.

    Raises:
        LdmError: something is missing, is too much, or has another width or length.
    """
    told = _told(names[0], states)
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
    free = ability.any_length
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
    if row.ndim != own.ndim or row.shape[kept] != own.shape[kept] or row.shape[1] == 0:
        shape = ["tokens" if free else own.shape[1], *own.shape[2:]]
        raise LdmError(
            f"the {name} ('{key}') of one image should have the shape "
            f"({', '.join(map(str, shape))}), not {tuple(value.shape)}; give those of several "
            "images as a list."
        )
    return row.to(own.device, own.dtype)


def _words(keys: Any) -> str:
    return " and ".join(f"'{key}'" for key in sorted(keys))
