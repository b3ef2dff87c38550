"""Text prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from typing import Annotated, Any

from pydantic import Field

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    Input,
    ModelInfo,
    Request,
    Run,
    Unequal,
)
from ldm_core.contracts.abilities import TextAbility
from ldm_core.errors import LdmError
from ldm_core.values import brief
from ldm_plugins.conditioning.shared.prompts import Prompts, TooLong
from ldm_plugins.conditioning.shared.references import references_of
from ldm_plugins.conditioning.shared.weighted_prompt import read_prompt

MOST_LETTERS = 100_000
INPUTS = {
    "prompt": Input(
        str, REQUIRED, help="what the picture should show; (words:1.3) weighs them, 1 being plain"
    ),
    "negative_prompt": Input(
        str | None, None, help="what guidance leads away from; the empty text where it is left out"
    ),
}

BOTH = ("prompt", "negative_prompt")
Layers = Annotated[int, Field(ge=0)]
Tokens = Annotated[int, Field(ge=1, le=512)]
"""Of a window: Diffusers reads none of more."""


def text(
    *,
    too_long: TooLong = "warn",
    weights: bool = True,
    clip_skip: Layers = 0,
    negative_clip_skip: Layers = 0,
    max_sequence_length: Tokens | None = None,
) -> Conditioning:
    r"""A prompt and a negative prompt for each image, whose words may have weights.

    ``a (red:1.3) circle`` gives "red" the weight 1.3: its hidden states e become
    e0 + 1.3·(e - e0), where e0 are those of the empty text at the same places, as in the library
    compel. So 0 takes the words out, and 1 leaves them as they are. What the network is told
    of a text as a whole, such as CLIP's pooled state, is that of the words without weights.
    Parentheses without a number are text; ``\(`` and ``\)`` always are.

    Where a model has several text encoders, ``prompt_2`` and ``negative_prompt_2``, and so on, are
    what the second reads in place of the prompts; left out, all read the same.

    Args:
        too_long: what to do about words beyond the text encoder's window: say which are left out
            ("warn"), refuse ("error"), or encode the text in as many windows as it takes, which the
            network then reads side by side ("chunk"). What it is told of the text as a whole is
            the first window's.
        weights: whether ``(words:1.3)`` is a weight; else it is text as any other.
        clip_skip: so many of the last layers of the CLIP text encoders are left out where they
            read a prompt, as in Diffusers, which reads the negative prompt with all of them.
        negative_clip_skip: the same of the negative prompt; other programs take one number for
            both.
        max_sequence_length: tokens of the window in which a language model or T5 reads a text, in
            place of those that the network was trained with: fewer take less time, and are another
            picture where the network sees the padding.
    """
    return Text(too_long, weights, clip_skip, negative_clip_skip, max_sequence_length)


@dataclass(frozen=True)
class Text(Conditioning):
    """
    Attributes:
        encoders: so many text encoders may read texts of their own, once the model is known.
    """

    too_long: TooLong
    weights: bool
    clip_skip: int = 0
    negative_clip_skip: int = 0
    window: int | None = None
    encoders: int = 1

    @property
    def ability(self) -> str:
        return "text"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {**INPUTS, **{name: _of_encoder(name) for name in self.others}}

    @property
    def others(self) -> Sequence[str]:
        """The inputs of the text encoders beside the first."""
        return [f"{name}_{n}" for n in range(2, self.encoders + 1) for name in BOTH]

    def fit(self, info: ModelInfo) -> Text:
        if (self.clip_skip or self.negative_clip_skip) and "clip_skip" not in info.abilities:
            raise LdmError(
                f"the model '{info.source}' (family {info.family}) reads no states of a CLIP text "
                "encoder, of which the option clip_skip could leave out the last layers."
            )
        if self.window is not None and "max_sequence_length" not in info.abilities:
            raise LdmError(
                f"the model '{info.source}' (family {info.family}) reads a text at a single "
                "length.",
                "leave max_sequence_length out.",
            )
        more = takewhile(lambda n: f"prompt_{n}" in info.abilities, count(2))
        return replace(self, encoders=1 + len(list(more)))

    def check(self, request: Request) -> None:
        for name in (*INPUTS, *self.others):
            seen: set[str | None] = set()
            for entry in request.inputs[name]:
                if not isinstance(entry, str | None) or entry not in seen:
                    self.check_prompt(name, entry)
                    seen.add(entry)
        for name in (name for name in self.others if name.startswith("negative_")):
            pairs = zip(request.inputs["negative_prompt"], request.inputs[name], strict=True)
            if any(first is None and other is not None for first, other in pairs):
                raise LdmError(
                    f"a {name} is said and no negative_prompt, of which the network would be told "
                    "another text, or none; say it too, '' for the empty text."
                )

    def check_prompt(self, name: str, entry: Any) -> None:
        """Raise `LdmError` for what is no prompt; None is the lack of one."""
        if entry is None and name != "prompt":
            return
        if not isinstance(entry, str):
            raise LdmError(f"a {name} should be text, not {brief(entry)}.")
        try:
            entry.encode()
        except UnicodeEncodeError as error:
            raise LdmError(
                f"the {name} {brief(entry)} is no Unicode text: its letter {error.start + 1} is "
                "half of one, as of a file or terminal that is not UTF-8."
            ) from None
        if "\0" in entry:
            raise LdmError(
                f"the {name} {brief(entry)} holds the letter NUL, as of a file that is no text."
            )
        if len(entry) > MOST_LETTERS:
            raise LdmError(
                f"the {name} {brief(entry)} has {len(entry)} letters, and the longest that can be "
                f"read has {MOST_LETTERS}."
            )
        words = read_prompt(entry, self.weights).text
        if not name.startswith("negative_") and entry.strip() and not words.strip():
            raise LdmError(f"the {name} is empty but for a weight: '{entry}'.")

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        ability: TextAbility = run.model.abilities["text"]
        prompts, negative = self.prompts(run), ability.for_negative()
        same = negative is ability and self.negative_clip_skip == self.clip_skip
        leading = (
            prompts if same else self.prompts(run, self._reading(negative, self.negative_clip_skip))
        )
        return {
            branch: self._encoded(leading, run.request, "negative_prompt")
            if branch == "negative"
            else self._encoded(prompts, run.request, "prompt")
            for branch in branches
        }

    def _encoded(self, prompts: Prompts, request: Request, name: str) -> Condition | Unequal:
        """The condition of the input of this name, and of those like it of other encoders."""
        firsts = request.inputs[name]
        others = [request.inputs[other] for other in self._like(name)]
        if all(text is None for texts in others for text in texts):
            return prompts(firsts)
        return prompts.joined(
            [
                [first, *(first if own is None else own for own in owns)]
                for first, *owns in zip(firsts, *others, strict=True)
            ]
        )

    def _like(self, name: str) -> Sequence[str]:
        return [other for other in self.others if other.rpartition("_")[0] == name]

    def prompts(self, run: Run, ability: TextAbility | None = None) -> Prompts:
        """What encodes the texts of a run.

        Args:
            ability: with what; the model's own where None.
        """
        reading = ability or self._reading(run.model.abilities["text"], self.clip_skip)
        references = references_of(run.request) if reading.reads_references else ()
        texts = self.texts(run.request)
        return Prompts(reading, texts, self.too_long, self.weights, references)

    def _reading(self, ability: TextAbility, layers: int) -> TextAbility:
        """What reads texts, without so many layers of CLIP and in the window that is asked for."""
        reading = ability.skipping(layers) if layers else ability
        return reading if self.window is None else reading.windowed(self.window)

    def texts(self, request: Request) -> list[list[str | None]]:
        """Every text that the network may be asked under, image by image."""
        firsts = zip(*(request.inputs[name] for name in BOTH), strict=True)
        others = [[t for t in texts if t is not None] for texts in self._of_others(request)]
        return [[*texts, *more] for texts, more in zip(firsts, others, strict=True)]

    def _of_others(self, request: Request) -> list[list[str | None]]:
        """The texts of other encoders, image by image."""
        return [
            [request.inputs[name][image] for name in self.others]
            for image in range(len(request.seeds))
        ]


def _of_encoder(name: str) -> Input:
    like, _, number = name.rpartition("_")
    return Input(str | None, None, help=f"what text encoder {number} reads in place of the {like}")
